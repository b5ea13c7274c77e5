"""pooler connect and explain against real servers, a closed port, and names from a real DNS server."""

import os
import re
import socket
import tempfile
import threading
import unittest

import pooler_program
from pooler_program import PoolerTest

from certificates import Authority
from processes import main, poll_until
from servers import Dnsmasq, Nginx, Postgres, Redis, free_port


def has_ipv6_loopback():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


needs_ipv6 = unittest.skipUnless(has_ipv6_loopback(), "no IPv6 here")


class ConnectTest(PoolerTest):
    def test_redis(self):
        with Redis() as redis:
            out, err = self.pooler("connect", f"127.0.0.1:{redis.port}")
            self.assertIn(f"tcp://127.0.0.1:{redis.port}\n", out)
            self.assertRegex(out, rf"attempt +tcp:127\.0\.0\.1:{redis.port} +connected \(SO_ERROR 0\), won\n")
            self.assertRegex(out, rf"connected to 127\.0\.0\.1:{redis.port} in [\d.]+(ns|us|ms|s)\n")
            self.assertEqual(err, "")

    @needs_ipv6
    def test_a_name_with_both_families(self):
        with Redis() as redis:
            out, _ = self.pooler("connect", f"localhost:{redis.port}")
            self.assertRegex(out, rf"attempt +tcp:\[::1\]:{redis.port} +connection refused \(ECONNREFUSED\)\n")
            self.assertRegex(out, rf"attempt +tcp:127\.0\.0\.1:{redis.port} +connected \(SO_ERROR 0\), won\n")

    def test_addresses_ports_and_urls_name_it_too(self):
        with Redis() as redis:
            closed = free_port()
            for target in (f"tcp://127.0.0.1:{redis.port}", f"127.0.0.1:{closed},127.0.0.1:{redis.port}",
                           f"127.0.0.1:{closed},{redis.port}"):
                out, _ = self.pooler("connect", target)
                self.assertIn(f"connected to 127.0.0.1:{redis.port} in ", out)

    def test_a_peer_that_speaks_first_or_closes_is_dialed_once(self):
        for behave in (lambda peer: peer.sendall(b"220 ready\r\n"), lambda peer: None):
            with socket.socket() as listener, self.subTest(behave=behave):
                listener.bind(("127.0.0.1", 0))
                listener.listen(64)
                accepted = []

                def serve():
                    while True:
                        try:
                            peer, _ = listener.accept()
                        except OSError:
                            return
                        accepted.append(peer)
                        behave(peer)
                        peer.close()

                server = threading.Thread(target=serve)
                server.start()
                for _ in range(20):
                    self.pooler("connect", f"127.0.0.1:{listener.getsockname()[1]}")
                # The last one may still wait to be accepted.
                poll_until(lambda: len(accepted) >= 20, "20 connections")
                listener.shutdown(socket.SHUT_RDWR)
                server.join()
                self.assertEqual(len(accepted), 20)

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
            path = os.path.join(place, "s")
            listener.bind(path)
            listener.listen()
            out, _ = self.pooler("connect", f"unix:{path}")
            self.assertIn(f"connected to unix:{path} in ", out)

    def test_v_prints_the_event_log_on_stderr(self):
        with Redis() as redis:
            target = f"127.0.0.1:{redis.port}"
            for arguments in (("connect", target, "-v"), ("-v", "connect", target)):
                _, err = self.pooler(*arguments)
                for event in ("race.attempt_started", "race.won", "connection.opened"):
                    self.assertIn(event, err)


class NamesTest(PoolerTest):
    def test_queries_are_shown(self):
        with Redis() as redis, Dnsmasq({"www.test": ["127.0.0.1"]}) as dns:
            server = f"127.0.0.1:{dns.port}"
            out, _ = self.pooler("connect", f"www.test:{redis.port}", "-o", f"dns.servers={server}")
            self.assertRegex(out, rf"query +A www\.test @{server} +answered\n")
            self.assertRegex(out, rf"query +AAAA www\.test @{server} +\S")
            self.assertIn(f"connected to 127.0.0.1:{redis.port} in ", out)
            _, err = self.pooler("connect", f"none.test:{redis.port}", "-o", f"dns.servers={server}", code=4)
            self.assertIn("none.test", err)
            out, _ = self.pooler("explain", f"www.test:{redis.port}", "-o", f"dns.servers={server}")
            self.assertIn(f"dns.servers  {server}  (default empty)", out)
            self.assertIn("nothing cached", out.split("after connecting")[0])
            self.assertIn("www.test: 127.0.0.1", out.split("after connecting")[1])


