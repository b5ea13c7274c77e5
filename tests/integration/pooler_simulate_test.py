"""The harness in the simulated world: the same bytes on every run, and other ones when something is another."""

import re
import time

import pooler_program
from pooler_program import PoolerTest

from processes import main

RUNS = 10
PLAN = "reset requests=10,20,30 attempts=1 after=1; half_open requests=40-41 attempts=1; reset sends=60-69 after=1"


class SimulateTest(PoolerTest):
    def simulate(self, *arguments, code=0):
        """stdout and stderr together."""
        return "".join(self.pooler("--simulate", *arguments, code=code))

    def same(self, *arguments):
        first = self.simulate(*arguments)
        for _ in range(RUNS - 1):
            self.assertEqual(self.simulate(*arguments), first)
        return first

    def test_ten_runs_are_one(self):
        for flags in ((), ("--inject-failures",), ("--inject-failures", "-v"), ("--metrics", "text"),
                      ("--metrics", "openmetrics"), ("--concurrency", 20, "--rate", 500, "-v"),
                      ("--tls", "--h2", "-v", "--host", "www.test", "--port", 443),
                      ("--inject-failures=refuse p=30%; reset p=10%", "--concurrency", 4, "-v")):
            with self.subTest(flags=flags):
                self.same("--seed", 42, *flags)

    def test_the_transcripts(self):
        self.assertRegex(self.simulate("--host", "127.0.0.1", "--port", 8080, "--size", 2, "--seed", 42),
                         r"^\[pool\] created 2 connections\n\[pool\] request latency p50=\dms p95=\dms\n"
                         r"\[pool\] failures: ECONNRESET=0 ETIMEDOUT=0\n$")
        self.assertRegex(self.simulate("--host", "127.0.0.1", "--port", 8080, "--inject-failures"),
                         r"^\[pool\] created 10 connections\n\[pool\] request latency p50=\d+ms p95=\d+ms\n"
                         r"\[pool\] failures: ECONNRESET=[1-9]\d* ETIMEDOUT=[1-9]\d*( \w+=\d+)*\n"
                         r"\[pool\] circuit breaker OPEN for [1-5]s\n\[pool\] recovered, pool size=10\n$")
        out, err = self.pooler("--simulate", "--inject-failures=reset", code=4)
        self.assertRegex(out, r"^\[pool\] created 10 connections\n\[pool\] failures: ECONNRESET=\d\d+ ETIMEDOUT=0\n"
                         r"\[pool\] circuit breaker OPEN for [1-5]s\n$")
        self.assertRegex(err, r"^pooler: \d+ of \d+ requests failed, the first: the connection ended before a response")
        err = self.pooler("--simulate", "--inject-failures=reset", "--concurrency", 20, code=4)[1]
        self.assertEqual(err, "pooler: no request succeeded, 20 requests still waiting; the last failure: the connection "
                         "ended before a response (ECONNRESET)\n")
        self.assertRegex(self.simulate("--inject-failures=refuse", code=4),
                         r"^\[pool\] connection refused \(ECONNREFUSED\)\n\[pool\] circuit breaker OPEN for [1-5]s\n$")
        self.assertRegex(self.simulate("--inject-failures=blackhole", code=4),
                         r"^\[pool\] connect timeout after 500ms\n\[pool\] circuit breaker OPEN for [1-5]s\n$")

    def test_what_changes_the_run(self):
        base = ("--seed", 42, "--inject-failures=" + PLAN, "-v")
        out = self.simulate(*base)
        for other in (("--seed", 43), ("--size", 9), ("-O", "first_byte.timeout=1s"),
                      ("-O", "breaker.open=1s"), ("--concurrency", 2), ("--rate", 50),
                      ("--inject-failures=" + PLAN.replace("30", "31"),)):
            flags = [each for each in base if not (str(each).startswith("--inject") and "--inject" in str(other[0]))]
            if other[0] == "--seed":
                flags = flags[2:]
            with self.subTest(other=other):
                self.assertNotEqual(self.simulate(*flags, *other), out)

    def test_the_machines_steps_are_in_the_log(self):
        err = self.pooler("--simulate", "--seed", 42, "--inject-failures=" + PLAN, "-v")[1]
        self.assertIn(f'failure plan "{PLAN}", seed 42\n', err)
        names = re.findall(r"^ +\d+\.\d{6}  ([a-z_.]+)", err, re.M)
        at = [names.index(name) for name in ("request.send_failed", "breaker.opened", "breaker.half_open",
                                             "breaker.trial", "breaker.closed")]
        self.assertEqual(at, sorted(at))
        self.assertEqual(names.count("fault.injected"), 15)
        self.assertGreaterEqual(names.count("request.retry"), 5)

    def test_a_minute_costs_milliseconds(self):
        self.simulate()
        begun = time.monotonic()
        out = self.simulate("--rate", 10, "--requests", 600, "--metrics", "text")
        self.assertIn("\nrequests.done=600\n", out)
        self.assertLess(time.monotonic() - begun, 20)  # far below its minute, also under a sanitizer

    def test_quiet_time_costs_nothing(self):
        """What a run takes depends on what happens, not on how long that lasts: here it is 23 days."""
        out, err = self.pooler("--simulate", "--rate", 0.001, "--requests", 2000, "-v")
        self.assertEqual(err.count("  request.done "), 2000)
        self.assertNotIn("overwritten", err)
        self.assertIn("[pool] request latency p50=", out)

    def test_rare_looks_miss_nothing(self):
        flags = ("--simulate", "--rate", 0.005, "--requests", 3, "--size", 2, "-v", "-O", "health.interval=50ms", "-O",
                 "pool.min=2")
        err = self.pooler(*flags)[1]
        self.assertGreater(len(err.splitlines()), 4096)
        self.assertNotIn("overwritten", err)

    def test_a_long_log(self):
        """Its events are read once each."""
        out, err = self.pooler("--simulate", "--inject-failures=reset p=20%", "--requests", 10_000, "-v", "--metrics", "text",
                               "-O", "events.capacity=65536")
        injected = int(re.search(r"^faults\.injected=(\d+)$", out, re.M).group(1))
        self.assertGreater(injected, 1000)
        self.assertEqual(err.count("  fault.injected "), injected)
        self.assertNotIn("overwritten", err)

    def test_lost_events_are_counted(self):
        flags = ("--simulate", "--concurrency", 100, "--requests", 300, "-v")
        told = re.compile(r"^ +\d+\.\d{6}  [a-z]", re.M)
        full = self.pooler(*flags)[1]
        self.assertNotIn("overwritten", full)
        cut = self.pooler(*flags, "-O", "events.capacity=64")[1]
        lost = sum(map(int, re.findall(r"^(\d+) events overwritten before they could be read$", cut, re.M)))
        self.assertGreater(lost, 0)
        self.assertEqual(len(told.findall(cut)) + lost, len(told.findall(full)))

    def test_no_host_is_needed(self):
        self.assertIn("[pool] created 10 connections\n", self.simulate())
        self.assertIn("[pool] created 10 connections\n", self.simulate("--host", "some.where.example", "--port", 1))


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
