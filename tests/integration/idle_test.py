"""Leases around the idle timeout of a server: no connection that is known to be dead is handed out.

CONPOOL_ROUNDS=10000 idle_test.py makes the long run. The server closes a connection that was idle for 100 ms and
notes when; the client leaves 50 ms to 150 ms between two leases, and in a second run ±2 ms around the timeout, where
the end and the acquire meet. A lease that failed is one of
  dead       this machine had the server's end before the lease was asked for: the pool handed out a dead connection
  meanwhile  the end came between the acquire and the client's receipt of the lease; the pool looks at the socket in
             between, and a busy machine may take the loop's core away right after that look
  after      it came when the client had the lease: nobody can prevent that
"""

import os
import time
import unittest

import programs
from peers import Peer, until_timeout
from processes import main

ROUNDS = programs.ROUNDS or 600
IDLE_S = 0.1
WORKERS = 20


class Idle(unittest.TestCase):
    def run_rounds(self, around_ns):
        handle = until_timeout(IDLE_S)

        def noted(connection, client):
            closed = handle(connection, client)
            if closed:
                peer.note(closed)

        idle_ns = int(IDLE_S * 1e9)
        seed = int(os.environ.get("CONPOOL_SEED", "0")) or time.time_ns() % 1000000
        with Peer(noted) as peer:
            *failures, sums = programs.run(
                "idle_gap", f"tcp://{peer.address}:{peer.port}", ROUNDS, WORKERS, idle_ns - around_ns,
                idle_ns + around_ns, seed, timeout=600)
        ends = {}  # a port may serve again later
        for port, before, after in peer.log:
            ends.setdefault(port, []).append((before, after))
        kinds, dead = {"dead": 0, "meanwhile": 0, "after": 0, "unknown": 0}, []
        for failure in failures:
            kind, closed = self.kind(failure, ends)
            kinds[kind] += 1
            if kind in ("dead", "unknown"):
                dead.append((closed, failure))
        print(f"seed {seed}, ±{around_ns / 1e6:.0f} ms: {sums}, {len(peer.log)} ends of the server, failures {kinds}")
        self.assertEqual((sums["rounds"], sums["refused"], sums["failed"]), (ROUNDS, 0, len(failures)))
        self.assertEqual(dead, [])
        return sums, kinds, len(peer.log)

    @staticmethod
    def kind(failure, ends):
        """(kind, the close's times) of a lease that failed."""
        port = int(failure["facts"]["local"].rsplit(":", 1)[1])
        opened = failure["answered"] - failure["facts"]["age_ns"]
        for before, after in ends.get(port, []):
            if after < opened:
                continue  # of an earlier connection from that port
            if after < failure["called"]:
                return "dead", (before, after)
            return ("meanwhile" if before < failure["answered"] else "after"), (before, after)
        return "unknown", None

    def test_gaps_around_the_timeout(self):
        sums, kinds, ends = self.run_rounds(50_000_000)
        # The test is one only when both happened often: a connection used again, and an end by the server.
        self.assertGreater(sums["reused"], ROUNDS // 5)
        self.assertGreater(ends, ROUNDS // 5)

    def test_gaps_at_the_timeout(self):
        sums, kinds, ends = self.run_rounds(2_000_000)
        self.assertGreater(sums["reused"] + ends, ROUNDS // 2)


if __name__ == "__main__":
    main()
