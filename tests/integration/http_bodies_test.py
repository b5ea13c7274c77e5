"""Bodies of 0 bytes to 100 MiB, both ways, over both protocols, against five servers: no byte differs.

nginx serves and stores files, nghttpd echoes, haproxy stands before Node, Node and Go make and echo what they are
asked for. Over HTTP/1.1 bodies go with Content-Length and chunked, over HTTP/2 through windows of all sizes.
"""

import hashlib

from http_client import MIB, HttpTest

from http_servers import Go, Node, pattern
from processes import main, poll_until
from servers import Haproxy, Nghttpd, Nginx

SIZES = [0, 1, 6, 255, 16383, 16384, 16385, 65535, 65536, MIB + 1]
BIG = 100 * MIB
MIDDLE = 5 * MIB + 3


class Bodies(HttpTest):
    version = None  # that every response must have

    def check_down(self, client, url, size, **how):
        for down in ("whole", "stream"):
            if down == "whole" and size > 16 * MIB:
                continue
            with self.subTest(url=url, size=size, down=down):
                got = client.get(url, down=down, **how)
                self.assertEqual((got["http_status"], got["received"], got["mismatch"]), (200, size, -1))
                self.check_version(got)

    def check_echo(self, client, url, size, ways=("memory", "file", "sized", "unsized"), method="POST"):
        for up in ways:
            with self.subTest(url=url, size=size, up=up):
                got = client.request(method, url, up=up, size=size, down="stream")
                self.assertEqual(got["status"], "OK", got)
                self.assertEqual((got["http_status"], got["received"], got["mismatch"]), (200, size, -1))
                self.check_version(got)

    def check_version(self, got):
        if self.version:
            self.assertEqual(got["version"], self.version)

    def check_trailers(self, client, server):
        got = client.get(server.url("/trailers/70000"), down="stream")
        self.assertEqual((got["received"], got["mismatch"], got["events"]), (70000, -1, "HCT"))
        trailers = {name.lower(): value for name, value in got["trailers"]}
        self.assertEqual(trailers, {"x-sum": "70000", "x-second": "two"})
        got = client.get(server.url("/trailers/70000"))
        self.assertEqual({name.lower(): value for name, value in got["trailers"]}, trailers)
        got = client.post(server.url("/hash"), 1000, up="unsized", lines=["trailer x-check: 1000"])
        self.assertIn('"x-check":"1000"', got["text"].replace(" ", ""))

    def check_scripted(self, server, client, big=False):
        for size in SIZES:
            self.check_down(client, server.url(f"/bytes/{size}"), size)
            self.check_down(client, server.url(f"/bytes/{size}?chunked"), size)
            self.check_echo(client, server.url("/echo"), size)
        self.check_trailers(client, server)
        if not big:
            return
        self.check_down(client, server.url(f"/bytes/{BIG}"), BIG)
        self.check_down(client, server.url(f"/bytes/{BIG}?chunked"), BIG)
        digest = hashlib.sha256(pattern(BIG)).hexdigest()
        for up in ("file", "unsized"):
            with self.subTest(up=up, size=BIG):
                got = client.post(server.url("/hash"), BIG, up=up)
                self.assertIn(f'"sha256":"{digest}"', got["text"])

    def check_nginx(self, nginx, scheme, client):
        base = f"{scheme}://localhost:{nginx.port}"
        for size in (*SIZES, BIG):
            (nginx.directory / "files" / "one").write_bytes(pattern(size))
            self.check_down(client, f"{base}/files/one", size)
        for size in (*SIZES, BIG):
            for up in ("memory", "file", "sized", "unsized") if size < BIG else ("file", "unsized"):
                with self.subTest(size=size, up=up):
                    name = f"{size}-{up}"
                    got = client.request("PUT", f"{base}/uploads/{name}", up=up, size=size)
                    self.assertEqual((got["status"], got.get("http_status")), ("OK", 201), got)
                    stored = nginx.directory / "uploads" / name
                    self.assertTrue(stored.read_bytes() == pattern(size))
                    stored.unlink()


