"""An HTTP/1.1 server inside the test whose paths do what clients of applications meet; with TLS, too.

    with Site() as site:
        site.url("/redirect/3")

Paths: /hello, /status/N, /redirect/N, /see-other, /keep-method, /loop, /cookies/set, /cookies, /basic, /digest, /echo,
/bytes/N, /chunks/N, /close/N, /gzip, /deflate, /gzip-chunks, /fields, /lines, /peer, and those that fail: /silent,
/half, /cut, /cut-chunks, /nothing, /garbage, /deaf, /reset/N. What waits goes on after release().
"""

import base64
import gzip
import hashlib
import http.server
import json
import socket
import ssl
import threading
import urllib.parse
import zlib

from http_servers import pattern

USER, PASSWORD = "ann", "secret word"
TEXT = ("The quick brown fox jumps over the lazy dog. ä€😀\n" * 200).encode()
NONCE, OPAQUE, REALM = "0123456789abcdef", "fedcba98", "scripted"


def digest(text):
    return hashlib.md5(text.encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def setup(self):
        site = self.server.site
        if site.context is not None:
            self.request = site.context.wrap_socket(self.request, server_side=True)
        super().setup()
        self.number, self.served = site.next_connection(self.request), 0

    def finish(self):
        super().finish()
        if self.server.site.context is not None:
            try:
                self.request.settimeout(1)
                self.request.unwrap()  # without its close_notify a body that ends with the connection is cut short
            except (OSError, ValueError):
                pass
            self.request.close()

    def log_message(self, *_):
        pass

    def handle_any(self):
        self.served += 1
        parts = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qsl(parts.query)
        _, name, *self.rest = parts.path.split("/")
        self.site = self.server.site
        action = getattr(self, "do_" + name.replace("-", "_").lower(), None)
        if name not in ("deaf", "echo"):
            self.read_body()
        action() if action else self.answer(404, b"no such path")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any

    # --- reading and writing ---------------------------------------------------------------------------------------

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return body

    def head(self, status=200, *lines):
        self.send_response(status)
        for name, value in lines:
            self.send_header(name, value)
        self.end_headers()

    def answer(self, status, body=b"", *lines):
        self.head(status, ("Content-Length", str(len(body))), *lines)
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value):
        self.answer(200, json.dumps(value, sort_keys=True).encode(), ("Content-Type", "application/json"))

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def chunked(self, data, *lines):
        self.head(200, ("Transfer-Encoding", "chunked"), *lines)
        for at in range(0, len(data), 1000):
            self.chunk(data[at : at + 1000])
        self.wfile.write(b"0\r\n\r\n")

    # --- paths -----------------------------------------------------------------------------------------------------

    def do_hello(self):
        self.answer(200, b"hello\n", ("Content-Type", "text/plain; charset=utf-8"))

    def do_status(self):
        status = int(self.rest[0])
        self.head(status) if status in (204, 304) else self.answer(status, b"status " + self.rest[0].encode())

    def do_redirect(self):
        left = int(self.rest[0])
        target = "/hello" if left == 0 else f"/redirect/{left - 1}"
        self.answer(302, b"moved", ("Location", target), ("Set-Cookie", f"step{left}=done; Path=/"))

    def do_see_other(self):
        self.answer(303, b"", ("Location", "/echo"))

    def do_keep_method(self):
        self.answer(307, b"", ("Location", self.site.url("/echo")))

    def do_loop(self):
        self.answer(302, b"", ("Location", "/loop"))

    def do_cookies(self):
        if self.rest:
            self.answer(200, b"set", ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/; HttpOnly"))
        else:
            self.answer_json(sorted(self.headers.get("Cookie", "").split("; ")))

    def do_basic(self):
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == wanted:
            self.answer(200, b"welcome")
        else:
            self.answer(401, b"who?", ("WWW-Authenticate", f'Basic realm="{REALM}"'))

    def do_digest(self):
        given = parse_digest(self.headers.get("Authorization", ""))
        if given:
            one = digest(f"{USER}:{REALM}:{PASSWORD}")
            two = digest(f"{self.command}:{self.path}")
            wanted = digest(":".join([one, NONCE, given.get("nc", ""), given.get("cnonce", ""), "auth", two]))
            if given.get("response") == wanted:
                return self.answer(200, b"welcome")
        challenge = f'Digest realm="{REALM}", qop="auth", nonce="{NONCE}", opaque="{OPAQUE}", algorithm=MD5'
        self.answer(401, b"who?", ("WWW-Authenticate", challenge))

    def do_echo(self):
        body = self.read_body()
        sent = {name.lower() for name in self.headers}
        framing = "chunked" if "transfer-encoding" in sent else self.headers.get("Content-Length")
        kind = self.headers.get("Content-Type", "")
        boundary = kind.partition("boundary=")[2]
        if boundary:
            kind, body = kind.replace(boundary, "B"), body.replace(boundary.encode(), b"B")
            framing = "length" if framing and framing.isdigit() else framing
        self.answer_json({
            "method": self.command, "path": self.path, "type": kind, "framing": framing,
            "sha256": hashlib.sha256(body).hexdigest(), "start": body[:2000].decode("latin-1"),
            "fields": {name: self.headers.get_all(name) for name in sorted(sent) if name.startswith("x-")},
            "agent": self.headers.get("User-Agent"), "accept": self.headers.get("Accept-Encoding"),
            "authorization": self.headers.get("Authorization"),
        })

    def do_bytes(self):
        self.answer(200, pattern(int(self.rest[0])))

    def do_chunks(self):
        self.chunked(pattern(int(self.rest[0])))

    def do_close(self):
        self.close_connection = True
        self.head(200, ("Connection", "close"))
        self.wfile.write(pattern(int(self.rest[0])))

    def do_gzip(self):
        kind = ("Content-Type", "text/plain; charset=utf-8")
        self.answer(200, gzip.compress(TEXT, mtime=0), ("Content-Encoding", "gzip"), kind)

    def do_deflate(self):
        self.answer(200, zlib.compress(TEXT), ("Content-Encoding", "deflate"), ("Content-Type", "text/plain"))

    def do_gzip_chunks(self):
        self.chunked(gzip.compress(TEXT, mtime=0), ("Content-Encoding", "gzip"))

    def do_gzip_broken(self):
        self.answer(200, b"this is no gzip", ("Content-Encoding", "gzip"))

    def do_fields(self):
        self.answer(200, b"", ("X-One", "1"), ("X-Two", "a"), ("X-Two", "b"), ("X-Latin", "caf\u00e9"))

    def do_peer(self):
        self.answer_json([self.number, self.served])

    def do_lines(self):
        """A line, and the others when somebody has seen it."""
        self.head(200, ("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain; charset=utf-8"))
        self.chunk(b"first\n")
        self.site.wait()
        self.chunk(b"second\nthi")
        self.chunk(b"rd")
        self.wfile.write(b"0\r\n\r\n")

    def hold(self):
        self.site.wait()
        self.close_connection = True

    def do_silent(self):
        self.hold()

    def do_half(self):
        self.head(200, ("Content-Length", "1000"))
        self.wfile.write(b"x" * 500)
        self.hold()

    def do_deaf(self):
        self.hold()

    def do_cut(self):
        self.head(200, ("Content-Length", "1000"))
        self.wfile.write(b"x" * 500)
        self.close_connection = True

    def do_cut_chunks(self):
        self.head(200, ("Transfer-Encoding", "chunked"))
        self.wfile.write(b"ff\r\nshort")
        self.close_connection = True

    def do_nothing(self):
        self.close_connection = True

    def do_reset(self):
        """Sends so many bytes of a response, and a reset in place of the rest."""
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
        self.wfile.write(response[: int(self.rest[0])])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()  # or the server would end it in order first
        self.close_connection = True

    def do_garbage(self):
        self.wfile.write(b"this is not HTTP\r\n\r\n")
        self.close_connection = True


def parse_digest(text):
    scheme, _, rest = text.partition(" ")
    pairs = (part.strip().partition("=") for part in rest.split(",")) if scheme == "Digest" else ()
    return {name: value.strip('"') for name, _, value in pairs}


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Site:
    """The server, with `certificate` (chain, key) over TLS. `connections` is how many were accepted.

    A handler of its own may have more paths.
    """

    def __init__(self, certificate=None, handler=Handler):
        self.context, self.handler = None, handler
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, certificate))
        self.lock, self.released = threading.Lock(), threading.Event()
        self.connections, self.open = 0, []

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), self.handler)
        self.server.site = self
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        with self.lock:
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.server.server_close()

    def next_connection(self, connection):
        with self.lock:
            self.connections += 1
            self.open.append(connection)
            return self.connections

    def wait(self):
        """Until release()."""
        self.released.wait(60)

    def release(self):
        self.released.set()

    def hold(self):
        """From now on requests wait again."""
        self.released.clear()

    def url(self, path="/", host="localhost", userinfo=""):
        return f"http{'s' if self.context else ''}://{userinfo}{host}:{self.port}{path}"


class Blackhole:
    """A port that answers no SYN: its backlog is full."""

    def __enter__(self):
        self.sockets = [socket.socket() for _ in range(6)]
        self.sockets[0].bind(("127.0.0.1", 0))
        self.sockets[0].listen(0)
        self.port = self.sockets[0].getsockname()[1]
        for one in self.sockets[1:]:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()
