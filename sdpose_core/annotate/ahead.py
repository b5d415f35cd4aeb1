"""Work done ahead in threads, in order, so that the next stage need not wait for it."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAIT = 0.1
"""Seconds between two checks of a waiting thread whether it should stop."""


def read_ahead(items: Iterable[Item], count: int = 4) -> Iterator[Item]:
    """The same items, in order; a thread makes up to `count` of them in advance.

    An error of `items` is raised here, in its place. The thread ends when this iterator ends or is closed.
    """
    ready: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=count)
    stop = threading.Event()

    def put(kind: str, value: object) -> None:
        while not stop.is_set():
            try:
                return ready.put((kind, value), timeout=_WAIT)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stop.is_set():
                    break
            else:
                put("end", None)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the items
            put("error", error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                kind, value = ready.get(timeout=_WAIT)
            except queue.Empty:
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
            del value  # frees the picture while waiting for the next one
    finally:
        stop.set()
        thread.join()
        close = getattr(items, "close", None)
        if close is not None:
            close()


def taken(future: Future[Result]) -> Result:
    """Wait for the result of a `Worker`'s task. Unlike `Future.result`, Ctrl-C stops the wait on Windows too."""
    while not future.done():
        wait([future], timeout=_WAIT)
    return future.result()


class Worker:
    """One thread that runs tasks in order; use it in a `with` block.

    Attributes:
        stopped: set when the block is left; long tasks check it now and then.
    """

    def __init__(self, name: str) -> None:
        self.stopped = threading.Event()
        self._tasks: queue.SimpleQueue[tuple[Future, Callable[[], object]] | None] = queue.SimpleQueue()
        work = contextvars.copy_context().run
        self._thread = threading.Thread(target=work, args=(self._work,), name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        """Wait for the running task; drop the others."""
        self.stopped.set()
        self._tasks.put(None)
        self._thread.join()

    def submit(self, task: Callable[[], Result]) -> Future[Result]:
        """Queue a task; its result or error comes through the future."""
        future: Future[Result] = Future()
        self._tasks.put((future, task))
        return future

    def _work(self) -> None:
        while (item := self._tasks.get()) is not None:
            future, task = item
            del item
            if self.stopped.is_set():
                future.cancel()
                continue
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the result
                future.set_exception(error)
            del future, task