class TlsTest(PoolerTest):
    def test_facts_of_the_handshake(self):
        with Authority() as authority, Nginx(certificate=authority.issue("localhost")) as nginx:
            target = f"localhost:{nginx.port}"
            out, _ = self.pooler("connect", target, "--tls", "--ca", authority.certificate, "--alpn", "http/1.1")
            for pattern in (r"TLS +TLSv1\.[23], \S+\n", r"handshake +full\n", r"ALPN +http/1\.1\n",
                            r"subject +CN=localhost\n", r"issuer +CN=conpool test CA\n", r"verified +yes\n",
                            r"valid +from \d{4}-\S+ to \d{4}-\S+\n", r"SNI +localhost\n"):
                self.assertRegex(out, pattern)
            # HTTP/2's server speaks first, often in the handshake's last flight.
            _, err = self.pooler("connect", target, "--tls", "--ca", authority.certificate, "--alpn", "h2", "-v")
            self.assertEqual(err.count("connection.opened"), 1, err)
            out, _ = self.pooler("connect", f"tls://{target}", "--insecure")
            self.assertRegex(out, r"ALPN +none\n")
            self.assertRegex(out, r"verified +no \(tls\.insecure\)\n")
            _, err = self.pooler("connect", target, "--tls", code=4)
            self.assertIn("certificate was refused", err)
            self.assertIn("subject CN=localhost, issuer CN=conpool test CA", err)
            _, err = self.pooler("connect", target, "--tls", "--ca", authority.certificate, "--server-name",
                                 "other.test", code=4)
            self.assertIn("certificate was refused", err)

    def test_postgres_hop(self):
        with Authority() as authority, Postgres(certificate=authority.issue("localhost")) as postgres:
            out, _ = self.pooler("connect", f"localhost:{postgres.port}", "--tls", "--ca", authority.certificate,
                                 "--starttls", "postgres")
            self.assertRegex(out, r"subject +CN=localhost\n")


class FailureTest(PoolerTest):
    @needs_ipv6
    def test_closed_port_with_retries_tells_every_attempt(self):
        port = free_port()
        out, err = self.pooler("connect", f"localhost:{port}", "-o", "connect.retries=3", "-o",
                               "connect.retry_delay=10ms", code=4)
        self.assertEqual(out, "")
        lines = err.splitlines()
        self.assertEqual(lines[0], "pooler: connection refused (ECONNREFUSED)")
        self.assertRegex(lines[1], rf"^  connecting to tcp:(127\.0\.0\.1|\[::1\]):{port}$")
        self.assertEqual(lines[2:5], [f"  connecting to localhost:{port}", "  after 3 retry attempts", "  attempts:"])
        attempts = [re.fullmatch(rf"    round (\d): tcp:(\S+):{port}: connection refused \(ECONNREFUSED\), "
                                 r"started at \S+, took \S+", line).groups() for line in lines[5:]]
        self.assertEqual(sorted(attempts), [(str(n), ip) for n in range(1, 5) for ip in ("127.0.0.1", "[::1]")])

    def test_closed_port_that_is_kept_warm(self):
        # The warming's own repeated dial falls into the time of the retries.
        _, err = self.pooler("connect", f"127.0.0.1:{free_port()}", "-o", "pool.min_idle=2", "-o",
                             "connect.retries=3", "-o", "connect.retry_delay=200ms", code=4)
        self.assertIn("after 3 retry attempts", err)

    def test_time_limit(self):
        with socket.socket() as full:
            # A listener whose backlog is full drops further SYNs: the connect hangs.
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            with socket.socket() as one, socket.socket() as two:
                for filler in (one, two):
                    filler.setblocking(False)
                    filler.connect_ex(full.getsockname())
                target = f"127.0.0.1:{full.getsockname()[1]}"
                _, err = self.pooler("connect", target, "-o", "connect.timeout=100ms", code=4)
        self.assertTrue(err.startswith("pooler: connect timeout\n"), err)
        self.assertIn(f"connecting to {target}", err)

    def test_peer_that_closes_during_the_handshake(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def serve():
                peer, _ = listener.accept()
                with peer:
                    peer.recv(1)

            server = threading.Thread(target=serve)
            server.start()
            _, err = self.pooler("connect", f"127.0.0.1:{listener.getsockname()[1]}", "--tls", "--insecure", code=4)
            server.join()
        self.assertIn("TLS", err)

    def test_explain_tells_what_it_learned_of_a_closed_port(self):
        port = free_port()
        out, err = self.pooler("explain", f"127.0.0.1:{port}", "-o", "connect.timeout=3s", code=4)
        self.assertIn("connect.timeout  3s  (default 10s)", out)
        before, after = out.split("after connecting")
        self.assertIn(f"endpoint tcp://127.0.0.1:{port}", before)
        self.assertIn("1 failures", after)
        self.assertIn("connection refused (ECONNREFUSED)", err)

    @needs_ipv6
    def test_explain_puts_an_address_that_failed_last(self):
        with Redis() as redis:
            out, _ = self.pooler("explain", f"localhost:{redis.port}")
            self.assertRegex(out, rf"1\. 127\.0\.0\.1:{redis.port}  healthy.*\n    2\. \[::1\]:{redis.port}  cooling")

    def test_explain_dry_connects_to_nothing(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.settimeout(0)
            out, _ = self.pooler("explain", "--dry", f"127.0.0.1:{listener.getsockname()[1]}")
            self.assertIn("every option has its default", out)
            self.assertIn("0 open", out)
            with self.assertRaises(BlockingIOError):
                listener.accept()


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
