"""pooler demo: what it prints, and that the numbers of both sides are the same."""

import re

import pooler_program
from pooler_program import PoolerTest

from processes import main

LEASES, LIMIT, TLS_CONNECTIONS = 200, 4, 4
NAMES = ["connections", "requests", "bytes_in", "bytes_out", "tls_full", "tls_resumed"]


def figures(out, label):
    """The name=value pairs of the line that begins with the label."""
    line = re.search(rf"^{label}:(.*)$", out, re.M).group(1)
    return {name: int(value) for name, value in (pair.split("=") for pair in line.split())}


class DemoTest(PoolerTest):
    def test_the_numbers_of_both_sides_agree(self):
        out, err = self.pooler("demo")
        counted = figures(out, "origin counted")
        self.assertEqual(list(counted), NAMES)
        self.assertEqual(counted, figures(out, "pool metrics"))
        self.assertEqual(counted["requests"], LEASES + TLS_CONNECTIONS)
        self.assertEqual(counted["bytes_in"], counted["requests"] * len("ping\n"))
        self.assertEqual(counted["bytes_out"], counted["requests"] * len("pong\n"))
        self.assertEqual((counted["tls_full"], counted["tls_resumed"]), (1, TLS_CONNECTIONS - 1))
        self.assertEqual(err, "")

    def test_the_lines_say_the_same_as_the_numbers(self):
        out, _ = self.pooler("demo")
        counted = figures(out, "origin counted")
        created, most = map(int, re.search(r"connections created +(\d+), most open at once (\d+)$", out, re.M).groups())
        self.assertEqual(created + TLS_CONNECTIONS, counted["connections"])
        self.assertLessEqual(most, LIMIT)
        leases, reused, ratio = re.search(r"leases +(\d+), (\d+) of them .* ratio (\S+) %$", out, re.M).groups()
        self.assertEqual((int(leases), int(reused)), (LEASES, LEASES - created))
        self.assertAlmostEqual(float(ratio), 100 * int(reused) / LEASES, delta=0.06)
        p50, p95 = map(float, re.search(r"latency +p50 (\S+) ms, p95 (\S+) ms", out).groups())
        self.assertGreaterEqual(p50, 1.0)  # the origin takes so long to answer
        self.assertGreaterEqual(p95, p50)
        port = re.search(r"to localhost:(\d+), where", out).group(1)
        served = re.findall(r"(\S+):" + port + r" \((\d+) leases?\)", out)
        self.assertEqual(sum(int(count) for _, count in served), LEASES)
        self.assertTrue({address for address, _ in served} <= {"127.0.0.1", "[::1]"}, served)
        self.assertIn("handshakes   1 full, 3 resumed", out)
        self.assertTrue(all(len(line) <= 100 for line in out.splitlines()), out)

    def test_http_over_both_protocols(self):
        out, _ = self.pooler("demo")
        counted = figures(out, "http origin counted")
        self.assertEqual(counted, figures(out, "http pool metrics"))
        self.assertEqual(counted, {"h1_connections": 8, "h1_requests": 100, "h2_connections": 1, "h2_requests": 100,
                                   "tls": 9})
        self.assertRegex(out, r"\n  HTTP/1\.1  8 connections  p50 \S+ ms, p95 \S+ ms")
        self.assertRegex(out, r"\n  HTTP/2    1 connection   p50 \S+ ms, p95 \S+ ms")

    def test_v_prints_the_event_log_on_stderr(self):
        out, err = self.pooler("demo", "-v")
        self.assertEqual(figures(out, "origin counted"), figures(out, "pool metrics"))
        for event in ("pool.created", "connection.opened", "connection.leased", "tls.resumed", "request.done"):
            self.assertIn(event, err)


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
