"""The job processor and its client: what the server answers to whom, when, and how it ends."""

import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from examples import TIMEOUT_S, JobServer, program, run
from processes import main, poll_until, start, stop

INVALID = b"Error: Invalid number\n"
LONG = b"50\n"  # tens of seconds: no test waits for its answer
SECONDS = b"42\n"  # one or a few
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: close resets


def threads_of(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


class Jobs(unittest.TestCase):
    workers = 2

    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="conpool-jobs-")
        self.addCleanup(place.cleanup)
        self.server = JobServer(self.workers, place.name)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)

    def busy(self):
        """All workers at a job that outlasts the test."""
        clients = [self.server.connect() for _ in range(self.workers)]
        for client in clients:
            self.addCleanup(client.close)
            client.sendall(LONG)
        poll_until(lambda: self.server.log().count("request") >= self.workers, "busy workers")
        return clients

    # --- lines

    def test_answers(self):
        for line, answer in ((b"0", 0), (b"1", 1), (b"2", 1), (b"10", 55), (b"30", 832040), (b"007", 13)):
            self.assertEqual(self.server.ask(line + b"\n"), b"Result: %d\n" % answer)

    def test_what_is_no_number(self):
        for line in (b"", b"abc", b"-1", b"+1", b"51", b"99999999999999999999", b"1 2", b" 1", b"1.0", b"0x10", b"1e3",
                     b"\x00", b"1\x00", b"\xff\xfe", "٣".encode(), b"1\r\r"):
            with self.subTest(line=line):
                self.assertEqual(self.server.ask(line + b"\n"), INVALID)

    def test_ends_of_lines(self):
        self.assertEqual(self.server.ask(b"10\r\n10\n10"), b"Result: 55\n" * 3)
        self.assertEqual(self.server.ask(b""), b"")

    def test_long_lines(self):
        self.assertEqual(self.server.ask(b"1" * 1024 + b"\n10\n"), INVALID + b"Result: 55\n")
        # What ends a line is no part of it.
        self.assertEqual(self.server.ask((b"0" * 1023 + b"7\r\n") * 2), b"Result: 13\n" * 2)
        for line in (b"0" * 1025 + b"\r\n", b"0" * 1024 + b"\r1\n"):
            self.assertEqual(self.server.ask(line), b"Error: Line too long\n")
        with self.server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in (b"0" * 1023, b"7", b"\r", b"\n"):
                client.sendall(piece)
            self.assertEqual(client.makefile("rb").read(11), b"Result: 13\n")
        for line in (b"1" * 1025 + b"\n10\n", b"1" * 1025, b"x" * 500000):
            self.assertEqual(self.server.ask(line), b"Error: Line too long\n")
        self.assertEqual(self.server.ask(b"10\n"), b"Result: 55\n")

    def test_a_line_in_pieces(self):
        with self.server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in (b"1", b"0", b"\n1", b"0\r", b"\n"):
                client.sendall(piece)
            self.assertEqual(client.makefile("rb").read(22), b"Result: 55\nResult: 55\n")

    def test_many_lines_ahead_are_answered_in_order(self):
        numbers = [i % 20 for i in range(20000)]
        answers = self.server.ask(b"".join(b"%d\n" % n for n in numbers)).splitlines()
        fibonacci = [0, 1]
        while len(fibonacci) < 20:
            fibonacci.append(fibonacci[-1] + fibonacci[-2])
        self.assertEqual(answers, [b"Result: %d" % fibonacci[n] for n in numbers])

    def test_a_client_that_does_not_read_is_held_back(self):
        """What it sends ahead fills the kernel's buffers and no more: sending stops."""
        with self.server.connect() as client, self.server.connect() as other:
            client.setblocking(False)
            answers = other.makefile("rb")
            sent = refused = 0
            # The server takes nothing more, in many turns of its loop: each answer to another is one.
            while refused < 100:
                try:
                    sent += client.send(b"x\n" * 32768)
                    self.assertLess(sent, 1 << 25, "nothing held it back")
                    refused = 0
                except BlockingIOError:
                    refused += 1
                    other.sendall(b"x\n")
                    self.assertEqual(answers.read(len(INVALID)), INVALID)
            self.assertEqual(self.server.ask(b"10\n"), b"Result: 55\n")

    # --- one and the others

    def test_busy_workers_do_not_delay_what_needs_none(self):
        self.busy()
        started = time.monotonic()
        for _ in range(20):
            self.assertEqual(self.server.ask(b"abc\n"), INVALID)
        # A job before them would take tens of seconds; a slow machine does not take so long for 20 lines.
        self.assertLess(time.monotonic() - started, 10)

    def test_one_long_job_leaves_the_other_worker(self):
        with self.server.connect() as client:
            client.sendall(LONG)
            for _ in range(20):
                self.assertEqual(self.server.ask(b"20\n"), b"Result: 6765\n")

    def test_a_broken_client_frees_its_worker(self):
        for client in self.busy():
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        self.assertEqual(self.server.ask(b"10\n"), b"Result: 55\n")

    def test_clients_that_misbehave_end_alone(self):
        stay = self.server.connect()
        self.addCleanup(stay.close)
        for data in (b"", b"1", b"10\n", b"\xff" * 100, b"x" * 2000, LONG):
            client = self.server.connect()
            client.sendall(data)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        stay.sendall(b"10\n")
        self.assertEqual(stay.makefile("rb").read(11), b"Result: 55\n")

    def test_a_client_that_ended_its_direction_and_broke_frees_its_worker(self):
        """Nothing is read from it any more, and its reset is seen all the same."""
        for client in self.busy():
            name = "%s:%d" % client.getsockname()
            client.shutdown(socket.SHUT_WR)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            poll_until(lambda n=name: f"close {n}: connection reset\n" in self.server.log(), "the reset")
        self.assertEqual(self.server.ask(b"10\n"), b"Result: 55\n")

    def test_clients_that_ended_their_direction_come_last(self):
        with tempfile.TemporaryDirectory() as place, JobServer(1, place) as server:
            with server.connect() as first, server.connect() as ended, server.connect() as other:
                first.sendall(SECONDS)
                poll_until(lambda: server.log().count("request") == 1, "the first job")
                ended.sendall(SECONDS)
                ended.shutdown(socket.SHUT_WR)
                poll_until(lambda: server.log().count("request") == 2, "the second job")
                other.sendall(b"10\n")
                self.assertEqual(other.makefile("rb").read(11), b"Result: 55\n")
                self.assertEqual(select.select([ended], [], [], 0)[0], [])
                self.assertEqual(ended.makefile("rb").read(), b"Result: 267914296\n")

    def many_descriptors(self):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most < 1100:
            self.skipTest(f"a process may open {most} descriptors only; 1,100 are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # servers that are started inherit it

    def test_clients_that_are_gone_do_not_fill_the_server(self):
        """A client that closed looks like one that ended its direction: it makes room for those that come."""
        self.many_descriptors()
        with tempfile.TemporaryDirectory() as place, JobServer(1, place) as server:
            for _ in range(1001):
                with server.connect() as client:
                    client.sendall(LONG)
            for _ in range(20):
                self.assertEqual(server.ask(b"abc\n"), INVALID)
            poll_until(lambda: ": the server is full\n" in server.log(), "who made room")

    def test_at_the_limit_others_wait_to_be_accepted(self):
        self.many_descriptors()
        with tempfile.TemporaryDirectory() as place, JobServer(1, place) as server:
            clients = [server.connect() for _ in range(1000)]
            poll_until(lambda: server.log().count("accept ") == 1000, "1,000 clients")
            with server.connect() as waits:
                waits.sendall(b"10\n")
                for client in clients[:3]:  # all others are served
                    client.sendall(b"5\n")
                    self.assertEqual(client.makefile("rb").read(10), b"Result: 5\n")
                self.assertNotIn("accept 127.0.0.1:%d\n" % waits.getsockname()[1], server.log())
                clients.pop().close()
                self.assertEqual(waits.makefile("rb").read(11), b"Result: 55\n")
            for client in clients:
                client.close()
            poll_until(lambda: server.log().count("close ") == 1001, "the ends of all clients")

    def test_a_low_limit_of_descriptors_lets_clients_wait(self):
        few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with tempfile.TemporaryDirectory() as place:
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, most))
            try:
                server = JobServer(1, place).__enter__()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
            self.addCleanup(server.__exit__)
            clients = [server.connect() for _ in range(60)]
            for client in clients:
                client.sendall(b"10\n")
            for client in clients:
                self.assertEqual(client.makefile("rb").read(11), b"Result: 55\n")
                client.close()

    def test_silent_clients_are_closed_and_waiting_ones_are_not(self):
        with tempfile.TemporaryDirectory() as place, JobServer(1, place, "--idle", "1") as server:
            with server.connect() as waits, server.connect() as silent:
                waits.sendall(LONG)
                self.assertEqual(silent.recv(1), b"")
                poll_until(lambda: re.search(r"close \S+: idle\n", server.log()), "the log")
                self.assertEqual(server.log().count("close "), 1)

    def test_silence_counts_from_the_last_answer(self):
        with tempfile.TemporaryDirectory() as place, JobServer(1, place, "--idle", "1") as server:
            with server.connect() as client:
                client.sendall(SECONDS)
                self.assertEqual(client.makefile("rb").read(18), b"Result: 267914296\n")
                answered = time.monotonic()
                self.assertEqual(client.recv(1), b"")
                self.assertGreater(time.monotonic() - answered, 0.9)

    def test_a_log_that_nobody_reads_holds_nobody_up(self):
        server = start([program("job_server"), "--port", "0", "--workers", "1"], stdout=subprocess.PIPE)
        try:
            port = int(server.stdout.readline().split(b":")[1].split()[0])
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
                answers = client.makefile("rb")
                for read_log in (True, False):
                    for _ in range(60):  # more than the pipe and the server's memory of it take
                        client.sendall(b"x\n" * 1000)
                        self.assertEqual(answers.read(1000 * len(INVALID)), INVALID * 1000)
                    dropped = rb"dropped \d+ lines that nobody read\n"
                    while read_log and not re.fullmatch(dropped, server.stdout.readline()):
                        pass
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(TIMEOUT_S), 0)
        finally:
            server.stdout.close()
            stop(server)

    def test_a_log_whose_reader_is_gone(self):
        server = start([program("job_server"), "--port", "0", "--workers", "1"], stdout=subprocess.PIPE)
        try:
            port = int(server.stdout.readline().split(b":")[1].split()[0])
            server.stdout.close()
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
                client.sendall(b"10\n")
                self.assertEqual(client.makefile("rb").read(11), b"Result: 55\n")
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(TIMEOUT_S), 0)
        finally:
            stop(server)

    def test_says_what_it_lacks_at_the_start(self):
        for limit, size, said in ((resource.RLIMIT_NOFILE, 7, "the loop cannot be made: too many open files\n"),
                                  (resource.RLIMIT_AS, 300 << 20, "a thread cannot be started: ")):
            with self.subTest(said=said):
                done = subprocess.run([program("job_server"), "--port", "0", "--workers", "1000"], capture_output=True,
                                      text=True, timeout=TIMEOUT_S,
                                      preexec_fn=lambda what=limit, n=size: resource.setrlimit(what, (n, n)))
                if "Sanitizer" in done.stderr:
                    self.skipTest("a sanitizer needs more memory than the limit leaves")
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertTrue(done.stderr.startswith(said), done.stderr)

    def test_logs_a_line_for_each_step(self):
        self.server.ask(b"10\n\x1b[31m\n")
        log = poll_until(lambda: "close" in self.server.log() and self.server.log(), "the log")
        peer = re.search(r"accept (127\.0\.0\.1:\d+)\n", log)[1]
        self.assertEqual([line for line in log.splitlines() if peer in line],
                         [f"accept {peer}", f"request {peer}: 10", f"request {peer}: \\x1b[31m", f"close {peer}"])

    def test_logs_a_line_that_is_too_long(self):
        self.server.ask(b"x" * 1025 + b"\n")
        log = poll_until(lambda: "close" in self.server.log() and self.server.log(), "the log")
        self.assertRegex(log, r"accept (\S+)\nrequest \1: x{64}\nclose \1\n")

    # --- ends

    def test_ends_cleanly_while_everything_is_busy(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number), tempfile.TemporaryDirectory() as place, \
                    JobServer(self.workers, place) as server:
                # The loop's thread, the workers, and the one that waits for signals.
                self.assertGreaterEqual(threads_of(server.process.pid), self.workers + 2)
                clients = [server.connect() for _ in range(6)]
                for client in clients:
                    client.sendall(LONG + b"10\n" * 100)
                poll_until(lambda s=server: s.log().count("request") >= 6, "jobs")
                server.process.send_signal(number)
                self.assertEqual(server.process.wait(TIMEOUT_S), 0)
                self.assertTrue(server.log().endswith("stopped\n"))
                for client in clients:
                    self.assertEqual(self.end_of(client), b"")
                    client.close()

    @staticmethod
    def end_of(client):
        try:
            return client.recv(1)
        except ConnectionResetError:
            return b""

    def test_its_port_can_be_used_again_at_once(self):
        """Connections that the server ended stay in TIME-WAIT on its port: no hindrance to its successor."""
        port = self.server.port
        with self.server.connect() as client:
            client.sendall(b"10\n")
            self.assertEqual(client.makefile("rb").read(11), b"Result: 55\n")
            self.server.process.send_signal(signal.SIGTERM)
            self.assertEqual(self.server.process.wait(TIMEOUT_S), 0)
            self.assertEqual(client.recv(1), b"")
        with tempfile.TemporaryDirectory() as place, JobServer(1, place, "--port", str(port)) as again:
            self.assertEqual(again.port, port)
            self.assertEqual(again.ask(b"10\n"), b"Result: 55\n")
            done = run("job_server", "--port", port)
            self.assertEqual((done.returncode, done.stderr), (1, f"127.0.0.1:{port}: address already in use\n"))

    def test_usage(self):
        for wrong in (["--workers"], ["--workers", "0"], ["--port", "70000"], ["--speed", "9"], ["--port", "1x"],
                      ["--idle", "0"], ["--idle", "86401"], ["--workers", "1025"]):
            self.assertEqual(run("job_server", *wrong).returncode, 2, wrong)

    # --- the client

    def test_the_client_leases_few_connections(self):
        done = run("job_client", self.server.url, 4, 50, 15)
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        told = re.match(r"200 results, 0 errors, (\d+) connections, median ", done.stdout)
        self.assertTrue(told, done.stdout)
        self.assertLessEqual(int(told[1]), 4)

    def test_the_client_tells_what_went_wrong(self):
        done = run("job_client", self.server.url, 1, 2, 51)  # which the server does not take
        self.assertEqual(done.returncode, 4)
        self.assertIn("0 results, 2 errors, 1 connections", done.stdout)
        self.assertIn("Error: Invalid number", done.stdout)
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(TIMEOUT_S)
        done = run("job_client", self.server.url, 1, 3, "5")
        self.assertIn("0 results, 3 errors, 0 connections", done.stdout)
        self.assertIn("connection refused", done.stdout)

    def test_the_client_checks_its_arguments(self):
        self.assertEqual(run("job_client").returncode, 2)
        for wrong in ((1, 1, "x"), (1, 1, "5x"), (1, 1, -1), (1, 1, 91), (1, 1, ""), (0, 1, 1), (1025, 1, 1),
                      ("2x", 1, 1), (1, 0, 1), (1, "1e3", 1)):
            done = run("job_client", self.server.url, *wrong)
            self.assertEqual((done.returncode, done.stdout), (2, ""), wrong)
            self.assertIn("usage: ", done.stderr)

    def test_the_client_says_that_a_thread_cannot_start(self):
        size = 500 << 20  # of address space, of which each thread's stack takes 8 MiB
        done = subprocess.run([program("job_client"), self.server.url, "1000", "1", "5"], capture_output=True,
                              text=True, timeout=TIMEOUT_S,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
        if "Sanitizer" in done.stderr:
            self.skipTest("a sanitizer needs more memory than the limit leaves")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertRegex(done.stderr, r"^thread \d+ of 1000 cannot be started: ")

    def test_the_client_and_others_at_once(self):
        """Leases from many threads while other clients send nonsense."""
        ending = threading.Event()

        def nonsense():
            while not ending.is_set():
                self.server.ask(b"x" * 1500)

        noise = threading.Thread(target=nonsense)
        noise.start()
        try:
            done = run("job_client", self.server.url, 8, 50, 10)
        finally:
            ending.set()
            noise.join()
        self.assertTrue(done.stdout.startswith("400 results, 0 errors"), done.stdout)


if __name__ == "__main__":
    main()
