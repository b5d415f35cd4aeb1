"""The embedded networks, each loaded once and run once for each input: tests are about what is made of the result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest


class Session:
    """An onnxruntime session that remembers its results."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.results: dict[bytes, list[np.ndarray]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Copies of what the network gives for these inputs."""
        key = hashlib.sha256(repr(outputs).encode())
        for name, array in sorted(inputs.items()):
            key.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        if key.digest() not in self.results:
            self.results[key.digest()] = self._session.run(outputs, inputs)
        return [np.array(result) for result in self.results[key.digest()]]


_SESSIONS: dict[str, Session] = {}


def forget() -> None:
    """Run the networks again, for tests of whether two runs give the same."""
    for session in _SESSIONS.values():
        session.results.clear()


@contextmanager
def remembered() -> Iterator[None]:
    """Within the block, onnxruntime remembers what the embedded networks gave; other files are not affected."""
    import onnxruntime

    make: Callable[..., Any] = onnxruntime.InferenceSession

    def session(path: str, options: Any, **settings: Any) -> Any:
        if Path(path).parent.name != "assets":
            return make(path, options, **settings)
        key = f"{Path(path).name} {settings}"
        if key not in _SESSIONS:
            _SESSIONS[key] = Session(make(path, options, **settings))
        return _SESSIONS[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", session)
        yield
