"""Leases of a real Redis: many threads at a small limit, the order of grants, hiredis, restarts.

CONPOOL_ROUNDS=100000 redis_test.py Many makes the long run.
"""

import socket
import subprocess
import threading
import unittest

import programs
from processes import main, poll_until
from servers import Redis

LIMIT = 4
THREADS = 8
ROUNDS = programs.ROUNDS or 20000


class Watch:
    """A connection of the test's own that asks Redis again and again who is connected."""

    def __init__(self, redis):
        self.socket = socket.create_connection((redis.address, redis.port))
        self.file = self.socket.makefile("rb")
        self.most, self.samples, self.stopped = 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def command(self, *words):
        self.socket.sendall(" ".join(map(str, words)).encode() + b"\r\n")
        head = self.file.readline().strip()
        if head[:1] == b"$":
            return self.file.read(int(head[1:]) + 2)[:-2].decode()
        return head[1:].decode()

    def info(self, section, name):
        for line in self.command("INFO", section).splitlines():
            if line.startswith(name + ":"):
                return int(line.split(":")[1])
        raise KeyError(name)

    def run(self):
        while not self.stopped.wait(0.002):  # the pace of the samples
            others = len(self.command("CLIENT", "LIST").splitlines()) - 1
            self.most, self.samples = max(self.most, others), self.samples + 1

    def __enter__(self):
        self.accepted = self.info("stats", "total_connections_received")
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        self.accepted = self.info("stats", "total_connections_received") - self.accepted
        self.counted = int(self.command("GET", "rounds") or 0)
        self.file.close()
        self.socket.close()