class Http1(Bodies):
    version = 11

    def test_node(self):
        server = self.use(Node("http1"))
        self.check_scripted(server, self.client(), big=True)

    def test_node_tls(self):
        server = self.use(Node("https1", certificate=self.certificate))
        self.check_scripted(server, self.client())

    def test_go(self):
        server = self.use(Go("http1"))
        self.check_scripted(server, self.client())

    def test_haproxy_before_node(self):
        server = self.use(Node("http1"))
        front = self.use(Haproxy([server.port], mode="http"))
        server.port = front.port
        self.check_scripted(server, self.client())

    def test_nginx(self):
        self.check_nginx(self.use(Nginx(versions="http1")), "http", self.client())

    def test_nginx_tls(self):
        nginx = self.use(Nginx(certificate=self.certificate, versions="http1"))
        self.check_nginx(nginx, "https", self.client())


class Http2(Bodies):
    version = 20

    def test_node(self):
        """Windows of the server's default, 64 KiB."""
        server = self.use(Node("h2", certificate=self.certificate))
        self.check_scripted(server, self.client(), big=True)

    def test_node_tls(self):
        server = self.use(Node("both", certificate=self.certificate))
        self.check_scripted(server, self.client())

    def test_node_plain(self):
        server = self.use(Node("h2c"))
        self.check_scripted(server, self.client(http__version="h2"))

    def test_small_windows_of_the_server(self):
        server = self.use(Node("h2", certificate=self.certificate, settings={"initialWindowSize": 1}))
        self.check_echo(self.client(), server.url("/echo"), 300)
        server = self.use(Node("h2", certificate=self.certificate, settings={"initialWindowSize": 1000}))
        self.check_echo(self.client(), server.url("/echo"), MIB + 1)

    def test_large_windows_of_the_server(self):
        server = self.use(Node("h2", certificate=self.certificate, settings={"initialWindowSize": 16 * MIB},
                               window=64 * MIB))
        client = self.client()
        self.check_echo(client, server.url("/echo"), MIDDLE)
        got = client.post(server.url("/hash"), BIG, up="file")
        self.assertIn(f'"size":{BIG}', got["text"])

    def test_small_windows_of_the_client(self):
        server = self.use(Node("h2", certificate=self.certificate))
        client = self.client(h2__stream_window=65535, h2__connection_window=65535, h2__window_max=65535)
        self.check_down(client, server.url(f"/bytes/{MIDDLE}"), MIDDLE)
        self.check_echo(client, server.url("/echo"), MIDDLE)

    def test_large_windows_of_the_client(self):
        server = self.use(Node("h2", certificate=self.certificate))
        client = self.client(h2__stream_window="32MiB", h2__connection_window="64MiB", h2__window_max="64MiB")
        self.check_down(client, server.url(f"/bytes/{BIG}"), BIG)

    def test_go(self):
        server = self.use(Go("both", certificate=self.certificate))
        self.check_scripted(server, self.client())

    def test_go_plain(self):
        server = self.use(Go("h2c", window=16384 * 4))
        self.check_scripted(server, self.client(http__version="h2"))

    def test_haproxy_before_node(self):
        server = self.use(Node("http1"))
        front = self.use(Haproxy([server.port], mode="http", certificate=self.certificate))
        server.port, server.mode = front.port, "h2"
        client = self.client()
        for size in SIZES:
            self.check_down(client, server.url(f"/bytes/{size}"), size)
            self.check_echo(client, server.url("/echo"), size)

    def test_nginx(self):
        self.check_nginx(self.use(Nginx(versions="h2")), "http", self.client(http__version="h2"))

    def test_nginx_tls(self):
        nginx = self.use(Nginx(certificate=self.certificate))
        self.check_nginx(nginx, "https", self.client())

    def check_nghttpd(self, nghttpd, scheme, client):
        base = f"{scheme}://localhost:{nghttpd.port}"
        for size in (*SIZES, BIG):
            # It keeps what it knows of a file for a while: each size is a file of its own.
            (nghttpd.directory / str(size)).write_bytes(pattern(size))
            self.check_down(client, f"{base}/{size}", size)
        for size in (*SIZES, BIG):
            self.check_echo(client, f"{base}/echo", size, ways=("file", "unsized"))

    def test_nghttpd(self):
        nghttpd = self.use(Nghttpd("--echo-upload"))
        self.check_nghttpd(nghttpd, "http", self.client(http__version="h2"))

    def test_nghttpd_tls(self):
        nghttpd = self.use(Nghttpd("--echo-upload", certificate=self.certificate))
        self.check_nghttpd(nghttpd, "https", self.client())

    def test_nghttpd_windows(self):
        for bits in (8, 24):  # 255 bytes, 16 MiB
            nghttpd = self.use(Nghttpd("--echo-upload", "-w", bits, "-W", max(16, bits), certificate=self.certificate))
            client = self.client()
            # nghttpd resets some streams whose bodies began before its SETTINGS came (FLOW_CONTROL_ERROR), curl's too.
            client.get(f"https://localhost:{nghttpd.port}/index.html")
            self.check_echo(client, f"https://localhost:{nghttpd.port}/echo", MIB + 1)

    def test_nghttpd_trailer_and_padding(self):
        nghttpd = self.use(Nghttpd("--trailer", "x-sum: 6", "-b", 100, certificate=self.certificate))
        got = self.client().get(f"https://localhost:{nghttpd.port}/index.html", down="stream")
        self.assertEqual((got["events"], got["received"], got["trailers"]), ("HCT", 6, [["x-sum", "6"]]))


