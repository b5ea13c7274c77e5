"""The example programs, run by tests: where the build put them, and servers for them."""

import os
import pathlib
import re
import socket
import socketserver
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Tests import this module first, then those of tests/support.
sys.path.insert(0, str(ROOT / "tests/support"))

from processes import Skipped, poll_until, start, stop  # noqa: E402

TIMEOUT_S = 90  # a hang shows as a failure, a slow machine does not


def program(name):
    """The path that the build gives in CONPOOL_EXAMPLES: NAME=PATH, separated by colons."""
    paths = dict(part.split("=", 1) for part in os.environ.get("CONPOOL_EXAMPLES", "").split(":") if part)
    if name not in paths:
        raise Skipped(f"the example {name} is not built")
    return paths[name]


def run(name, *arguments):
    """A subprocess.CompletedProcess of an example."""
    return subprocess.run([program(name), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT_S)


class ScriptedServer:
    """A thread for each connection, which does what `serve(socket file)` says."""

    def __init__(self, serve):
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with outer.lock:
                    outer.accepted += 1
                try:
                    serve(self)
                except OSError:
                    pass

        self.lock, self.accepted = threading.Lock(), 0
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def answer_http(handler, body=b"hello\n", before=lambda target: None):
    """Answers each request of a connection; `before` may wait."""
    while line := handler.rfile.readline():
        while handler.rfile.readline() not in (b"\r\n", b""):
            pass
        before(line.split()[1].decode())
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class JobServer:
    """The job processor on a free port, with its log."""

    def __init__(self, workers, directory, *flags):
        self.argv = ["--port", "0", "--workers", workers, *flags]
        self.log_path = os.path.join(directory, "job_server.log")

    def __enter__(self):
        with open(self.log_path, "wb") as log:
            self.process = start([program("job_server"), *self.argv], stdout=log, stderr=subprocess.STDOUT)
        first = poll_until(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+) with", self.log()) or
                           (self.process.poll() is not None and [None, 0]), "the job server")
        self.port = int(first[1])
        self.url = f"tcp://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        stop(self.process)

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def ask(self, data):
        """Sends all, ends its direction, and returns all that comes."""
        with self.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))
