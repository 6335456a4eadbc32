"""Servers that answer what the real ones cannot be made to: a registry over HTTP, a Redis that misbehaves."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .process import free_port

HOST = "127.0.0.1"


class Registry:
    """Answers GET of a path with what `answers` holds: (code, body) or a function of the handler; 404 for the rest."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                answer = owner.answers.get(self.path.partition('?')[0], (404, b'{"error_code":40403,"message":"Schema not found"}'))
                try:
                    if callable(answer):
                        answer(self)
                    else:
                        self.reply(*answer)
                except OSError:  # the other side hung up: that is its right
                    pass

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.asked.append(self.path)
                self.reply(200, b'{"id":900}')

            def reply(self, code: int, body: bytes, **headers: str) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_args: None  # hung up amid a handshake or an answer
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def schema(self, number: int, schema: Any, **more: Any) -> tuple[int, bytes]:
        """Serves a schema, and returns the answer."""
        answer = (200, json.dumps({"schema": json.dumps(schema), **more}).encode())
        self.answers[f"/schemas/ids/{number}"] = answer
        return answer

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class RedisProxy:
    """In front of a Redis: passes on (`mode` None), or answers each request with these bytes and then, if `hang_up`,
    closes. Connections that are open when the mode changes are closed."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = free_port()
        self.mode: bytes | None = None
        self.hang_up = False
        self.served = 0  # requests answered by the mode
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def behave(self, mode: bytes | None, hang_up: bool = False) -> None:
        self.mode, self.hang_up, self.served = mode, hang_up, 0
        self._drop()

    def close(self) -> None:
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        try:
            if self.mode is None:
                self._relay(sock)
            else:
                self._misbehave(sock, self.mode)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _misbehave(self, sock: socket.socket, mode: bytes) -> None:
        while sock.recv(1 << 16):
            self.served += 1
            sock.sendall(mode)
            if self.hang_up:
                return

    def _relay(self, sock: socket.socket) -> None:
        with socket.create_connection((HOST, self.upstream)) as redis:
            with self._lock:
                self._open.add(redis)
            back = threading.Thread(target=_copy, args=(redis, sock), daemon=True)
            back.start()
            _copy(sock, redis)
            back.join()
            with self._lock:
                self._open.discard(redis)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for sock in (source, target):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def slow(seconds: float, answer: tuple[int, bytes]) -> Any:
    """An answer that comes late."""

    def reply(handler: Any) -> None:
        time.sleep(seconds)
        handler.reply(*answer)

    return reply
