"""A reader of Redis beside the faults."""

from __future__ import annotations

from support.services import Services
from support.worker import Worker


class Watch(Worker):
    """Looks at account rows all the time, the last time when it is told to stop: none may go back to an older position."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.client = services.redis.client()
        self.seen: dict[str, int] = {}
        self.looks = 0
        self.back: list[str] = []

    def work(self) -> None:
        last = False
        while not last:
            last = self.stop.wait(0.02)
            self.look()

    def look(self) -> None:
        keys = list(self.client.scan_iter("uptake:account:{*}", count=5000))
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(key, "offset")
        for key, offset in zip(keys, pipeline.execute()):
            if offset is None:  # forgotten in between
                continue
            if int(offset) < self.seen.get(key, -1):
                self.back.append(f"{key}: from {self.seen[key]} to {offset}")
            self.seen[key] = int(offset)
        self.looks += 1

    def finish(self, timeout: float = 60.0) -> None:
        """Raises also if it looked too seldom to tell, or a row went back."""
        super().finish(timeout)
        print(f"\nrows looked at {self.looks} times, {len(self.back)} went back")
        if self.looks <= 100 or self.back:
            raise AssertionError(f"{self.looks} looks; went back: {self.back[:5]}")
