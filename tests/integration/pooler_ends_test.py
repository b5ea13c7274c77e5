"""How runs of pooler end before their time: by a signal, with an output that takes nothing, without descriptors."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import tempfile

import pooler_program
from pooler_program import PoolerTest, Running, black_hole

from processes import die_with_parent, main, need, start, stop
from servers import Nginx

DONE = r"  request\.done "  # a line of the log
MANY = 10_000_000  # requests that no run has time for
UNWRITTEN = "pooler: standard output cannot be written: "


class SignalTest(PoolerTest):
    def begin(self, *arguments, program=()):
        child = start([*program, self.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(stop, child)
        return Running(child)

    def nginx(self):
        server = Nginx().__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def at(self, port):
        return ("--host", "127.0.0.1", "--port", port, "--requests", MANY)

    def ended_by(self, running, number):
        """stdout, once the run has ended as by this signal, and how many requests it says were done."""
        code, out, err = running.end()
        self.assertEqual(code, 128 + number, out + err)
        name = signal.Signals(number).name
        self.assertRegex(err, rf"(?m)^pooler: {name} ended the run after \d+ of {MANY} requests$")
        return out, int(err.rsplit(" of ", 1)[0].rsplit(" ", 1)[1])

    def test_the_summary_so_far(self):
        port = self.nginx().port
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                running = self.begin(*self.at(port), "--rate", 100, "-v", "--metrics", "text")
                running.wait_for(DONE, count=20)
                running.process.send_signal(number)
                out, ended = self.ended_by(running, number)
                self.assertRegex(out, r"^\[pool\] created 10 connections\n\[pool\] request latency p50=\d+ms p95=\d+ms\n"
                                 r"\[pool\] failures: ECONNRESET=0 ETIMEDOUT=0\n")
                self.assertIn(f"\nrequests.done={ended}\n", out)
                self.assertGreaterEqual(ended, 20)

    def test_a_document_stays_whole(self):
        running = self.begin(*self.at(self.nginx().port), "--metrics", "json")
        running.wait_for("created 10 connections")
        running.process.send_signal(signal.SIGINT)
        out, _ = self.ended_by(running, signal.SIGINT)
        self.assertIn("requests.done", json.loads(out))

    def test_while_nothing_answers(self):
        """The end waits for no peer."""
        server = self.nginx()
        os.kill(server.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, server.pid, signal.SIGCONT)
        running = self.begin(*self.at(server.port), "-v", "-O", "first_byte.timeout=1h", "-O", "total.timeout=1h")
        running.wait_for(r"  request\.sent ")
        running.process.send_signal(signal.SIGTERM)
        out, ended = self.ended_by(running, signal.SIGTERM)
        self.assertEqual((out, ended), ("[pool] created 10 connections\n[pool] failures: ECONNRESET=0 ETIMEDOUT=0\n", 0))

    def test_while_connecting(self):
        with black_hole() as port:
            running = self.begin(*self.at(port), "-v", "-O", "connect.timeout=1h", "-O", "dial.timeout=1h")
            running.wait_for(r"  race\.attempt_started ")
            running.process.send_signal(signal.SIGINT)
            self.assertEqual(self.ended_by(running, signal.SIGINT), ("", 0))

    def test_in_simulated_time(self):
        running = self.begin("--simulate", "--requests", MANY)
        running.wait_for("created 10 connections", "out")
        running.process.send_signal(signal.SIGINT)
        self.ended_by(running, signal.SIGINT)

    def test_an_ignored_signal_stays_ignored(self):
        running = self.begin(*self.at(self.nginx().port), "--rate", 100, "-v",
                             program=[need("sh"), "-c", 'trap "" INT; exec "$@"', "sh"])
        running.wait_for(DONE)
        running.process.send_signal(signal.SIGINT)
        running.wait_for(DONE, count=len(running.lines["err"]) + 20)
        running.process.send_signal(signal.SIGTERM)
        self.ended_by(running, signal.SIGTERM)


class OutputTest(PoolerTest):
    CALLS = (("--simulate",), ("--simulate", "--metrics", "json"), ("--help",), ("--version",), ("options",), ("demo",))

    def unwritten(self, arguments, reason, **options):
        done = subprocess.run([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, timeout=pooler_program.TIMEOUT_S, **options)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertTrue(done.stderr.endswith(f"{UNWRITTEN}{reason}\n"), done.stderr)
        self.assertEqual(done.stderr.count("pooler: "), 1, done.stderr)

    def test_a_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        for arguments in (*self.CALLS, ("--simulate", "--requests", MANY), ("--simulate", "--inject-failures=refuse")):
            with self.subTest(arguments=arguments), open("/dev/full", "w") as full:
                self.unwritten(arguments, "No space left on device", stdout=full)

    def test_a_pipe_that_nobody_reads(self):
        for arguments in self.CALLS:
            with self.subTest(arguments=arguments):
                reader, writer = os.pipe()
                os.close(reader)
                try:  # Python ignores SIGPIPE, and so does its child here
                    self.unwritten(arguments, "Broken pipe", stdout=writer, restore_signals=False)
                finally:
                    os.close(writer)

    def test_what_is_wrong_comes_first(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        with open("/dev/full", "w") as full:
            done = subprocess.run([self.program, "--simulate", "--size", "0"], stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=pooler_program.TIMEOUT_S)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)


class DescriptorsTest(PoolerTest):
    def without(self, closed, *arguments):
        """(exit code, stdout, stderr) of a run that begins with these descriptors closed."""
        def prepare():
            die_with_parent()
            for fd in closed:
                os.close(fd)

        child = subprocess.Popen([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, preexec_fn=prepare)
        out, err = child.communicate(timeout=pooler_program.TIMEOUT_S)
        return child.returncode, out, err

    def subsets(self):
        return (closed for count in (1, 2, 3) for closed in itertools.combinations((0, 1, 2), count))

    def test_the_harness(self):
        with Nginx() as nginx:
            for closed in self.subsets():
                with self.subTest(closed=closed):
                    code, out, err = self.without(closed, "--host", "127.0.0.1", "--port", nginx.port, "--requests", 20, "-v")
                    self.assertEqual(code, 0, out + err)
                    self.assertEqual("[pool] created 10 connections\n" in out, 1 not in closed)
                    self.assertEqual("request.done" in err, 2 not in closed)

    def test_other_verbs(self):
        with Nginx() as nginx, tempfile.TemporaryDirectory() as place:
            body = pathlib.Path(place) / "body"
            for closed in self.subsets():
                for arguments in (("--simulate",), ("demo",), ("--restart-demo", "-O", "breaker.open=50ms"), ("--version",),
                                  ("connect", f"127.0.0.1:{nginx.port}"),
                                  ("get", f"http://127.0.0.1:{nginx.port}/", "-o", body, "-v")):
                    with self.subTest(closed=closed, arguments=arguments):
                        code, out, err = self.without(closed, *arguments)
                        self.assertEqual(code, 0, out + err)
                self.assertEqual(body.read_text(), "hello\n")
                body.unlink()


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
