"""One completion queue and several threads that consume it: each event once, and all of them work."""

import re
import resource
import subprocess
import unittest

from examples import TIMEOUT_S, ScriptedServer, answer_http, program, run
from processes import main


class QueueThreads(unittest.TestCase):
    def test_each_event_once_and_nobody_idle(self):
        with ScriptedServer(answer_http) as server:
            done = run("queue_threads", f"http://127.0.0.1:{server.port}/", 2, 300, 2)
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        told = re.fullmatch(r"300 of 300 events delivered once, 0 failed, ([\d.]+) cores of 2 threads: ([\d.]+) "
                            r"([\d.]+), waited [\d.]+%\n", done.stdout)
        self.assertTrue(told, done.stdout)
        # The exact figure is measure.py's. Here: a consumer that got nothing would show next to nothing.
        shares = [float(told[2]), float(told[3])]
        self.assertGreater(min(shares), max(shares) / 10)

    def test_failures_are_counted(self):
        with ScriptedServer(lambda handler: None) as server:
            done = run("queue_threads", f"http://127.0.0.1:{server.port}/", 3, 20, 0)
        self.assertEqual(done.returncode, 4)
        self.assertIn("20 of 20 events delivered once, 20 failed", done.stdout)

    def test_usage(self):
        self.assertEqual(run("queue_threads").returncode, 2)
        for wrong in ((1, 1, -1), (1, 1, "x"), (1, 1, "nan"), (1, 1, 60001), (1025, 1, 1), ("1x", 1, 1), (1, 0, 1)):
            done = run("queue_threads", "http://127.0.0.1:1/", *wrong)
            self.assertEqual((done.returncode, done.stdout), (2, ""), wrong)
            self.assertIn("usage: ", done.stderr)
        self.assertEqual(run("queue_threads", "ftp://h/", 1, 1, 1).returncode, 2)

    def test_a_thread_that_cannot_start_is_a_sentence(self):
        size = 500 << 20  # of address space, of which each thread's stack takes 8 MiB
        done = subprocess.run([program("queue_threads"), "http://127.0.0.1:1/", "1000", "1", "0"], capture_output=True,
                              text=True, timeout=TIMEOUT_S,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
        if "Sanitizer" in done.stderr:
            self.skipTest("a sanitizer needs more memory than the limit leaves")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertRegex(done.stderr, r"^thread \d+ of 1000 cannot be started: ")


if __name__ == "__main__":
    main()
