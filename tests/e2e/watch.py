"""A reader of Redis beside the faults."""

from __future__ import annotations

import threading

from support.services import Services


class Watch(threading.Thread):
    """Looks at account rows all the time: none may go back to an older position."""

    def __init__(self, services: Services) -> None:
        super().__init__(daemon=True)
        self.client = services.redis.client()
        self.seen: dict[str, int] = {}
        self.looks = 0
        self.back: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.02):
            keys = [k for k in self.client.scan_iter("uptake:account:{*}", count=5000)]
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