class Flow(HttpTest):
    """Answers that come early, readers that stop, downloads that are given up."""

    MODES = ("http1", "https1", "h2c", "h2")

    def both(self, mode, **options):
        server = self.use(Node(mode, certificate=self.certificate))
        if server.h2:
            options["http__version"] = "h2"
        return server, self.client(**options)

    def test_an_upload_that_is_refused_early(self):
        refuse = "location /small/ { client_max_body_size 1k; root /nonexistent; dav_methods PUT; }"
        for versions in ("http1", "both"):
            nginx = self.use(Nginx(certificate=self.certificate, versions=versions, server=refuse))
            client = self.client()
            for up in ("memory", "file", "sized", "unsized"):
                for size in (5000, 10 * MIB):
                    with self.subTest(versions=versions, up=up, size=size):
                        got = client.request("PUT", f"https://localhost:{nginx.port}/small/x", up=up, size=size)
                        self.assertEqual((got["status"], got.get("http_status"), got["sends"]), ("OK", 413, 1), got)
            self.assertEqual(client.get(f"https://localhost:{nginx.port}/")["http_status"], 200)

    def test_a_reader_that_stops_stalls_its_stream_alone(self):
        for mode in ("h2", "h2c"):
            server, client = self.both(mode, h2__window_max="4MiB")
            with self.subTest(mode=mode):
                stalled = client.start("GET", server.url(f"/bytes/{8 * MIB}"), down="stream")
                poll_until(lambda: client.figure("pinned.bytes") > MIB // 2, "the first chunks")
                others = [client.start("GET", server.url("/bytes/200000"), down="stream") for _ in range(49)]
                for number in others:
                    got = client.wait(number)
                    self.assertEqual((got["status"], got["received"], got["mismatch"]), ("OK", 200000, -1))
                self.assertLessEqual(client.figure("pinned.bytes"), 4 * MIB)
                got = client.wait(stalled)
                self.assertEqual((got["status"], got["received"], got["mismatch"]), ("OK", 8 * MIB, -1))
                self.assertEqual((client.figure("pinned.bytes"), server.counts()["connections"]), (0, 1))

    def test_downloads_that_are_given_up(self):
        for mode in self.MODES:
            server, client = self.both(mode)
            with self.subTest(mode=mode):
                for _ in range(100):
                    number = client.start("GET", server.url(f"/bytes/{BIG}"), down="stream")
                    client.ask("cancel", number)
                    self.assertEqual(client.wait(number)["status"], "E_CANCELLED")
                for _ in range(20):  # whose bytes have begun to come
                    number = client.start("GET", server.url(f"/bytes/{BIG}"), down="stream")
                    poll_until(lambda: client.figure("pinned.bytes") > 0, "the first chunk")
                    client.ask("cancel", number)
                    self.assertEqual(client.wait(number)["status"], "E_CANCELLED")
                    self.assertEqual(client.figure("pinned.bytes"), 0)
                got = client.get(server.url(f"/bytes/{MIDDLE}"), down="stream")
                self.assertEqual((got["received"], got["mismatch"]), (MIDDLE, -1))
                if mode in ("h2", "h2c"):
                    self.assertEqual(server.counts()["connections"], 1)


if __name__ == "__main__":
    main()