class Many(unittest.TestCase):
    def test_threads_share_a_small_limit(self):
        """8 threads, 4 connections: none above the limit, none lost, in order, descriptors back at the baseline."""
        with Redis() as redis:
            with Watch(redis) as watch:
                done, = programs.run("lease_many", f"tcp://{redis.address}:{redis.port}", ROUNDS, THREADS,
                                     f"endpoint.max_connections={LIMIT}", timeout=600)
        print(f"{ROUNDS} rounds, {done['rounds_per_second']} a second; the server counted {watch.counted}, saw at "
              f"most {watch.most} connections in {watch.samples} looks and {watch.accepted} in all")
        self.assertEqual(done["failures"], 0, done["first_failure"])
        self.assertEqual(done["wrong_answers"], 0)
        self.assertEqual(watch.counted, ROUNDS)
        self.assertLessEqual(watch.most, LIMIT)
        self.assertEqual(watch.accepted, LIMIT)
        self.assertEqual(done["leased_most"], LIMIT)
        self.assertEqual(done["out_of_order"], 0)
        self.assertEqual(done["fds_after"], done["fds_before"])

    def test_limit_of_one(self):
        with Redis() as redis:
            with Watch(redis) as watch:
                done, = programs.run("lease_many", f"tcp://{redis.address}:{redis.port}", 2000, THREADS,
                                     "endpoint.max_connections=1")
        self.assertEqual((done["failures"], done["wrong_answers"], done["out_of_order"]), (0, 0, 0))
        self.assertEqual((watch.counted, watch.accepted, done["leased_most"]), (2000, 1, 1))
        self.assertEqual(done["fds_after"], done["fds_before"])

    def test_connections_that_end_while_threads_work(self):
        """Every connection ends after 50 uses: its successor is dialed, and nothing is lost."""
        with Redis() as redis:
            with Watch(redis) as watch:
                done, = programs.run("lease_many", f"tcp://{redis.address}:{redis.port}", 5000, THREADS,
                                     f"endpoint.max_connections={LIMIT}", "pool.max_uses=50",
                                     "endpoint.max_draining=1")
        print(f"{watch.accepted} connections, at most {watch.most} at once")
        self.assertEqual((done["failures"], done["wrong_answers"], watch.counted), (0, 0, 5000))
        self.assertGreaterEqual(watch.accepted, 5000 // 50)
        self.assertLessEqual(watch.accepted, 5000 // 50 + LIMIT)
        self.assertLessEqual(watch.most, 2 * LIMIT)  # Redis notices an end a moment later
        self.assertLessEqual(done["leased_most"], LIMIT)
        self.assertEqual(done["fds_after"], done["fds_before"])

    def test_unix_socket(self):
        with Redis("--unixsocket", "redis.sock") as redis:
            with Watch(redis) as watch:
                done, = programs.run("lease_many", f"unix:{redis.directory}/redis.sock", 2000, THREADS,
                                     f"endpoint.max_connections={LIMIT}")
        self.assertEqual((done["failures"], done["wrong_answers"], done["out_of_order"]), (0, 0, 0))
        self.assertEqual((watch.counted, watch.accepted), (2000, LIMIT))
        self.assertEqual(done["fds_after"], done["fds_before"])

    def test_waiters_of_one_queue_are_served_in_order(self):
        rounds = min(ROUNDS, 20000)
        with Redis() as redis:
            for drive in ("thread", "caller"):
                done, = programs.run("queue_order", f"tcp://{redis.address}:{redis.port}", rounds // 4, 64,
                                     f"endpoint.max_connections={LIMIT}", f"loop.drive={drive}")
                print(f"drive {drive}: {done['rounds_per_second']} rounds a second")
                self.assertEqual((done["granted"], done["failures"], done["out_of_order"]), (rounds // 4, 0, 0))
                self.assertEqual(done["reused"], rounds // 4 - LIMIT)
                self.assertEqual(done["fds_after"], done["fds_before"])


class Hiredis(unittest.TestCase):
    def test_lent_descriptor(self):
        """hiredis talks on the connection's own descriptor, and the next lease gets the same connection."""
        with Redis() as redis:
            done, = programs.run("hiredis_lease", f"tcp://{redis.address}:{redis.port}", 20)
        self.assertEqual(len(done["ids"]), 20)
        self.assertEqual(len(set(done["ids"])), 1, done["ids"])
        self.assertEqual(done["total"], 30)
        self.assertEqual(done["fds_after"], done["fds_before"])


    def test_example(self):
        """docs/examples/hiredis.c"""
        with Redis() as redis:
            done = subprocess.run([programs.program("hiredis"), f"tcp://{redis.address}:{redis.port}"],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "PONG\n", ""))


class Restart(unittest.TestCase):
    def test_restarted_while_connections_idle(self):
        with Redis() as redis, programs.Client() as client:
            at = client.endpoint(f"tcp://{redis.address}:{redis.port}", balance__cooldown="10ms")
            held = [client.lease(at)[0] for _ in range(3)]
            for lease in held:
                lease.write(b"PING\r\n")
                self.assertEqual(lease.read_until(b"\n"), b"+PONG\r\n")
                lease.release()
            self.assertEqual(client.figure("connections.idle"), 3)
            redis.restart()
            for _ in range(5):
                lease, result = client.lease(at)
                lease.write(b"PING\r\n")
                self.assertEqual(lease.read_until(b"\n"), b"+PONG\r\n")
                lease.release()
            self.assertEqual(client.figure("closed.peer"), 3)

    def test_clear_errors_while_it_is_down(self):
        with Redis() as redis, programs.Client() as client:
            at = client.endpoint(f"tcp://{redis.address}:{redis.port}")
            client.lease(at)[0].release()
            redis.stop()
            for _ in range(3):
                result = client.refused(at)
                self.assertEqual(result["status"], "E_CONNECT_REFUSED", result["report"])
                self.assertIn(f"connecting to tcp:{redis.address}:{redis.port}", result["report"])
                self.assertEqual(result["proof"], 0)
            redis.restart()
            lease, _ = client.lease(at)
            lease.write(b"PING\r\n")
            self.assertEqual(lease.read_until(b"\n"), b"+PONG\r\n")
            lease.release()

    def test_killed_in_the_middle_of_a_lease(self):
        with Redis() as redis, programs.Client() as client:
            at = client.endpoint(f"tcp://{redis.address}:{redis.port}")
            lease, _ = client.lease(at)
            redis.process.kill()
            redis.process.wait()
            answer = lease.read()
            self.assertTrue(answer["eof"] or answer["status"] in ("E_CONNECTION_RESET", "E_CONNECTION_CLOSED"), answer)
            lease.release()
            poll_until(lambda: client.figure("connections.open") == 0, "the end of the connection")
            redis.restart()
            client.lease(at)[0].release()


if __name__ == "__main__":
    main()
