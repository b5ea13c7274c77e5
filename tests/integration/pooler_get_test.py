"""pooler get against real servers of HTTP/1.1 and HTTP/2: bodies, headers, uploads, many at once, failures."""

import os
import pathlib
import pty
import re
import select
import socket
import subprocess
import tempfile
import time

import pooler_program
from pooler_program import PoolerTest

from certificates import Authority
from http_servers import Node, pattern
from processes import main
from servers import Haproxy, Nghttpd, Nginx, free_port

BIG = 100 << 20


class GetTest(PoolerTest):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.close)
        cls.certificate = cls.authority.issue("localhost")

    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)

    def use(self, server):
        self.addCleanup(server.__exit__, None, None, None)
        return server.__enter__()

    def node(self, mode, **options):
        return self.use(Node(mode, certificate=self.certificate, **options))

    def flags(self, server):
        flags = ["--ca", self.authority.certificate] if server.url().startswith("https") else []
        return flags + (["--h2"] if server.h2 else [])

    def get(self, *arguments, code=0, stdin=subprocess.DEVNULL, timeout=120):
        """(stdout as bytes, stderr) of a run that must end with this code."""
        argv = [self.program, "get", *map(str, arguments)]
        done = subprocess.run(argv, stdin=stdin, capture_output=True, timeout=timeout)
        self.assertEqual(done.returncode, code, f"{argv}:\n{done.stdout[:2000]}\n{done.stderr.decode()}")
        return done.stdout, done.stderr.decode()


class BodiesTest(GetTest):
    def test_every_protocol(self):
        for mode, version in (("http1", "HTTP/1.1"), ("https1", "HTTP/1.1"), ("h2c", "HTTP/2"), ("h2", "HTTP/2")):
            server = self.node(mode)
            with self.subTest(mode=mode):
                for size in (0, 6, 65537):
                    out, err = self.get(server.url(f"/bytes/{size}"), *self.flags(server))
                    self.assertEqual((out == pattern(size), err), (True, ""))
                _, err = self.get(server.url("/bytes/10"), "-v", *self.flags(server))
                self.assertIn(f"< {version} 200\n", err)

    def test_real_servers(self):
        nginx = self.use(Nginx())
        secured = self.use(Nginx(certificate=self.certificate))
        nghttpd = self.use(Nghttpd(certificate=self.certificate))
        front = self.use(Haproxy([nginx.port], mode="http", certificate=self.certificate))
        ca = ("--ca", self.authority.certificate)
        for url, flags in ((f"http://localhost:{nginx.port}/", ()), (f"https://localhost:{secured.port}/", ca),
                           (f"https://localhost:{secured.port}/", ("--http1", *ca)),
                           (f"https://localhost:{nghttpd.port}/index.html", ca),
                           (f"https://localhost:{front.port}/", ca), (f"https://localhost:{front.port}/", ("-k",))):
            with self.subTest(url=url, flags=flags):
                self.assertEqual(self.get(url, *flags), (b"hello\n", ""))

    def test_a_hundred_mib_in_bounded_memory(self):
        for mode in ("http1", "h2"):
            server = self.node(mode)
            with self.subTest(mode=mode):
                argv = [self.program, "get", server.url(f"/bytes/{BIG}"), *self.flags(server)]
                with subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
                    # More than a pipe holds is left unread: the program still waits for us.
                    out = child.stdout.read(BIG - (1 << 20))
                    status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
                    out += child.stdout.read()
                    self.assertEqual(child.wait(30), 0)
                self.assertTrue(out == pattern(BIG))
                if "ASAN_OPTIONS" not in os.environ:
                    self.assertLess(int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)), 64 << 10)

    def test_several_urls_and_outputs(self):
        server = self.node("h2")
        flags = self.flags(server)
        one, two = server.url("/bytes/5"), server.url("/bytes/7")
        self.assertEqual(self.get(one, two, *flags)[0], pattern(5) + pattern(7))
        self.get(one, two, "-o", self.place / "a", "-o", self.place / "b", "-P", 2, *flags)
        self.assertEqual(((self.place / "a").read_bytes(), (self.place / "b").read_bytes()), (pattern(5), pattern(7)))
        folder = self.place / "d"
        folder.mkdir()
        self.get(one, two, server.url("/bytes/5?x"), server.url(), "-o", folder, "-P", 4, *flags)
        self.assertEqual(sorted(os.listdir(folder)), ["5", "5.2", "7", "index"])
        self.assertEqual((folder / "5.2").read_bytes(), pattern(5))

    def test_many_at_once_share_a_connection(self):
        server = self.node("h2")
        out, err = self.get(server.url("/bytes/5"), "-n", 100, "-P", 100, *self.flags(server))
        self.assertEqual(out, pattern(5))
        self.assertRegex(err, r"^100 requests, 100 answered with 200; 1 connection opened, 500 B of bodies; p50 ")
        counts = server.counts()
        self.assertEqual((counts["connections"], counts["requests"]), (1, 100))
        plain = self.node("http1", delay=10)
        _, err = self.get(plain.url(), "-n", 40, "-P", 40, "-O", "endpoint.max_connections=8", "-o", "/dev/null")
        self.assertIn("; 8 connections opened,", err)
        self.assertEqual(plain.counts()["connections"], 8)


