"""Peers that reset, stall, stop reading or speak out of turn: a clear error in time, never a hang."""

import socket
import threading
import time
import unittest

import programs
from peers import Peer, echo, reset, until_end
from processes import main, poll_until

STALL_MS = 200
LATE_S = 20  # what a busy machine may add


class Peers(unittest.TestCase):
    def setUp(self):
        self.client = programs.Client(stall__timeout=f"{STALL_MS}ms", balance__cooldown="0",
                                      connect__timeout="2s", tls__timeout="300ms", dial__timeout="5s")
        self.addCleanup(self.end)

    def end(self):
        """Nothing is left open, however rude the peer was."""
        end = self.client.close()
        self.assertEqual(end["fds_after"], end["fds_before"])

    def peer(self, handle, **options):
        peer = self.enterContext(Peer(handle, **options))
        return peer, self.client.endpoint(f"tcp://{peer.address}:{peer.port}")

    def tls_peer(self, handle):
        peer = self.enterContext(Peer(handle))
        return peer, self.client.endpoint(f"tls://{peer.address}:{peer.port}")

    def in_time(self, answer, least_ms, name="took_ns"):
        self.assertGreaterEqual(answer[name], least_ms * 1_000_000)
        self.assertLess(answer[name], least_ms * 1_000_000 + LATE_S * 10**9)

    def idle(self, count):
        """A release returns before it is carried out."""
        poll_until(lambda: self.client.figure("connections.idle") == count, "idle connections")

    def gone(self):
        poll_until(lambda: self.client.figure("connections.open") == 0, "the end of the connection")

    def test_reset_while_leased(self):
        go = threading.Event()

        def handle(connection, _):
            connection.recv(1)
            go.wait(LATE_S)
            reset(connection)

        _, at = self.peer(handle)
        lease, _ = self.client.lease(at)
        lease.write(b"x")
        go.set()
        answer = lease.read()
        self.assertEqual(answer["status"], "E_CONNECTION_RESET")
        self.assertIn("ECONNRESET", answer["line"])
        self.assertEqual(lease.write(b"y")["status"], "E_CONNECTION_RESET")
        lease.release()  # not kept, whatever the caller says
        self.gone()

    def test_reset_at_once(self):
        """The connect may have succeeded already: then the lease's first use tells."""
        peer, _ = self.peer(lambda connection, _: reset(connection))
        # Ten connects in a row that fail are an outage to the breaker.
        at = self.client.endpoint(f"tcp://{peer.address}:{peer.port}", breaker__mode="off")
        for _ in range(20):
            lease, result = self.client.acquire(at)
            if result["status"] != "OK":
                self.assertIn(result["status"], ("E_CONNECT_RESET", "E_CONNECTION_RESET", "E_CONNECTION_CLOSED"))
                continue
            answer = lease.read()
            self.assertEqual(answer["status"], "E_CONNECTION_RESET", answer)
            lease.release()
        self.gone()
        self.assertGreaterEqual(peer.accepted, 1)

    def test_reset_while_idle(self):
        go = threading.Event()

        def handle(connection, _):
            go.wait(LATE_S)
            reset(connection)

        peer, at = self.peer(handle)
        leases = [self.client.lease(at)[0] for _ in range(4)]
        for lease in leases:
            lease.release()
        self.idle(4)
        go.set()
        self.gone()
        self.assertEqual(self.client.figure("closed.peer") + self.client.figure("closed.error"), 4)

    def test_end_while_idle(self):
        go = threading.Event()
        peer, at = self.peer(lambda *_: go.wait(LATE_S))
        self.client.lease(at)[0].release()
        self.idle(1)
        go.set()
        self.gone()
        self.assertEqual(self.client.figure("closed.peer"), 1)
        peer.handle = echo
        lease, result = self.client.lease(at)
        self.assertEqual(result["reused"], 0)
        lease.release()

    def test_end_while_leased(self):
        _, at = self.peer(lambda connection, _: connection.sendall(b"bye"))
        lease, _ = self.client.lease(at)
        self.assertEqual(lease.read()["data"], b"bye")
        answer = lease.read()
        self.assertEqual((answer["status"], answer["eof"]), ("OK", 1))
        lease.release()  # the peer ended its direction: not kept
        self.gone()

    def test_stall_after_accept(self):
        _, at = self.peer(until_end)
        lease, _ = self.client.lease(at)
        self.assertEqual(lease.write(b"ping")["status"], "OK")
        answer = lease.read()
        self.assertEqual(answer["status"], "E_STALL_TIMEOUT", answer)
        self.in_time(answer, STALL_MS)
        lease.release()
        self.gone()

    def test_stall_in_the_tls_handshake(self):
        peer, at = self.tls_peer(until_end)
        result = self.client.refused(at)
        self.assertEqual(result["status"], "E_TLS_TIMEOUT", result["report"])
        self.assertIn(f"{peer.address}:{peer.port}", result["report"])
        self.in_time(result, 290, "waited_ns")

    def test_reset_in_the_tls_handshake(self):
        def handle(connection, _):
            connection.recv(1)
            reset(connection)

        _, at = self.tls_peer(handle)
        result = self.client.refused(at)
        self.assertIn(result["status"], ("E_TLS_HANDSHAKE", "E_CONNECTION_RESET", "E_CONNECT_RESET"))
        self.assertIn("ECONNRESET", result["report"])

    def test_end_in_the_tls_handshake(self):
        def handle(connection, _):
            connection.recv(65536)

        _, at = self.tls_peer(handle)
        result = self.client.refused(at)
        self.assertIn(result["status"], ("E_TLS_HANDSHAKE", "E_CONNECTION_CLOSED"), result["report"])
        self.assertIn("clos", result["report"])

    def test_backlog_that_never_answers(self):
        """Nobody accepts, and the listener's queue is full: SYNs are dropped until connect.timeout."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            place = listener.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            try:
                for filler in fillers:
                    filler.setblocking(False)
                    filler.connect_ex(place)
                at = self.client.endpoint(f"tcp://127.0.0.1:{place[1]}", connect__timeout="300ms")
                lease, result = self.client.acquire(at)
                self.assertEqual(result["status"], "E_CONNECT_TIMEOUT", result)
                self.assertIn(f"tcp:127.0.0.1:{place[1]}", result["report"])
                self.in_time(result, 290, "waited_ns")
            finally:
                for filler in fillers:
                    filler.close()

    def test_stops_reading(self):
        stop = threading.Event()
        self.addCleanup(stop.set)
        _, at = self.peer(lambda *_: stop.wait(LATE_S), receive_buffer=4096)
        lease, _ = self.client.lease(at)
        answer = lease.fill(64 << 20)
        self.assertEqual(answer["status"], "E_STALL_TIMEOUT", answer)
        self.assertLess(answer["written"], 64 << 20)
        self.assertEqual(answer["proof"], 2)
        self.in_time(answer, STALL_MS)
        lease.release()
        self.gone()

    def test_slow_reader_is_no_stall(self):
        """Bytes move, though the whole takes longer than stall.timeout."""
        size, came = 16 << 20, threading.Event()

        def handle(connection, _):
            left = size
            while left > 0:
                left -= len(connection.recv(min(left, 256 << 10), socket.MSG_WAITALL))
                time.sleep(0.04)  # the peer's slowness is what is tested
            came.set()
            until_end(connection)

        peer, _ = self.peer(handle, receive_buffer=65536)
        at = self.client.endpoint(f"tcp://{peer.address}:{peer.port}", stall__timeout="700ms")
        lease, _ = self.client.lease(at)
        answer = lease.fill(size)
        self.assertEqual((answer["status"], answer["written"]), ("OK", size))
        self.assertGreater(answer["took_ns"], 700_000_000)
        self.assertTrue(came.wait(LATE_S))
        lease.release()

    def test_early_bytes_on_an_idle_connection(self):
        go = threading.Event()

        def handle(connection, _):
            connection.sendall(connection.recv(1))
            go.wait(LATE_S)
            connection.sendall(b"nobody asked")
            until_end(connection)

        peer, at = self.peer(handle)
        lease, _ = self.client.lease(at)
        lease.write(b"x")
        self.assertEqual(lease.read()["data"], b"x")
        lease.release()
        self.idle(1)
        go.set()
        poll_until(lambda: self.client.figure("closed.unsolicited") == 1, "the end of the connection")
        peer.handle = echo
        lease, result = self.client.lease(at)
        self.assertEqual(result["reused"], 0)
        lease.write(b"mine")
        self.assertEqual(lease.read()["data"], b"mine")
        lease.release()

    def test_more_bytes_than_the_lease_read(self):
        """What a lease leaves unread belongs to nobody else: the connection goes."""
        def handle(connection, _):
            connection.recv(1)
            connection.sendall(b"answer and rest")
            until_end(connection)

        _, at = self.peer(handle)
        lease, _ = self.client.lease(at)
        lease.write(b"x")
        self.assertEqual(lease.read(6)["data"], b"answer")
        lease.release()
        self.gone()
        lease, result = self.client.lease(at)
        self.assertEqual(result["reused"], 0)
        lease.write(b"x")
        self.assertEqual(lease.read(6)["data"], b"answer")
        lease.release("broken")

    def test_bytes_before_the_first_request(self):
        """A peer that speaks first is no error for raw connections: the first lease reads it."""
        def handle(connection, _):
            connection.sendall(b"220 ready\r\n")
            until_end(connection)

        _, at = self.peer(handle)
        lease, _ = self.client.lease(at)
        self.assertEqual(lease.read_until(b"\n"), b"220 ready\r\n")
        lease.release()
        self.assertEqual(self.client.lease(at)[1]["reused"], 1)


if __name__ == "__main__":
    main()
