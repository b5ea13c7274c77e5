"""Each server fixture starts, serves, restarts and leaves nothing behind. The class to run is the argument."""

import datetime
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "netns")]

import certificates  # noqa: E402
import http_servers  # noqa: E402
import processes  # noqa: E402
import servers  # noqa: E402
from dns_server import encode_name  # noqa: E402


class Fixture(unittest.TestCase):
    def use(self, server):
        """Enters a fixture; when the test ends its process must be gone."""
        used = server.__enter__()
        directory = used.directory
        pids = [used.pid]

        def leave():
            pids.append(used.pid)
            server.close()
            for pid in pids:
                self.assertFalse(os.path.exists(f"/proc/{pid}"))
            self.assertFalse(directory.exists())

        self.addCleanup(leave)
        return used

    def authority(self):
        authority = certificates.Authority()
        self.addCleanup(authority.close)
        return authority

    def exchange(self, server, data, wrap=None):
        """Sends data and answers what comes back first."""
        with socket.create_connection((server.address, server.port), timeout=10) as plain:
            with wrap(plain) if wrap else plain as connection:
                connection.sendall(data)
                return connection.recv(65536)

    def trusting(self, authority, name="localhost", alpn=("http/1.1",)):
        context = ssl.create_default_context(cafile=authority.certificate)
        context.set_alpn_protocols(list(alpn))
        return lambda plain: context.wrap_socket(plain, server_hostname=name)


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


class NginxTest(Fixture):
    def test_plain_and_restart(self):
        nginx = self.use(servers.Nginx())
        self.assertIn(b"hello\n", self.exchange(nginx, GET))
        port = nginx.port
        nginx.restart()
        self.assertEqual(nginx.port, port)
        self.assertIn(b"hello\n", self.exchange(nginx, GET))

    def test_tls(self):
        authority = self.authority()
        nginx = self.use(servers.Nginx(certificate=authority.issue("localhost")))
        self.assertIn(b"hello\n", self.exchange(nginx, GET, self.trusting(authority)))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.exchange(nginx, GET, self.trusting(authority, "other.test"))

    def test_expired_certificate(self):
        authority = self.authority()
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        pair = authority.issue("localhost", valid_from=past, valid_to=past + datetime.timedelta(days=1))
        nginx = self.use(servers.Nginx(certificate=pair))
        with self.assertRaisesRegex(ssl.SSLCertVerificationError, "expired"):
            self.exchange(nginx, GET, self.trusting(authority))


    def test_uploads_and_files(self):
        nginx = self.use(servers.Nginx())
        put = b"PUT /uploads/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
        self.assertIn(b" 201 ", self.exchange(nginx, put))
        self.assertEqual((nginx.directory / "uploads" / "a").read_bytes(), b"abc")
        (nginx.directory / "files" / "b").write_bytes(b"12345")
        self.assertTrue(self.exchange(nginx, b"GET /files/b HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n12345"))
        log = processes.poll_until(lambda: len(nginx.requests()) == 2 and nginx.requests(), "the log")
        self.assertEqual([(each["method"], each["status"]) for each in log], [("PUT", "201"), ("GET", "200")])

    def test_versions(self):
        authority = self.authority()
        certificate = authority.issue("localhost")
        plain = self.use(servers.Nginx(versions="h2"))
        self.assertEqual(self.exchange(plain, H2_PREFACE)[3], 4)
        old = self.use(servers.Nginx(certificate=certificate, versions="http1"))
        wrap = self.trusting(authority, alpn=["h2", "http/1.1"])
        self.assertIn(b"HTTP/1.1 200 ", self.exchange(old, GET, wrap))
        both = self.use(servers.Nginx(certificate=certificate))
        self.assertEqual(self.exchange(both, H2_PREFACE, wrap)[3], 4)


class RedisTest(Fixture):
    def test_ping_and_restart(self):
        redis = self.use(servers.Redis())
        self.assertEqual(self.exchange(redis, b"PING\r\n"), b"+PONG\r\n")
        redis.restart()
        self.assertEqual(self.exchange(redis, b"PING\r\n"), b"+PONG\r\n")

    def test_two_at_once(self):
        one, two = self.use(servers.Redis()), self.use(servers.Redis())
        self.assertNotEqual(one.port, two.port)


class PostgresTest(Fixture):
    def test_plain(self):
        postgres = self.use(servers.Postgres(roles=["alice", "bob"]))
        self.assertEqual(postgres.query("select current_user", user="alice").stdout, "alice\n")
        self.assertNotEqual(postgres.query("select 1", sslmode="require").returncode, 0)
        self.assertEqual(self.exchange(postgres, struct.pack("!II", 8, 80877103)), b"N")  # SSLRequest

    def test_tls(self):
        authority = self.authority()
        postgres = self.use(servers.Postgres(certificate=authority.issue("localhost")))
        sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        self.assertEqual(postgres.query(sql, sslmode="require").stdout, "t\n")
        self.assertEqual(postgres.query(sql).stdout, "f\n")
        self.assertEqual(self.exchange(postgres, struct.pack("!II", 8, 80877103)), b"S")