class UploadTest(GetTest):
    def test_data_of_every_kind(self):
        file = self.place / "up"
        file.write_bytes(pattern(300_000))
        for mode in ("http1", "h2"):
            server = self.node(mode)
            flags = self.flags(server)
            with self.subTest(mode=mode):
                out, _ = self.get(server.url("/hash"), "-d", "abc", *flags)
                self.assertIn(b'"method":"POST","size":3,', out)
                self.assertIn(b'"content-length":"3"', out)
                self.assertEqual(self.get(server.url("/echo"), "-d", "", *flags)[0], b"")
                self.assertEqual(self.get(server.url("/echo"), "-d", f"@{file}", *flags)[0], pattern(300_000))
                with file.open("rb") as data:
                    out, _ = self.get(server.url("/echo"), "-d", "@-", *flags, stdin=data)
                self.assertEqual(out, pattern(300_000))
                out, _ = self.get(server.url("/hash"), "-d", "@-", "--trailer", "x-sum: 1", *flags)
                self.assertIn(b'"trailers":{"x-sum":"1"}', out)
                out, _ = self.get(server.url("/hash"), "-X", "PUT", "-d", "x", "-H", "X-One: 1", "-H", "x-two:2", *flags)
                for part in (b'"method":"PUT"', b'"x-one":"1"', b'"x-two":"2"', b'"user-agent":"pooler/'):
                    self.assertIn(part, out)

    def test_input_that_comes_slowly(self):
        server = self.node("h2")
        argv = [self.program, "get", server.url("/echo"), "-d", "@-", *self.flags(server)]
        with subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
            for part in (b"one", b"two"):
                child.stdin.write(part)
                self.assertEqual(child.stdout.read(3), part)  # comes back before the body has ended
            child.stdin.close()
            self.assertEqual((child.stdout.read(), child.wait(30)), (b"", 0))

    def test_input_that_never_ends(self):
        server = self.node("http1")
        argv = [self.program, "get", server.url("/cut"), "-d", "@-"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            self.assertEqual(child.wait(30), 4)

    def test_stored_by_nginx(self):
        nginx = self.use(Nginx())
        file = self.place / "up"
        file.write_bytes(pattern(BIG))
        self.get(f"http://localhost:{nginx.port}/uploads/x", "-X", "PUT", "-d", f"@{file}")
        self.assertTrue((nginx.directory / "uploads" / "x").read_bytes() == pattern(BIG))


class VerboseTest(GetTest):
    def test_headers_times_connection_and_events(self):
        server = self.node("h2")
        _, err = self.get(server.url("/trailers/10"), "-v", "-H", "x-a: b", *self.flags(server))
        for pattern_ in (r"^> GET https://localhost:\d+/trailers/10$", r"^> x-a: b$", r"^< HTTP/2 200$",
                         r"^< trailer x-sum: 10$", r"^\* connection \d+ to 127\.0\.0\.1:\d+, HTTP/2, new$",
                         r"^\* TLSv1\.3, \S+, full handshake$", r"^\* .*secured after \S+, .*done after \S+$",
                         r"connection\.opened"):
            self.assertRegex(err, re.compile(pattern_, re.M))

    def test_interim_responses(self):
        for mode in ("http1", "h2"):
            server = self.node(mode)
            _, err = self.get(server.url("/interim"), "-v", *self.flags(server))
            self.assertRegex(err, r"(?s)^> GET .*< HTTP/\S+ 103\n< [Ll]ink: [^>]*>.*\n<\n< HTTP/\S+ 200\n")

    def test_control_characters_of_a_server_do_not_reach_the_terminal(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            child = subprocess.Popen([self.program, "get", "-v", f"http://127.0.0.1:{listener.getsockname()[1]}/"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: \x9b1m\tb\r\n\r\n")
                _, err = child.communicate(timeout=30)
        self.assertNotIn(b"\x9b", err)
        self.assertIn(b"x9b1m", err)


class FailureTest(GetTest):
    def test_nobody_listens(self):
        _, err = self.get(f"http://127.0.0.1:{free_port()}/", code=4)
        self.assertTrue(err.startswith("pooler: connection refused (ECONNREFUSED)\n"), err)
        self.assertIn("attempts:\n", err)

    def test_untrusted_certificate(self):
        server = self.node("h2")
        _, err = self.get(server.url(), code=4)
        self.assertIn("certificate was refused", err)
        self.assertEqual(self.get(server.url(), "-k")[0], b"hello\n")

    def test_a_body_that_is_cut_short(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            file = self.place / "short"
            child = subprocess.Popen([self.program, "get", f"http://127.0.0.1:{listener.getsockname()[1]}/", "-o", file],
                                     stderr=subprocess.PIPE, text=True)
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            peer.close()
            _, err = child.communicate(timeout=30)
        self.assertEqual((child.returncode, file.read_bytes()), (4, b"abc"), err)

    def test_http_errors_are_answers_unless_fail(self):
        server = self.node("http1")
        self.assertEqual(self.get(server.url("/status/404"))[0], b"hello\n")
        out, err = self.get(server.url("/status/404"), "--fail", "-o", self.place / "x", code=22)
        self.assertIn("status 404", err)
        self.assertFalse((self.place / "x").exists())
        self.get(server.url("/status/204"), "--fail")

    def test_one_of_several_fails(self):
        server = self.node("http1")
        closed = f"http://127.0.0.1:{free_port()}/"
        out, err = self.get(server.url("/bytes/5"), closed, server.url("/bytes/7"), code=4)
        self.assertEqual(out, pattern(5) + pattern(7))
        self.assertIn(f"pooler: {closed}: connection refused", err)
        self.assertIn("1 of 3 requests failed", err)

    def test_outputs_that_cannot_be_written(self):
        server = self.node("http1")
        _, err = self.get(server.url(), "-o", self.place / "no" / "such", code=5)
        self.assertIn("cannot be written: No such file or directory", err)
        if os.path.exists("/dev/full"):
            self.get(server.url("/bytes/100000"), "-o", "/dev/full", code=5)

    def test_a_demanded_protocol_that_is_not_there(self):
        self.get(self.node("https1").url(), "--h2", "-k", code=4)
        self.get(self.node("h2").url(), "--http1", "-k", code=4)


class ArgumentsTest(GetTest):
    def test_bad_arguments(self):
        url = "http://localhost:1/"
        directory = self.place
        for arguments, words in (
                ((), ["URL is missing"]),
                ((url, "--http1", "--h2"), ["--http1 contradicts --h2"]),
                ((url, "-H", "a"), ["no colon", "name: value"]),
                ((url, "-H", "a b: c"), ["-H"]),
                ((url, "-H", "a: b\nc: d"), ["-H"]),
                ((url, "-H", "transfer-encoding: chunked"), ["-H", "ransfer-"]),
                ((url, "-H", "content-length: 5"), ["ontent-"]),
                ((url, "-X", "G ET"), ["-X"]),
                ((url, "-d", "@/no/such"), ["/no/such", "cannot be read"]),
                ((url, "-d", "@"), ["names no file"]),
                ((url, "-d", f"@{directory}"), ["no regular file"]),
                ((url, "-d", "@-", "-n", "2"), ["read once"]),
                ((url, "--trailer", "a: b"), ["needs a body"]),
                ((url, url, "-P", "2"), ["-P with several URLs needs -o"]),
                ((url, url, "-P", "2", "-o", "-", "-o", "-"), ["would mix"]),
                ((url, url, "-o", "a"), ["-o is written 1 times for 2 URLs"]),
                ((url, "-o", ""), ["names no file"]),
                ((url, "-o", f"{directory}/none/"), ["no directory"]),
                ((url, "-P", "0"), ["--parallel"]),
                ((url, "-P", "1001"), ["--parallel"]),
                ((url, "-n", "x"), ["--repeat"]),
                ((url, "-k"), ["tls.insecure needs a URL of https://"]),
                ((url, "--ca", "/x"), ["tls.ca_file needs"]),
                ((url, "-O", "connect.retries"), ["-O name=value"]),
                ((url, "-O", "conect.retries=1"), ['did you mean "connect.retries"?']),
                ((url, "--outptu", "x"), ['did you mean "--output"?']),
                (("ftp://localhost/",), ["ftp"]),
                (("localhost",), ["localhost"]),
                (("http://",), ["URL"]),
                (("http://user@localhost/",), ["user"]),
                (("http://localhost/a b",), ["URL"]),
                (("http://localhost/#f",), ["URL"]),
                (("http://localhost:99999/",), ["99999"]),
                (("http://a..b/",), ["empty label"])):
            with self.subTest(arguments=arguments):
                self.refused("get", *arguments, words=words)

    def test_nothing_is_sent_before_all_is_checked(self):
        server = self.node("http1")
        self.refused("get", server.url(), "http://a..b/")
        self.assertEqual(server.counts()["connections"], 0)

    def test_help(self):
        out, _ = self.pooler("get", "--help")
        for word in ("--http1", "--h2", "-d,--data", "-H,--header", "-o,--output", "-k,--insecure", "-P,--parallel"):
            self.assertIn(word, out)


class ProgressTest(GetTest):
    def on_terminal(self, *arguments):
        """What a run writes on its stderr when that is a terminal."""
        main_fd, far_fd = pty.openpty()
        child = subprocess.Popen([self.program, "get", *map(str, arguments)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=far_fd)
        os.close(far_fd)
        shown = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([main_fd], [], [], 1)[0]:
                continue
            try:
                part = os.read(main_fd, 65536)
            except OSError:  # the child has ended
                break
            if not part:
                break
            shown += part
        os.close(main_fd)
        self.assertEqual(child.wait(30), 0, shown)
        return shown.decode()

    def test_a_long_transfer_shows_a_bar_on_a_terminal_alone(self):
        server = self.node("http1")
        slow = server.url("/slow/40")  # pieces of 1 KiB, each after 50 ms
        shown = self.on_terminal(slow)
        self.assertRegex(shown, r"\r *\d+ % \[=*>? *\] [\d.]+ KiB of 40\.0 KiB, [\d.]+ KiB/s, \d+s left")
        self.assertTrue(shown.endswith("\r\x1b[K"), repr(shown[-80:]))
        self.assertEqual(self.get(slow, "-o", "/dev/null")[1], "")
        self.assertEqual(self.on_terminal(server.url("/bytes/10")), "")


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
