"""What the tests of the Python binding share: servers that say exactly what they are told to."""

import asyncio
import gc
import os
import socket
import sys
import threading
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
PACKAGE = os.path.join(ROOT, "bindings", "python")
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, os.path.join(PACKAGE, "src"))
import conpool  # noqa: E402
import processes  # noqa: E402

LONG_S = 60


class RawServer:
    """A server on loopback, a thread for each connection.

    `answer(head, connection)` is called with each request's head; it answers the bytes to send, or
    None to close the connection. `connection` is a Connection, to read a body or to do worse.
    """

    def __init__(self, answer, unix=None):
        self.answer, self.heads, self.connections = answer, [], []
        self.accepted = 0
        family = socket.AF_UNIX if unix else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(unix or ("127.0.0.1", 0))
        self.listener.listen(1024)
        self.port = 0 if unix else self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.lock = threading.Lock()
        self.closing = False
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(LONG_S)
        self.listener.close()
        with self.lock:
            for connection in self.connections:
                connection.abort()

    def accept(self):
        while not self.closing:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(peer)
            with self.lock:
                self.accepted += 1
                self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while True:
                head = connection.head()
                if not head:
                    break
                self.heads.append(head)
                reply = self.answer(head, connection)
                if reply is None:
                    break
                connection.send(reply)
        except OSError:
            pass
        finally:
            connection.close()
            with self.lock:
                if connection in self.connections:
                    self.connections.remove(connection)


class Connection:
    """One accepted connection."""

    def __init__(self, peer):
        self.peer, self.file = peer, peer.makefile("rb")
        if peer.family == socket.AF_INET:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                return b""
            lines.append(line)
            if line == b"\r\n":
                return b"".join(lines)

    def body(self, head):
        """The request's body, whatever its framing."""
        lines = dict(
            line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line
        )
        if b"content-length" in lines:
            return self.file.read(int(lines[b"content-length"]))
        if lines.get(b"transfer-encoding") != b"chunked":
            return b""
        body = b""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the body is not whole")
            size = int(line, 16)
            if size == 0:
                self.trailers = []
                while (line := self.file.readline()) not in (b"\r\n", b""):
                    self.trailers.append(line)
                return body
            body += self.file.read(size)
            self.file.readline()

    def send(self, data):
        self.peer.sendall(data)

    def reset(self):
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.close()

    def abort(self):
        try:
            self.peer.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.file.close()
        self.peer.close()


def reply(body=b"", status=b"200 OK", lines=b""):
    """A response with a Content-Length."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), lines, body)


def echo(head, connection):
    """Answers with the request's first line, or its body if it has one."""
    body = connection.body(head)
    return reply(body or head.split(b"\r\n")[0])


def line_server(**options):
    """Answers each line with "+" and the line; for leases."""

    def answer(head, connection):
        raise AssertionError("not HTTP")

    server = RawServer(answer, **options)

    def serve(connection):
        try:
            for line in connection.file:
                connection.send(b"+" + line)
        except OSError:
            pass
        finally:
            connection.close()

    server.serve = serve
    return server


def open_fds():
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


class Case(unittest.TestCase):
    """Every test ends with as many descriptors as it began with, and without a ResourceWarning."""

    def setUp(self):
        conpool.Client().close()  # the first pool of a process opens descriptors that stay
        gc.collect()
        self.fds_before = open_fds()
        self.warned = warnings.catch_warnings(record=True)
        self.warnings = self.warned.__enter__()
        warnings.simplefilter("always", ResourceWarning)

    def tearDown(self):
        gc.collect()
        self.warned.__exit__(None, None, None)
        texts = [str(one.message) for one in self.warnings]
        self.assertEqual([text for text in texts if "Client(" in text or "Connection " in text], [])
        processes.poll_until(
            lambda: gc.collect() >= 0 and open_fds() <= self.fds_before, "descriptors at baseline"
        )

    def run_async(self, coroutine):
        """asyncio.run with a limit."""

        async def limited():
            return await asyncio.wait_for(coroutine, LONG_S)

        return asyncio.run(limited())


def main():
    """unittest.main, with 77 where nothing could run."""
    processes.main()
