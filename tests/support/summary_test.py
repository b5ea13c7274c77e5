"""summary.py and the scripts around it: nothing that failed, crashed or did not run may count as passed."""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import summary  # noqa: E402

CASES = """<testsuites><testsuite name="conpool.conpool:unit / base.Timer">
<testcase name="A" status="run"/>
<testcase name="B" status="run"><failure message="no"/></testcase>
<testcase name="C" status="run" result="skipped"><skipped message="why"/></testcase>
</testsuite><testsuite name="conpool.conpool:unit / base.Name"><testcase name="D" status="run"/></testsuite>
<testsuite name="conpool"><testcase name="script" classname="conpool:tidy"/></testsuite></testsuites>"""


class Summary(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.tree = pathlib.Path(place.name)
        (self.tree / "meson-logs").mkdir()

    def count(self, results, junit=None):
        """(exit code, printed lines) for meson's results: [(name, result, stdout)]."""
        logs = self.tree / "meson-logs"
        records = [{"name": n, "result": r, "stdout": out, "stderr": ""} for n, r, out in results]
        (logs / "testlog.json").write_text("".join(json.dumps(r) + "\n" for r in records))
        if junit:
            (logs / "testlog.junit.xml").write_text(junit)
        return self.call([str(self.tree)])

    def call(self, arguments):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = summary.main(arguments)
        return code, printed.getvalue().splitlines()

    def test_cases_count_one_by_one(self):
        code, lines = self.count([("conpool:unit / base", "FAIL", ""), ("conpool:tidy / script", "OK", "")], CASES)
        self.assertEqual(lines, ["conpool:unit / base: Timer.B failed", "3 passed, 1 failed, 1 skipped"])
        self.assertEqual(code, 1)

    def test_everything_passed(self):
        self.assertEqual(self.count([("conpool:tidy / script", "OK", "")]), (0, ["1 passed, 0 failed"]))

    def test_a_crash_is_a_failure_whatever_the_cases_say(self):
        junit = CASES.replace('<failure message="no"/>', "")
        code, lines = self.count([("conpool:unit / base", "ERROR", "")], junit)
        self.assertEqual(lines[-1], "3 passed, 1 failed, 1 skipped")
        self.assertEqual(code, 1)

    def test_a_timeout_is_a_failure(self):
        code, lines = self.count([("conpool:sim / world", "TIMEOUT", ""), ("conpool:tidy / script", "OK", "")])
        self.assertEqual(lines, ["conpool:sim / world: TIMEOUT", "1 passed, 1 failed"])
        self.assertEqual(code, 1)

    def test_a_skip_tells_why_and_alone_is_no_success(self):
        code, lines = self.count([("conpool:netns / x", "SKIP", "noise\nskipped: needs root\n")])
        self.assertEqual(lines, ["conpool:netns / x: skipped: needs root", "0 passed, 0 failed, 1 skipped"])
        self.assertEqual(code, 1)

    def test_no_log_is_a_failure(self):
        self.assertEqual(self.call([str(self.tree)])[1][-1], "0 passed, 1 failed")

    def test_sums_of_outputs(self):
        good, bad, none = (self.tree / name for name in ("good", "bad", "none"))
        good.write_text("x\n3 passed, 0 failed\n")
        bad.write_text("4 passed, 1 failed, 2 skipped\n")
        none.write_text("killed\n")
        self.assertEqual(self.call(["--sum", str(good)]), (0, ["3 passed, 0 failed"]))
        self.assertEqual(self.call(["--sum", str(good), str(bad)]), (1, ["7 passed, 1 failed, 2 skipped"]))
        self.assertEqual(self.call(["--sum", str(good), str(none)])[0], 1)


class Scripts(unittest.TestCase):
    def run_script(self, text):
        """A script made of testing.sh and some lines, in a tree of its own."""
        with tempfile.TemporaryDirectory() as place:
            support = pathlib.Path(place) / "tests" / "support"
            support.mkdir(parents=True)
            for name in ("testing.sh", "summary.py"):
                (support / name).write_text((HERE / name).read_text())
            script = support.parent / "run"
            script.write_text('set -euo pipefail\n. "$(dirname "$0")/support/testing.sh"\n' + text)
            return subprocess.run(["bash", str(script)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=60)

    def test_a_failed_build_ends_in_the_closing_line(self):
        done = self.run_script("run false\nsummarise build\n")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.splitlines()[-1], "0 passed, 1 failed")

    def test_a_script_that_ends_early_is_no_success(self):
        done = self.run_script("exit 0\n")
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "0 passed, 1 failed"))

    def test_a_signal_ends_what_runs(self):
        done = self.run_script('run sh -c "kill -TERM $$; exec sleep 60"\n')
        self.assertEqual(done.returncode, 130)
        self.assertEqual(done.stdout.splitlines()[-1], "0 passed, 1 failed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
