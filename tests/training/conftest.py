"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sdpose_training.synthetic.body import BodyModel


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The body model, which takes seconds to load; needs anny."""
    return BodyModel()


@pytest.fixture
def fresh_state() -> Iterator[None]:
    """Ends what accelerate keeps of a run in this process."""
    from accelerate_state import forget_accelerate

    yield
    forget_accelerate()
