"""The servers that the programs of the documentation talk to, inside the test and on ports that the system picks.

    with Site() as site, Echo() as echo:
        site.url("/"), echo.url("tcp")
"""

import http.server
import json
import os
import socket
import socketserver
import ssl
import threading

LONG_S = 60
TOGETHER = 8  # requests to /together are answered when so many are there


def body_of(size):
    """What GET /bytes/SIZE answers."""
    return bytes(i * 31 % 251 for i in range(251)) * (size // 251) + bytes(i * 31 % 251 for i in range(size % 251))


class Pages(http.server.BaseHTTPRequestHandler):
    """GET /, /bytes/SIZE, /flaky, /together, /silent; POST /greet; PUT /store."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, content, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def do_GET(self):
        site = self.server.site
        path = self.path.split("?")[0]
        if path == "/":
            self.answer(200, b"hello\n")
        elif path.startswith("/bytes/"):
            self.answer(200, body_of(int(path.removeprefix("/bytes/"))), "application/octet-stream")
        elif path == "/flaky":  # good at every third time
            site.flaky += 1
            self.answer(200 if site.flaky % 3 == 0 else 503, b"")
        elif path == "/together":
            site.together()
            self.answer(200, b"")
        elif path == "/silent":  # until the client gives up
            self.connection.recv(1)
            self.close_connection = True
        else:
            self.answer(404, b"")

    def do_POST(self):
        asked = json.loads(self.body())
        site = self.server.site
        site.posted.append((self.headers["Content-Type"], asked))
        self.answer(201, json.dumps({"greeting": f"hello {asked['name']}"}, separators=(",", ":")).encode(),
                    "application/json")

    def do_PUT(self):
        stored = self.body()
        self.server.site.stored.append(stored)
        self.answer(201, f"{len(stored)} bytes stored\n".encode())

    def log_message(self, *_):
        pass


class Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):  # a client that went away is no error of the test's
        pass


class Serving:
    """The life of a socketserver: a thread from __enter__ to __exit__."""

    server = None

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join(LONG_S)
        self.server.server_close()


class Site(Serving):
    """An HTTP server, and what it was sent."""

    def __init__(self):
        self.server = Listener(("127.0.0.1", 0), Pages)
        self.server.site = self
        self.port = self.server.server_port
        self.flaky, self.posted, self.stored = 0, [], []
        self.barrier = threading.Barrier(TOGETHER, timeout=LONG_S)
        self.lock, self.inside, self.most_inside = threading.Lock(), 0, 0

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def together(self):
        """Waits for so many requests; counts how many there are at most."""
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        self.barrier.wait()
        with self.lock:
            self.inside -= 1


class Lines(socketserver.StreamRequestHandler):
    """Answers each line in capitals."""

    def handle(self):
        if not self.server.tls:
            return self.echo(self.rfile, self.wfile)
        try:
            with self.server.tls.wrap_socket(self.request, server_side=True) as stream:
                with stream.makefile("rb") as reading, stream.makefile("wb", 0) as writing:
                    self.echo(reading, writing)
        except OSError:  # a client that went away is no error of the test's
            pass

    @staticmethod
    def echo(reading, writing):
        for line in reading:
            writing.write(line.upper())


class TcpLines(Listener, socketserver.TCPServer):
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)


class UnixLines(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    handle_error = Listener.handle_error


class Echo(Serving):
    """A server of lines: over TCP, TLS with a certificate (ALPN "echo"), or a unix socket with a path."""

    def __init__(self, certificate=None, path=None):
        self.server = UnixLines(path, Lines) if path else TcpLines(("127.0.0.1", 0), Lines)
        self.server.tls = None
        if certificate:
            self.server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server.tls.load_cert_chain(*map(os.fspath, certificate))
            self.server.tls.set_alpn_protocols(["echo"])
        self.port = 0 if path else self.server.server_address[1]

    def url(self, scheme, host="127.0.0.1"):
        return f"{scheme}://{host}:{self.port}"


class Refusing:
    """Ports of 127.0.0.1 that are taken and do not listen: connections are refused as long as the block runs."""

    def __init__(self, count=1):
        self.sockets = [socket.socket() for _ in range(count)]
        for one in self.sockets:
            one.bind(("127.0.0.1", 0))
        self.ports = [one.getsockname()[1] for one in self.sockets]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()