class DnsFixture(Fixture):
    def ask(self, server, name, type_number=1):
        """(rcode, number of answers) over UDP."""
        query = struct.pack("!HHHHHH", 9, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack("!HH", type_number, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((server.address, server.port))
            client.send(query)
            answer = client.recv(65535)
        self.assertEqual(answer[:2], b"\0\x09")
        return answer[3] & 15, struct.unpack("!H", answer[6:8])[0]


class DnsmasqTest(DnsFixture):
    def test_answers(self):
        dns = self.use(servers.Dnsmasq({"www.test": ["127.0.0.2", "::1"]}))
        self.assertEqual(self.ask(dns, "www.test"), (0, 1))
        self.assertEqual(self.ask(dns, "www.test", 28), (0, 1))
        self.assertEqual(self.ask(dns, "none.test"), (3, 0))
        self.assertIn("www.test", dns.log())


class UnboundTest(DnsFixture):
    def test_answers(self):
        dns = self.use(servers.Unbound(["www.test. 60 IN A 127.0.0.2", "www.test. 60 IN A 127.0.0.3"]))
        self.assertEqual(self.ask(dns, "www.test"), (0, 2))
        self.assertEqual(self.ask(dns, "www.test", 28), (0, 0))
        self.assertEqual(self.ask(dns, "none.test"), (3, 0))


class HaproxyTest(Fixture):
    def test_passes_bytes_on(self):
        redis = self.use(servers.Redis())
        haproxy = self.use(servers.Haproxy([redis.port]))
        self.assertEqual(self.exchange(haproxy, b"PING\r\n"), b"+PONG\r\n")


    def test_http_with_tls(self):
        authority = self.authority()
        nginx = self.use(servers.Nginx())
        front = self.use(servers.Haproxy([nginx.port], mode="http", certificate=authority.issue("localhost")))
        self.assertIn(b"hello\n", self.exchange(front, GET, self.trusting(authority)))
        self.assertEqual(self.exchange(front, H2_PREFACE, self.trusting(authority, alpn=["h2"]))[3], 4)


class NghttpdTest(Fixture):
    def test_plain(self):
        nghttpd = self.use(servers.Nghttpd())
        self.assertEqual(self.exchange(nghttpd, H2_PREFACE)[3], 4)  # a SETTINGS frame comes first

    def test_tls(self):
        authority = self.authority()
        nghttpd = self.use(servers.Nghttpd(certificate=authority.issue("localhost")))
        answer = self.exchange(nghttpd, H2_PREFACE, self.trusting(authority, alpn=["h2"]))
        self.assertEqual(answer[3], 4)


class ScriptedHttp(Fixture):
    """What Node's and Go's servers have in common."""

    SERVER = None

    def enter(self, mode, **options):
        server = self.SERVER(mode, **options)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        server.address = "127.0.0.1"
        return server

    def check_modes(self):
        authority = self.authority()
        certificate = authority.issue("localhost")
        for mode, alpn in (("http1", ["http/1.1"]), ("https1", ["h2", "http/1.1"]), ("both", ["http/1.1"])):
            server = self.enter(mode, certificate=certificate)
            get = b"GET /bytes/300 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            wrap = self.trusting(authority, alpn=alpn) if mode != "http1" else None
            with self.subTest(mode=mode), socket.create_connection((server.address, server.port), timeout=10) as plain:
                with wrap(plain) if wrap else plain as connection:
                    connection.sendall(get)
                    answer = b"".join(iter(lambda: connection.recv(65536), b""))
                self.assertTrue(answer.endswith(b"\r\n\r\n" + http_servers.pattern(300)))
                counts = server.counts()
                self.assertEqual((counts["connections"], counts["requests"]), (1, 1))
        for mode, alpn in (("h2c", None), ("h2", ["h2"]), ("both", ["h2", "http/1.1"])):
            server = self.enter(mode, certificate=certificate)
            with self.subTest(mode=mode):
                answer = self.exchange(server, H2_PREFACE, self.trusting(authority, alpn=alpn) if alpn else None)
                self.assertEqual(answer[3], 4)

    def check_restart(self):
        server = self.enter("http1")
        port = server.port
        self.exchange(server, GET)
        server.restart()
        self.assertEqual(server.port, port)
        self.assertIn(b"hello\n", self.exchange(server, GET))
        self.assertEqual(server.counts()["requests"], 1)


class NodeTest(ScriptedHttp):
    SERVER = http_servers.Node

    def test_modes(self):
        self.check_modes()

    def test_restart(self):
        self.check_restart()


class GoTest(ScriptedHttp):
    SERVER = http_servers.Go

    def test_modes(self):
        self.check_modes()

    def test_restart(self):
        self.check_restart()


class Program(unittest.TestCase):
    """What the fixtures rely on themselves."""

    def test_missing_program_is_skipped(self):
        self.assertRaises(processes.Skipped, processes.need, "no-such-program-anywhere")

    def test_children_die_with_their_parent(self):
        code = ("import sys, os; sys.path.insert(0, sys.argv[1]); import processes; "
                "print(processes.start(['sleep', '60']).pid, flush=True); os.kill(os.getpid(), 9)")
        done = subprocess.run([sys.executable, "-c", code, str(HERE.parent / "support")], stdout=subprocess.PIPE,
                              text=True, timeout=30)
        pid = int(done.stdout)
        processes.poll_until(lambda: not running(pid), "the end of the child")

    def test_a_server_that_cannot_start_says_why(self):
        if shutil.which("redis-server") is None:
            raise processes.Skipped("redis-server is not installed")
        with self.assertRaisesRegex(RuntimeError, "no-such-option"):
            servers.Redis("--no-such-option", "1").__enter__()

    def test_exit_code_of_a_skipped_script(self):
        script = ("import sys, unittest; sys.path.insert(0, sys.argv.pop(1)); import processes\n"
                  "class T(unittest.TestCase):\n"
                  "    def test(self): processes.need('no-such-program-anywhere')\n"
                  "processes.main()\n")
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(script)
            file.flush()
            done = subprocess.run([sys.executable, file.name, str(HERE.parent / "support")], capture_output=True,
                                  text=True, timeout=30)
        self.assertEqual(done.returncode, 77)
        self.assertIn("skipped: no-such-program-anywhere is not installed", done.stdout)


def running(pid):
    """Whether a process runs; one that ended and waits to be reaped does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    processes.main()
