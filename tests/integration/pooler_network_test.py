"""The harness over a wire that loses packets, and against a host that vanishes: nothing hangs, and it recovers."""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

import pooler_program
from pooler_program import PoolerTest, Running

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))

from harness import Network  # noqa: E402
from processes import main, need, stop  # noqa: E402
from servers import Nginx  # noqa: E402

SERVER = "10.9.0.2"
PORT = 8080
EVENT = re.compile(r"^ *(\d+\.\d{6})  ([a-z_.0-9]+) *(.*)$", re.M)
DURATION = re.compile(r"duration=([\d.]+)(us|ms|s)")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1}


class NginxBehindTheWire(Nginx):
    """nginx in the servers' namespace."""

    def __init__(self, network):
        super().__init__(address=SERVER)
        self.network = network

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="conpool-server-")
        self.directory, self.port = pathlib.Path(self.place.name), PORT
        self.prepare()
        if not self.start():
            raise RuntimeError(f"nginx does not start:\n{self.log()}")
        return self

    def argv(self):
        return [need("ip"), "netns", "exec", self.network.server, *super().argv()]

    def accepts(self):
        with self.network.client_socket() as client:
            client.settimeout(1)
            return client.connect_ex((self.address, self.port)) == 0


def events(err):
    """(seconds from the start, name, the rest) of each line of the log."""
    return [(float(at), name, rest) for at, name, rest in EVENT.findall(err)]


def duration_s(rest):
    number, unit = DURATION.search(rest).groups()
    return float(number) * UNITS[unit]


class NetworkTest(PoolerTest):
    def setUp(self):
        self.network = Network(ipv6=False).__enter__()
        self.addCleanup(self.network.close)
        server = NginxBehindTheWire(self.network)
        self.addCleanup(server.close)
        server.__enter__()
        self.argv = [self.program, "--host", SERVER, "--port", PORT, "-v", "--metrics", "text"]

    def figure(self, out, name):
        found = re.search(rf"^{re.escape(name)}=(\d+)$", out, re.M)
        return int(found.group(1)) if found else 0

    def test_lost_packets(self):
        for loss in (5, 20, 50):
            with self.subTest(loss=loss):
                self.network.policy(SERVER, loss=loss)
                begun = time.monotonic()
                done = self.network.run_client(
                    [*self.argv, "--requests", 60, "--concurrency", 6, "--size", 6, "-O", "total.timeout=8s"],
                    timeout=150)
                self.assertIn(done.returncode, (0, 4), done.stdout)
                self.assertLess(time.monotonic() - begun, 120)
                attempts = [duration_s(rest) for _, name, rest in events(done.stderr)
                            if name == "race.attempt_failed" and "E_CONNECT_TIMEOUT" in rest]
                for took in attempts:
                    self.assertGreaterEqual(took, 0.5)
                    self.assertLess(took, 1)
                silent = sum(name == "request.send_failed" and "TIMEOUT" in rest for _, name, rest in events(done.stderr))
                self.assertEqual(self.figure(done.stdout, "errors.ETIMEDOUT"), len(attempts) + silent)
                if loss == 50:
                    self.assertGreater(len(attempts), 0)
                self.assertRegex(done.stderr, r"descriptors open: (\d+) before the run, \1 after it\n")

    def test_a_host_that_vanishes(self):
        child = self.network.start_client(
            [*map(str, self.argv), "--rate", "20", "--requests", "900", "-O", "breaker.open_max=5s"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(stop, child)
        running = Running(child)
        running.wait_for(r"  request\.done ", count=40)
        self.network.policy(SERVER, drop="all")
        gone = events(*running.wait_for(r"  request\.send_failed "))[0][0]
        # Something is told at least once per trial.
        running.wait_for(lambda line: any(at > gone + 30 for at, _, _ in events(line)), timeout=120)
        self.network.policy(SERVER)
        code, out, err = running.end(timeout=120)
        self.assertEqual(code, 0, out)
        self.assertTrue(out.startswith("[pool] created 10 connections\n"), out)
        self.assertRegex(out, r"(?m)^\[pool\] recovered, pool size=10$")
        log = events(err)
        vanished = next(at for at, name, _ in log if name == "request.send_failed") - 2  # its read timeout
        # Every send that was out ends by its read timeout, and its connection closes with it.
        failed = [(at, rest) for at, name, rest in log if name == "request.send_failed" and at < vanished + 30]
        for at, rest in failed:
            self.assertIn("E_HTTP_FIRST_BYTE_TIMEOUT", rest)
            connection = re.search(r"connection=\d+", rest).group()
            closed = [when for when, name, more in log if name == "connection.closed" and connection + " " in more]
            self.assertEqual(len(closed), 1, connection)
            self.assertLess(closed[0], vanished + 5)
        # From the breaker's opening on only trials go there.
        opened = next(at for at, name, _ in log if name == "breaker.opened")
        self.assertLess(opened, vanished + 5)
        trials = sum(name == "breaker.trial" for at, name, _ in log if opened < at < vanished + 30)
        dials = sum(name == "dial.started" for at, name, _ in log if opened < at < vanished + 30)
        sends = sum(name == "request.sent" for at, name, _ in log if opened < at < vanished + 30)
        self.assertGreater(trials, 0)
        self.assertLessEqual(max(sends, dials), trials)


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
