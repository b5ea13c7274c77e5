"""The examples that live in a loop: epoll, libuv, coroutines."""

import signal
import socket
import subprocess
import threading
import unittest

from examples import TIMEOUT_S, ScriptedServer, answer_http, program, run
from processes import main, start
from servers import Nginx

REFUSED = "connection refused (ECONNREFUSED)"


# Bound, and nobody listens: it refuses, and no other program gets the port.
CLOSED = socket.socket()
CLOSED.bind(("127.0.0.1", 0))


def closed_url():
    return f"http://127.0.0.1:{CLOSED.getsockname()[1]}/"


class EpollLoop(unittest.TestCase):
    def test_fetches_at_once(self):
        """Each answer waits for all requests: one after the other would never end."""
        barrier = threading.Barrier(3, timeout=TIMEOUT_S)
        with ScriptedServer(lambda h: answer_http(h, before=lambda _: barrier.wait())) as server:
            urls = [f"http://127.0.0.1:{server.port}/{i}" for i in range(3)]
            done = run("epoll_loop", *urls)
        self.assertEqual(sorted(done.stdout.splitlines()), [f"{url}: 200, 6 bytes" for url in urls])
        self.assertEqual((done.stderr, done.returncode), ("", 0))

    def test_tells_each_failure(self):
        with Nginx() as nginx:
            good, refused = f"http://127.0.0.1:{nginx.port}/", closed_url()
            done = run("epoll_loop", good, refused, "ftp://h/")
        self.assertEqual(done.returncode, 4)
        lines = sorted(done.stdout.splitlines())
        self.assertIn(f"{good}: 200, 6 bytes", lines)
        self.assertTrue(any(line.startswith(f"{refused}: {REFUSED}") for line in lines), lines)
        self.assertTrue(any(line.startswith("ftp://h/: the endpoint's URL is not valid") for line in lines), lines)

    def test_interrupt_cancels(self):
        asked, release = threading.Event(), threading.Event()

        def hold(_):
            asked.set()
            release.wait(TIMEOUT_S)

        with ScriptedServer(lambda h: answer_http(h, before=hold)) as server:
            child = start([program("epoll_loop"), f"http://127.0.0.1:{server.port}/"], stdout=subprocess.PIPE,
                          text=True)
            self.assertTrue(asked.wait(TIMEOUT_S))
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=TIMEOUT_S)
            release.set()
        self.assertEqual(child.returncode, 4)
        self.assertIn("cancelled", out)

    def test_usage(self):
        self.assertEqual(run("epoll_loop").returncode, 2)


class UvLoop(unittest.TestCase):
    def test_polls(self):
        with Nginx() as nginx:
            done = run("uv_loop", f"http://127.0.0.1:{nginx.port}/", 5, 7)
            self.assertEqual(len(nginx.requests()), 7)
        self.assertEqual((done.stdout, done.returncode), ("200\n" * 7, 0))

    def test_failures_do_not_end_the_loop(self):
        done = run("uv_loop", closed_url(), 1, 3)
        self.assertEqual(done.returncode, 4)
        self.assertEqual(done.stdout.count(REFUSED), 3)

    def test_usage(self):
        self.assertEqual(run("uv_loop", "http://h/").returncode, 2)
        self.assertEqual(run("uv_loop", "ftp://h/", 1, 1).returncode, 2)
        for wrong in ((0, 3), ("abc", 3), (1, 0), (1, "3x"), (1, "")):
            self.assertEqual(run("uv_loop", "http://h/", *wrong).returncode, 2, wrong)


class Coroutines(unittest.TestCase):
    def test_limit_holds(self):
        changed, now, most, asked = threading.Condition(), 0, 0, False

        def count(_):
            """The first three wait for each other, and for the line that is asked once they are under way."""
            nonlocal now, most
            with changed:
                now += 1
                most = max(most, now)
                changed.notify_all()
                changed.wait_for(lambda: most >= 3 and asked, TIMEOUT_S)
                changed.wait_for(lambda: most > 3, 0.02)  # that no fourth one comes has no event: it gets a moment
                now -= 1

        def answer(handler):
            nonlocal asked
            line = handler.rfile.readline()
            with changed:
                asked = True
                changed.notify_all()
            handler.wfile.write(b"+" + line)

        with ScriptedServer(lambda h: answer_http(h, before=count)) as server, ScriptedServer(answer) as lines:
            urls = [f"http://127.0.0.1:{server.port}/{i}" for i in range(20)]
            done = run("coroutines", 3, f"tcp://127.0.0.1:{lines.port}", *urls)
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        out = done.stdout.splitlines()
        self.assertIn("+PING", out)
        self.assertEqual(sorted(line for line in out if line.startswith("http")),
                         sorted(f"{url}: 200, 6 bytes" for url in urls))
        self.assertEqual(most, 3)

    def test_failures(self):
        refused = closed_url()
        done = run("coroutines", 2, closed_url().replace("http", "tcp").rstrip("/"), "ftp://h/", refused)
        self.assertEqual(done.returncode, 4)
        for beginning in (REFUSED, f"{refused}: {REFUSED}", "ftp://h/: the endpoint's URL is not valid"):
            self.assertTrue(any(line.startswith(beginning) for line in done.stdout.splitlines()), done.stdout)
        self.assertEqual(run("coroutines", 1, "tcp://h", "http://h/").returncode, 2)
        for wrong in (0, "4x", ""):
            self.assertEqual(run("coroutines", wrong, "tcp://h:1", "http://h/").returncode, 2)


if __name__ == "__main__":
    main()
