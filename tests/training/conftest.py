"""What the tests of training share."""

from __future__ import annotations

import pytest

from sdpose_training.synthetic.body import BodyModel


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The body model, which takes seconds to load; needs anny."""
    return BodyModel()
