"""Injected failures against a real server: the same seed breaks the same requests in the same order."""

import pathlib
import re

import pooler_program
from pooler_program import PoolerTest

from processes import main
from servers import Nginx

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
RUNS = 10
# Short times: what is compared are counts and order.
QUICK = ("-O", "first_byte.timeout=100ms", "-O", "breaker.open=300ms")
TOLD = ("request.", "fault.", "breaker.")
TIMES = re.compile(r"\b(\w+)=[\d.]+(?:ns|us|ms|s)\b")


class FaultsTest(PoolerTest):
    def setUp(self):
        self.nginx = Nginx().__enter__()
        self.addCleanup(self.nginx.__exit__, None, None, None)

    def run_with(self, *arguments, code=0):
        return self.pooler("--host", "127.0.0.1", "--port", self.nginx.port, *arguments, code=code)

    def failures(self, out):
        return re.search(r"^\[pool\] failures: (.*)$", out, re.M).group(1)

    def steps(self, err):
        """The log without its times: what happened to requests, in order."""
        lines = re.findall(r"^ +\d+\.\d{6}  (.*)$", err, re.M)
        return [TIMES.sub(r"\1", line) for line in lines if line.startswith(TOLD)]

    def test_the_transcript(self):
        out, err = self.run_with("--size", 10, "--inject-failures")
        self.assertRegex(out, r"^\[pool\] created 10 connections\n"
                         r"\[pool\] request latency p50=\d+ms p95=\d+ms\n"
                         r"\[pool\] failures: ECONNRESET=[1-9]\d* ETIMEDOUT=[1-9]\d*( \w+=\d+)*\n"
                         r"\[pool\] circuit breaker OPEN for [1-5]s\n"
                         r"\[pool\] recovered, pool size=10\n$")
        self.assertEqual(err, "")

    def test_the_default_plan_is_the_documented_one(self):
        err = self.run_with("--inject-failures", "-v", "--seed", 7, *QUICK)[1]
        plan, seed = re.search(r'^failure plan "(.*)", seed (\d+)$', err, re.M).groups()
        self.assertEqual(seed, "7")
        for page in ("pooler.md", "faults.md"):
            self.assertIn(plan, " ".join((DOCS / page).read_text().split()))

    def test_ten_runs(self):
        first = None
        for _ in range(RUNS):
            out, err = self.run_with("--seed", 42, "--inject-failures", "-v", *QUICK)
            told = (self.failures(out), self.steps(err))
            first = first or told
            self.assertEqual(told, first)
        self.assertNotIn("ECONNRESET=0", first[0])
        self.assertNotIn("ETIMEDOUT=0", first[0])
        self.assertTrue(any(step.startswith("breaker.opened") for step in first[1]))

    def test_both_worlds_agree(self):
        real, err = self.run_with("--seed", 42, "--inject-failures", "-v", *QUICK)
        simulated, simulated_err = self.pooler("--seed", 42, "--inject-failures", "-v", "--simulate", "--host",
                                               "127.0.0.1", "--port", self.nginx.port, *QUICK)
        self.assertEqual(self.failures(real), self.failures(simulated))
        hits = [[line for line in self.steps(each) if line.startswith("fault.")] for each in (err, simulated_err)]
        self.assertEqual(*hits)

    def test_another_seed_hits_others(self):
        seen = {tuple(self.steps(self.run_with("--seed", seed, "--inject-failures=reset p=10%", "-v", *QUICK)[1]))
                for seed in (1, 2, 3, 4)}
        self.assertGreater(len(seen), 1)

    def test_figures(self):
        out, _ = self.run_with("--inject-failures=reset requests=5,15,25 attempts=1", "--metrics", "text")
        self.assertIn("\nfaults.injected=3\n", out)
        self.assertIn("\nerrors.ECONNRESET=3\n", out)
        self.assertIn("\nrequests.failed=0\n", out)
        self.assertIn("[pool] failures: ECONNRESET=3 ETIMEDOUT=0\n", out)

    def test_other_errors_follow_by_name(self):
        out, _ = self.run_with("--inject-failures=close requests=5,15 attempts=1; refuse connects=11-12")
        names = re.findall(r"(\w+)=", self.failures(out))
        self.assertEqual(names[:2], ["ECONNRESET", "ETIMEDOUT"])
        self.assertEqual(names[2:], sorted(names[2:]))
        self.assertIn("ECONNREFUSED", names)

    def test_all_fails(self):
        out, _ = self.run_with("--inject-failures=reset", code=4)
        self.assertRegex(out, r"^\[pool\] created 10 connections\n\[pool\] failures: ECONNRESET=\d\d+ ETIMEDOUT=0\n"
                         r"\[pool\] circuit breaker OPEN for [1-5]s\n$")


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
