"""A thread beside a test, whose failure is the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .process import ServiceError


class Worker(threading.Thread):
    """Does its work until `stop` is set, or to its end. finish() raises what ended it."""

    def __init__(self, work: Callable[[], None] | None = None) -> None:
        super().__init__(target=work, daemon=True)
        self.stop = threading.Event()
        self.error: BaseException | None = None

    def work(self) -> None:
        super().run()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def finish(self, timeout: float = 60.0) -> None:
        self.stop.set()
        self.join(timeout)
        if self.error is not None:
            raise self.error
        if self.is_alive():
            raise ServiceError(f"the worker still runs {timeout:g} s after it was told to stop")
