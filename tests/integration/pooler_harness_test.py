"""The harness against real servers: its lines, its figures and its exit codes, while servers die and come back."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pooler_program
from pooler_program import PoolerTest, Running, black_hole, closed_port

from certificates import Authority
from processes import main, start, stop
from servers import Nghttpd, Nginx

LATENCY = r"\[pool\] request latency p50=\d+ms p95=\d+ms\n"
NO_FAILURE = r"\[pool\] failures: ECONNRESET=0 ETIMEDOUT=0\n"
OPEN = r"\[pool\] circuit breaker OPEN for \d+(?:s|ms)\n"
DONE, OPENED = r"  request\.done ", r"  breaker\.opened "  # lines of the log
QUICK_BREAKER = ("-O", "breaker.open=300ms", "-O", "breaker.open_max=600ms")


class HarnessTest(PoolerTest):
    def use(self, server):
        self.addCleanup(server.__exit__, None, None, None)
        return server.__enter__()

    def run_at(self, port, *arguments, code=0, timeout=pooler_program.TIMEOUT_S):
        return self.pooler("--host", "127.0.0.1", "--port", port, *arguments, code=code, timeout=timeout)

    def begin(self, port, *arguments):
        """A run that goes on while the test does something to its server; some requests are done already."""
        child = start([self.program, "--host", "127.0.0.1", "--port", port, "-v", *arguments], stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE, text=True)
        self.addCleanup(stop, child)
        running = Running(child)
        running.wait_for(DONE, count=20)
        return running

    def end(self, running, code=0):
        ended, out, err = running.end()
        self.assertEqual(ended, code, out + err)
        self.assertRegex(out, r"^\[pool\] created \d+ connections?\n")
        return out, err

    def figures(self, out):
        return dict(line.split("=", 1) for line in out.splitlines() if not line.startswith("[pool]"))

    def matches(self, text, pattern):
        self.assertRegex(text, f"^(?:{pattern})$")


class HealthyTest(HarnessTest):
    def test_three_lines(self):
        nginx = self.use(Nginx())
        out, err = self.run_at(nginx.port, "--size", 2, "--seed", 42)
        self.matches(out, r"\[pool\] created 2 connections\n" + LATENCY + NO_FAILURE)
        self.assertEqual(err, "")
        self.assertEqual(len(nginx.requests()), 100)

    def test_host_and_port_are_enough(self):
        nginx = self.use(Nginx())
        out, _ = self.run_at(nginx.port)
        self.matches(out, r"\[pool\] created 10 connections\n" + LATENCY + NO_FAILURE)
        out, _ = self.pooler("--host", "localhost", "--port", nginx.port, "--size", 1, "-O", "race.family=v4_only")
        self.matches(out, r"\[pool\] created 1 connection\n" + LATENCY + NO_FAILURE)

    def test_requests_and_concurrency(self):
        nginx = self.use(Nginx(server='location /slow { return 200 "slow"; }'))
        out, _ = self.run_at(nginx.port, "--requests", 500, "--concurrency", 50, "--size", 4, "--path", "/slow")
        self.matches(out, r"\[pool\] created 4 connections\n" + LATENCY + NO_FAILURE)
        requests = nginx.requests()
        self.assertEqual({(each["uri"], each["method"]) for each in requests}, {("/slow", "GET")})
        self.assertEqual(len(requests), 500)
        self.assertLessEqual(len({each["connection"] for each in requests}), 4)

    def test_a_rate(self):
        nginx = self.use(Nginx())
        begun = time.monotonic()
        self.run_at(nginx.port, "--requests", 50, "--rate", 100)
        self.assertGreaterEqual(time.monotonic() - begun, 0.49)  # 49 intervals of 10 ms

    def test_tls_and_http2(self):
        with Authority() as authority:
            certificate = authority.issue("localhost")
            secured = self.use(Nginx(certificate=certificate))
            trust = ("-O", f"tls.ca_file={authority.certificate}", "-O", "race.family=v4_only", "--tls", "--host",
                     "localhost", "--port", secured.port)
            out, _ = self.pooler(*trust, "--h2", "--concurrency", 20)
            self.matches(out, r"\[pool\] created 1 connection\n" + LATENCY + NO_FAILURE)
            out, _ = self.pooler(*trust, "-O", "http.version=http1", "--size", 3)
            self.matches(out, r"\[pool\] created 3 connections\n" + LATENCY + NO_FAILURE)
            out, _ = self.pooler("--tls", "--host", "localhost", "--port", secured.port, code=4)
            self.assertIn("[pool] the peer's certificate was refused: unable to get local issuer certificate", out)
        plain = self.use(Nghttpd())
        out, _ = self.run_at(plain.port, "--h2", "--path", "/index.html", "--metrics", "text")
        self.assertEqual(self.figures(out)["requests.done"], "100")

    def test_descriptors(self):
        nginx = self.use(Nginx())
        _, err = self.run_at(nginx.port, "--concurrency", 10, "-v")
        before, after = re.search(r"descriptors open: (\d+) before the run, (\d+) after it\n", err).groups()
        self.assertEqual(before, after)


class MetricsTest(HarnessTest):
    NAMES = ["connections.active", "connections.idle", "requests.done", "requests.failed", "latency.p50_ms",
             "latency.p95_ms", "errors.ECONNRESET", "errors.ETIMEDOUT", "breaker.opened"]

    def test_text(self):
        nginx = self.use(Nginx())
        out, _ = self.run_at(nginx.port, "--size", 5, "--metrics", "text")
        lines = out.splitlines()
        self.assertEqual([line.split(" ")[0] for line in lines[:3]], ["[pool]"] * 3)
        for line in lines[3:]:
            self.assertRegex(line, r"^[a-zA-Z0-9_.]+=[a-z0-9-]+$")
        figures = self.figures(out)
        for name in self.NAMES:
            self.assertRegex(figures[name], r"^\d+$")
        self.assertEqual((figures["connections.active"], figures["connections.idle"], figures["breaker.state"]),
                         ("0", "5", "closed"))
        again = self.figures(self.run_at(nginx.port, "--size", 5, "--metrics", "text")[0])
        self.assertEqual(list(figures), list(again))

    def test_json_has_the_same_names(self):
        nginx = self.use(Nginx())
        text = self.figures(self.run_at(nginx.port, "--metrics", "text")[0])
        out, err = self.run_at(nginx.port, "--metrics", "json")
        self.assertEqual(out.count("\n"), 1)
        object_ = json.loads(out)
        self.assertEqual(list(object_), list(text))
        self.assertEqual((object_["connections.idle"], object_["errors.ECONNRESET"]), (10, 0))
        self.matches(err, r"\[pool\] created 10 connections\n" + LATENCY + NO_FAILURE)

    def test_openmetrics_is_the_librarys(self):
        nginx = self.use(Nginx())
        out, err = self.run_at(nginx.port, "--metrics", "openmetrics")
        self.assertTrue(out.endswith("# EOF\n"))
        self.assertIn("\nconpool_pool_requests_done_total 100\n", out)
        self.assertIn("[pool] created 10 connections\n", err)

    def test_of_a_dead_server(self):
        out, _ = self.run_at(closed_port(), "--metrics", "text", code=4)
        figures = self.figures(out)
        self.assertEqual((figures["connections.open"], figures["requests.done"]), ("0", "0"))
        self.assertGreaterEqual(int(figures["errors.ECONNREFUSED"]), 10)
        self.assertNotIn("latency.p50_ms", figures)
        self.assertEqual(figures["breaker.state"], "open")


class DeadServerTest(HarnessTest):
    def test_a_closed_port(self):
        out, err = self.run_at(closed_port(), code=4)
        self.matches(out, r"\[pool\] connection refused \(ECONNREFUSED\)\n" + OPEN)
        self.assertEqual(err, "")

    def test_a_black_hole(self):
        with black_hole() as port:
            out, err = self.run_at(port, code=4)
            self.matches(out, r"\[pool\] connect timeout after 500ms\n" + OPEN)
            self.assertEqual(err, "")
            out, _ = self.run_at(port, "--metrics", "text", "-O", "connect.timeout=50ms", code=4)
            self.matches(out, r"\[pool\] connect timeout after 50ms\n" + OPEN + r"(?:\S+=\S+\n)+")
            self.assertGreaterEqual(int(self.figures(out)["errors.ETIMEDOUT"]), 10)

    def test_a_name_that_is_none(self):
        out, _ = self.pooler("--host", "nothing.invalid", "--port", 80, code=4)
        self.assertRegex(out, r"^\[pool\] [^\n]*name[^\n]*\n")

    def test_few_requests_do_not_open_the_breaker(self):
        out, _ = self.run_at(closed_port(), "--requests", 1, "--size", 1, code=4)
        self.matches(out, r"\[pool\] connection refused \(ECONNREFUSED\)\n")

    def test_a_server_that_never_answers(self):
        nginx = self.use(Nginx())
        os.kill(nginx.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, nginx.pid, signal.SIGCONT)
        out, err = self.run_at(nginx.port, "-O", "first_byte.timeout=50ms", code=4)
        self.matches(out, r"\[pool\] created 10 connections\n\[pool\] failures: ECONNRESET=0 ETIMEDOUT=\d\d+\n" + OPEN)
        self.assertRegex(err, r"^pooler: \d+ of \d+ requests failed, the first: no response came in time")
        # Here the breaker opens before any request has failed for good.
        out, err = self.run_at(nginx.port, "-O", "first_byte.timeout=50ms", "--concurrency", 10, code=4)
        self.matches(err, "pooler: no request succeeded, 10 requests still waiting; the last failure: no response came in "
                     "time: first_byte.timeout = 50ms\n")

    def test_a_server_that_only_fails(self):
        nginx = self.use(Nginx(server="location /sick { return 503; } location /nothing { return 404; }"))
        out, err = self.run_at(nginx.port, "--path", "/sick", code=4)
        self.matches(out, r"\[pool\] created 10 connections\n" + NO_FAILURE + OPEN)
        self.assertRegex(err, r"^pooler: \d+ of \d+ requests failed, the first: answered with status 503\n$")
        out, err = self.run_at(nginx.port, "--path", "/sick", "-O", "breaker.mode=off", "-O", "retry.attempts=1", code=4)
        self.matches(out, r"\[pool\] created 10 connections\n" + NO_FAILURE)
        self.assertEqual(err, "pooler: 100 of 100 requests failed, the first: answered with status 503\n")
        out, _ = self.run_at(nginx.port, "--path", "/nothing", "-O", "breaker.mode=off", "-O", "retry.attempts=1")
        self.matches(out, r"\[pool\] created 10 connections\n" + LATENCY + NO_FAILURE)


class OutageTest(HarnessTest):
    def test_killed_and_restarted(self):
        nginx = self.use(Nginx())
        running = self.begin(nginx.port, "--rate", 100, "--requests", 300, *QUICK_BREAKER)
        nginx.stop()
        running.wait_for(OPENED)
        self.assertTrue(nginx.start())
        out, err = self.end(running)
        self.assertRegex(out, LATENCY + r"\[pool\] failures: ECONNRESET=\d+ ETIMEDOUT=0 ECONNREFUSED=\d+")
        self.assertRegex(out, OPEN)
        self.assertTrue(out.endswith("[pool] recovered, pool size=10\n"), out)
        before, after = re.search(r"descriptors open: (\d+) before the run, (\d+) after it\n", err).groups()
        self.assertEqual(before, after)

    def test_killed_for_good(self):
        nginx = self.use(Nginx())
        running = self.begin(nginx.port, "--rate", 200, "--requests", 200, "-O", "total.timeout=1s", *QUICK_BREAKER)
        nginx.stop()
        out, err = self.end(running, code=4)
        self.assertRegex(out, LATENCY)
        self.assertRegex(out, "(?:" + OPEN + ")+$")
        self.assertNotIn("recovered", out)
        self.assertRegex(err, r"pooler: \d+ of \d+ requests failed, the first: ")

    def test_stopped_and_continued(self):
        nginx = self.use(Nginx())
        running = self.begin(nginx.port, "--rate", 100, "--requests", 300, "-O", "first_byte.timeout=100ms",
                             *QUICK_BREAKER)
        os.kill(nginx.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, nginx.pid, signal.SIGCONT)
        running.wait_for(OPENED)
        os.kill(nginx.pid, signal.SIGCONT)
        out, err = self.end(running)
        self.assertRegex(out, r"failures: ECONNRESET=\d+ ETIMEDOUT=[1-9]\d*")
        self.assertRegex(out, OPEN)
        self.assertTrue(out.endswith("[pool] recovered, pool size=10\n"), out)
        self.assertIn("E_HTTP_FIRST_BYTE_TIMEOUT", err)

    def test_the_demo_over_http2(self):
        out, _ = self.pooler("--restart-demo", "--h2", *QUICK_BREAKER)
        self.assertRegex(out, OPEN)
        self.assertTrue(out.endswith("[pool] recovered, pool size=1\n"), out)

    def test_no_request_of_the_demo_fails(self):
        out, err = self.pooler("--restart-demo", "--metrics", "text", *QUICK_BREAKER)
        self.assertEqual((err, self.figures(out)["requests.failed"], self.figures(out)["breaker.opened"]), ("", "0", "1"))

    def test_the_demo(self):
        out, err = self.pooler("--restart-demo", "-v", *QUICK_BREAKER)
        port = re.search(r"server on port (\d+) killed", out).group(1)
        self.matches(out, r"\[pool\] created 10 connections\n"
                     rf"\[pool\] server on port {port} killed after 50 requests\n"
                     rf"\[pool\] server on port {port} restarted\n" + LATENCY +
                     r"\[pool\] failures: ECONNRESET=\d+ ETIMEDOUT=0 ECONNREFUSED=\d+\n(?:" + OPEN +
                     r")+\[pool\] recovered, pool size=10\n")
        before, after = re.search(r"descriptors open: (\d+) before the run, (\d+) after it\n", err).groups()
        self.assertEqual(before, after)


class ShownTest(HarnessTest):
    def test_verbose_tells_attempts(self):
        nginx = self.use(Nginx())
        out, err = self.run_at(nginx.port, "--size", 2, "-v")
        self.matches(out, r"\[pool\] created 2 connections\n" + LATENCY + NO_FAILURE)
        self.assertRegex(err, r"race\.attempt_connected +.* duration=[\d.]+[mu]s .*SO_ERROR=0\n")
        _, err = self.run_at(closed_port(), "-v", code=4)
        self.assertRegex(err, r"race\.attempt_failed +.* duration=[\d.]+[mu]s .*SO_ERROR=ECONNREFUSED ")
        self.assertIn("breaker.opened", err)

    def test_a_line_on_a_terminal(self):
        nginx = self.use(Nginx())
        parent, child_end = pty.openpty()
        child = start([self.program, "--host", "127.0.0.1", "--port", nginx.port, "--rate", 100, "--requests", 100],
                      stdout=child_end, stderr=subprocess.DEVNULL)
        self.addCleanup(stop, child)
        os.close(child_end)
        shown = b""
        while select.select([parent], [], [], pooler_program.TIMEOUT_S)[0]:
            try:
                piece = os.read(parent, 65536)
            except OSError:  # EIO: the other side is closed
                break
            if not piece:
                break
            shown += piece
        os.close(parent)
        self.assertEqual(child.wait(pooler_program.TIMEOUT_S), 0)
        text = shown.decode()
        drawn = re.findall(r"\r\[pool\] (\d+) of 100 requests, \d+/s, active \d+, idle \d+, breaker closed\x1b\[K", text)
        self.assertGreaterEqual(len(drawn), 3)
        self.assertLessEqual(len(drawn), 30)  # a second, ten times; what a slow machine adds comes on top
        self.assertTrue(text.endswith("[pool] failures: ECONNRESET=0 ETIMEDOUT=0\r\n"), text[-200:])

    def test_no_such_line_in_a_pipe(self):
        nginx = self.use(Nginx())
        out, _ = self.run_at(nginx.port, "--rate", 100, "--requests", 50)
        self.assertNotIn("\r", out)


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
