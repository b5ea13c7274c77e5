"""The examples that pool Redis and PostgreSQL, against the real servers."""

import re
import resource
import socket
import subprocess
import unittest

from examples import TIMEOUT_S, ScriptedServer, program, run
from processes import main
from servers import Postgres, Redis


class RedisPool(unittest.TestCase):
    def test_threads_share_two_connections(self):
        with Redis() as redis:
            done = run("redis_pool", f"tcp://127.0.0.1:{redis.port}", 4, 50)
            self.assertEqual((done.stderr, done.returncode), ("", 0))
            made = re.fullmatch(r"200 of 200 increments over (\d+) connections\n", done.stdout)
            self.assertTrue(made, done.stdout)
            self.assertLessEqual(int(made[1]), 2)
            again = run("redis_pool", f"tcp://127.0.0.1:{redis.port}", 1, 1)
            self.assertEqual(again.stdout, "1 of 1 increments over 1 connections\n")

    def test_a_peer_that_is_no_redis(self):
        with ScriptedServer(lambda handler: handler.wfile.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
            done = run("redis_pool", f"tcp://127.0.0.1:{server.port}", 2, 3)
        self.assertEqual(done.returncode, 4)
        self.assertTrue(done.stdout.startswith("0 of 6 increments"), done.stdout)

    def test_nobody_there(self):
        with socket.socket() as closed:  # bound, and nobody listens
            closed.bind(("127.0.0.1", 0))
            url = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
            done = run("redis_pool", url, 1, 1)
        self.assertEqual(done.returncode, 4)
        self.assertIn("connection refused", done.stderr)
        for wrong in ((), (url, 0, 1), ("tcp://h", 1, 1)):
            self.assertEqual(run("redis_pool", *wrong).returncode, 2)


    def test_a_thread_that_cannot_start_is_a_sentence(self):
        size = 500 << 20  # of address space, of which each thread's stack takes 8 MiB
        with ScriptedServer(lambda handler: None) as server:
            done = subprocess.run([program("redis_pool"), f"tcp://127.0.0.1:{server.port}", "1000", "1"],
                                  capture_output=True, text=True, timeout=TIMEOUT_S,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
        if "Sanitizer" in done.stderr:
            self.skipTest("a sanitizer needs more memory than the limit leaves")
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, r"(^|\n)thread \d+ cannot be started\n")
        self.assertRegex(done.stdout, r"^0 of 1000 increments over \d+ connections\n$")


class PostgresLogins(unittest.TestCase):
    def test_logins_share_a_pool_and_no_connection(self):
        with Postgres(roles=("alice", "bob")) as postgres:
            done = run("postgres", f"tcp://127.0.0.1:{postgres.port}", "alice", "bob", "alice", "bob", "alice")
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        rows = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual([row[0] for row in rows], ["alice", "bob", "alice", "bob", "alice"])
        self.assertEqual([row[2] for row in rows], ["new", "new", "pooled", "pooled", "pooled"])
        self.assertEqual(len({row[1] for row in rows if row[0] == "alice"}), 1)
        self.assertEqual(len({row[1] for row in rows}), 2)

    def test_a_refused_login_ends_its_connection_alone(self):
        with Postgres(roles=("alice",)) as postgres:
            done = run("postgres", f"tcp://127.0.0.1:{postgres.port}", "mallory", "alice", "mallory")
        self.assertEqual(done.returncode, 4)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], 'mallory: role "mallory" does not exist')
        self.assertTrue(lines[1].startswith("alice ") and lines[1].endswith(" new"), lines)
        self.assertEqual(lines[2], lines[0])

    def test_peers_that_speak_nonsense(self):
        for nonsense in (b"", b"\xff" * 4096, b"R\x00\x00\x00\x08\x00\x00\x00\x03", b"R\x00\x00\x00\x01",
                         b"D\x00\x00\x00\x0a\x00\x01\xff\xff\xff\xff"):
            with self.subTest(nonsense=nonsense[:16]), \
                    ScriptedServer(lambda handler, n=nonsense: handler.wfile.write(n)) as server:
                done = run("postgres", f"tcp://127.0.0.1:{server.port}", "alice")
                self.assertEqual(done.returncode, 4)
                self.assertTrue(done.stdout.startswith("alice: "), done.stdout)


if __name__ == "__main__":
    main()
