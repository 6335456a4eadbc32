"""Proxies for tests that break the network on purpose.

TcpProxy stands in front of anything that speaks TCP. EndTxnProxy knows where
a Kafka request begins and can take one out of a connection, close that, and
deliver the request later on a connection of its own: what a network does when
a retry overtakes its original. A broker must advertise the proxy's port:

    proxy = EndTxnProxy()
    kafka = Kafka(advertised=proxy.port).start()
    with proxy.start(kafka.port):
        proxy.late()
"""

from __future__ import annotations

import asyncio
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from .process import ServiceError, free_port

HOST = "127.0.0.1"
PRODUCE, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN = 0, 24, 25
END_TXN, TXN_OFFSET_COMMIT = 26, 28

_CHUNK = 65536
_QUEUE = 256  # units on their way in each direction


class _Link:
    """One client connection and the one to the server that belongs to it."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._writers = (near, far)

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


class TcpProxy:
    """Passes bytes on until told otherwise. All methods may be called from any thread."""

    def __init__(self, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.connections = 0  # accepted so far
        self._upstream = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._delay = 0.0
        self._rate = 0  # bytes a second; 0: as they come
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None

    # Life.

    def start(self, upstream: int):
        """Listens, connecting to the given port for every connection."""
        self._upstream = upstream
        self._gate = asyncio.Event()
        self._gate.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen())
        return self

    def stop(self) -> None:
        if self._thread is None:
            return
        self._run(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._thread = None

    def __enter__(self):
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # Switches.

    def drop(self) -> None:
        """Resets all connections; new ones are welcome."""
        self._run(self._drop())

    def cut(self) -> None:
        """Resets all connections and refuses new ones, until heal()."""
        self._run(self._cut())

    def black_hole(self) -> None:
        """Keeps connections, delivers nothing, until heal(); then all of it."""
        self._loop.call_soon_threadsafe(self._gate.clear)

    def delay(self, seconds: float) -> None:
        """Delivers everything that much later, in either direction."""
        self._delay = seconds

    def throttle(self, rate: int) -> None:
        """Delivers so many bytes a second of requests, on each connection."""
        self._rate = rate

    def heal(self) -> None:
        """Ends cut, black hole, delay and throttle."""
        self._delay, self._rate = 0.0, 0
        self._loop.call_soon_threadsafe(self._gate.set)
        self._run(self._listen())

    # In the loop's thread.

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._thread is None:
            work.close()
            raise ServiceError("the proxy does not run")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, HOST, self.port)

    async def _drop(self) -> None:
        for link in list(self._links):
            link.abort()

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()

    async def _shut_down(self) -> None:
        await self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        return task

    def _accepted(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._spawn(self._serve(near_in, near_out))

    async def _serve(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        try:
            far_in, far_out = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            near_out.transport.abort()
            return
        link = _Link(near_out, far_out)
        self._links.add(link)
        there = self._spawn(self._pump(near_in, far_out, self._read_request))
        back = self._spawn(self._pump(far_in, near_out, self._read_answer))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.abort()
            there.cancel()
            back.cancel()
            self._links.discard(link)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, read) -> None:
        """Carries units over; ends when either side does."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE)
        feeder = self._spawn(self._feed(source, queue, read))
        try:
            while True:
                due, unit = await queue.get()
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._gate.wait()
                if not unit:
                    break
                if self._rate > 0 and read == self._read_request:
                    await asyncio.sleep(len(unit) / self._rate)
                sink.write(unit)
                await sink.drain()
            sink.close()
            await sink.wait_closed()
        except OSError:
            pass  # reset by one of the two
        finally:
            feeder.cancel()

    async def _feed(self, source: asyncio.StreamReader, queue: asyncio.Queue[Any], read) -> None:
        """Reads units as they come and notes when each is due; b"" is the end."""
        unit = b"first"
        while unit:
            try:
                unit = await read(source)
            except (OSError, asyncio.IncompleteReadError):
                unit = b""
            await queue.put((time.monotonic() + self._delay, unit))

    async def _read_request(self, source: asyncio.StreamReader) -> bytes:
        return await source.read(_CHUNK)

    async def _read_answer(self, source: asyncio.StreamReader) -> bytes:
        return await source.read(_CHUNK)


@dataclass(frozen=True)
class Late:
    """A request delivered late: which, how late, and the broker's answer to it.

    `error` is the error code of an EndTxn answer, None for other requests and
    where the broker closed the connection instead.
    """

    api_key: int
    delay: float
    answered: bool
    error: int | None


class EndTxnProxy(TcpProxy):
    """A proxy before a plaintext Kafka listener that can make requests late."""

    def __init__(self, port: int | None = None, seed: int | None = None) -> None:
        super().__init__(port)
        self.requests: Counter[int] = Counter()  # by API key
        self.delivered: list[Late] = []
        self._random = random.Random(seed)
        self._armed: dict[int, tuple[int, tuple[float, float]]] = {}
        self._changed = threading.Condition()

    def late(
        self, count: int = 1, delay: tuple[float, float] = (0.1, 0.6), api_key: int = END_TXN
    ) -> None:
        """The next `count` such requests close their connection and come late."""
        with self._changed:
            self._armed[api_key] = (count, delay)

    def wait_late(self, count: int = 1, timeout: float = 20.0) -> list[Late]:
        """Waits until so many requests in all have been delivered late."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.delivered) >= count, timeout):
                raise ServiceError(f"{len(self.delivered)} of {count} late requests delivered")
            return list(self.delivered)

    async def _read_request(self, source: asyncio.StreamReader) -> bytes:
        size = await source.readexactly(4)
        body = await source.readexactly(struct.unpack(">i", size)[0])
        api_key, version, _correlation_id = struct.unpack_from(">hhi", body)
        self.requests[api_key] += 1
        delay = self._take_late(api_key)
        if delay is None:
            return size + body
        self._spawn(self._deliver(size + body, api_key, version, delay))
        return b""  # ends the connection

    def _take_late(self, api_key: int) -> float | None:
        with self._changed:
            count, (least, most) = self._armed.get(api_key, (0, (0.0, 0.0)))
            if count <= 0:
                return None
            self._armed[api_key] = (count - 1, (least, most))
            return self._random.uniform(least, most)

    async def _deliver(self, request: bytes, api_key: int, version: int, delay: float) -> None:
        await asyncio.sleep(delay)
        answer = b""
        try:
            source, sink = await asyncio.open_connection(HOST, self._upstream)
            try:
                sink.write(request)
                answer = await asyncio.wait_for(_read_frame(source), 10)
            finally:
                sink.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        error = _end_txn_error(answer, version) if answer and api_key == END_TXN else None
        with self._changed:
            self.delivered.append(Late(api_key, delay, bool(answer), error))
            self._changed.notify_all()


async def _read_frame(source: asyncio.StreamReader) -> bytes:
    size = await source.readexactly(4)
    return await source.readexactly(struct.unpack(">i", size)[0])


def _end_txn_error(answer: bytes, version: int) -> int:
    # Correlation id, from version 3 on a byte of tags, throttle time, error code.
    return struct.unpack_from(">h", answer, 9 if version >= 3 else 8)[0]
