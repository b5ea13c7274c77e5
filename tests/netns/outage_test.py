"""A host that vanishes after it has acknowledged a request, and a wire that loses packets, under a load of requests."""

import json
import pathlib
import socket
import sys
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "integration"), str(HERE)]

import programs  # noqa: E402: first: it finds the modules of tests/support
from http_client import HttpClient  # noqa: E402

import harness  # noqa: E402
from processes import main, need, poll_until, start  # noqa: E402

SERVER = harness.SERVERS_V4[0]
RATE = 10  # requests a second
ENDED_BY_S = 5
TRIALS_UNTIL_S = 30
RECOVERY_S = 120  # the longest open time
MAYBE_PROCESSED = 2
MOST_TRIALS = 20  # openings of 2.5 s and more, each with three trials of 500 ms
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n"


class NetworkClient(HttpClient):
    """A pool in the client's namespace."""

    def __init__(self, net, **options):
        self.numbers = 0
        self.process = start([need("ip"), "netns", "exec", net.client, programs.program(self.PROGRAM),
                              *self.pairs(options)], stdin=programs.subprocess.PIPE,
                             stdout=programs.subprocess.PIPE, text=True, bufsize=1)


class Server:
    """Answers each request; `before_answer` is called once, in its place."""

    def __init__(self, net):
        self.listener = net.server_socket(SERVER)
        self.port = self.listener.getsockname()[1]
        self.before_answer = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                while connection.recv(65536):
                    call, self.before_answer = self.before_answer, None
                    if call is not None:
                        call()
                        continue
                    connection.sendall(ANSWER)
        except OSError:
            pass  # the client went

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Outage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.net = harness.Network(ipv6=False)
        cls.net.__enter__()
        cls.addClassCleanup(cls.net.close)

    def setUp(self):
        self.net.policy(SERVER)
        self.server = Server(self.net)
        self.addCleanup(self.server.close)
        self.url = f"http://{SERVER}:{self.server.port}/"

    def client(self, **options):
        client = NetworkClient(self.net, events__level="debug", events__capacity="65536", **options)
        client.__enter__()
        self.addCleanup(client.__exit__, None)
        return client

    @staticmethod
    def events(client, name):
        lines = client.ask("events")["text"].splitlines()
        return [each for each in map(json.loads, lines) if each["event"] == name]

    def connects(self, since):
        """When each connect began, on the wire."""
        first = {}
        for packet in self.net.packets("SYN", since, target=SERVER):
            first.setdefault(packet["source_port"], packet["time_ns"])
        return sorted(first.values())

    def test_a_host_that_vanishes_after_the_ack(self):
        client = self.client(first_byte__timeout="2s", connect__timeout="500ms")
        client.get(self.url)
        poll_until(lambda: client.figure("connections.idle") == 1, "an idle connection")
        before = client.ask("fds")["fds"]
        self.server.before_answer = lambda: self.net.policy(SERVER, drop="all")
        begin, started = time.monotonic_ns(), []
        while time.monotonic_ns() < begin + TRIALS_UNTIL_S * 10**9:
            started.append(client.start("GET", self.url))
            time.sleep(max(0, (begin - time.monotonic_ns()) / 1e9 + len(started) / RATE))  # the load's rate
        results = [client.wait(number) for number in started]
        self.assertEqual((results[0]["status"], results[0]["proof"]), ("E_HTTP_FIRST_BYTE_TIMEOUT", MAYBE_PROCESSED))
        self.assertNotIn("OK", {each["status"] for each in results})
        # The one that was acknowledged: by its own clock, and its connection with it.
        sent = [each for each in self.events(client, "request.send_failed")]
        self.assertLess(sent[0]["total_ns"], ENDED_BY_S * 10**9)
        opened = self.events(client, "breaker.opened")
        origin = opened[0]["time_ns"]
        trials = self.events(client, "breaker.trial")
        figures = client.metrics()
        self.assertEqual(int(figures["pool.connections.open"]), 0)
        self.assertEqual(int(figures["pool.closed.broken"]) + int(figures["pool.closed.error"]), 1)
        connects = self.connects(begin)
        late = [at for at in connects if at > origin + 100_000_000]
        print(f"acknowledged request ended after {sent[0]['total_ns'] / 1e9:.2f} s, breaker open after "
              f"{(origin - begin) / 1e9:.2f} s; {len(started)} requests in {TRIALS_UNTIL_S} s, {len(connects)} connects, "
              f"{len(late)} of them after the breaker had opened, {len(trials)} trials, {len(opened)} openings")
        self.assertLess(origin - begin, ENDED_BY_S * 10**9)
        self.assertLessEqual(len(late), len(trials))
        self.assertLessEqual(len(late), MOST_TRIALS)
        self.net.policy(SERVER)
        back = time.monotonic()
        for _ in range(20):
            poll_until(lambda: client.request("GET", self.url)["status"] == "OK", "recovery", RECOVERY_S)
        print(f"recovered, and 20 requests answered, {time.monotonic() - back:.2f} s after the host came back")
        poll_until(lambda: client.ask("fds")["fds"] == before, "as many descriptors as before")

    def test_packet_loss(self):
        for loss in (5, 20, 50):
            self.net.policy(SERVER, loss=loss)
            with self.subTest(loss=loss):
                client = self.client(connect__timeout="500ms", total__timeout="5s", pool__idle_timeout="0",
                                     breaker__mode="off", retry__attempts="3", endpoint__max_connections="20")
                begin = time.monotonic()
                sums = client.ask("burst", self.url, 200, 20)
                took = time.monotonic() - begin
                figures = {name: int(client.metrics().get(f"pool.{name}", 0)) for name in (
                    "attempts.started", "attempts.won", "attempts.failed", "errors.ETIMEDOUT", "retries.made",
                    "requests.running")}
                failed = self.events(client, "race.attempt_failed")
                print(f"{loss} % lost: 200 requests in {took:.1f} s, {sums['failures']} failed, {figures}")
                self.assertEqual((sums["ended"], figures["requests.running"]), (200, 0))
                self.assertLess(took, 200 / 20 * 5 + 60)
                # Every connect that failed did so at its timeout, and counts as ETIMEDOUT.
                self.assertEqual({each["status"] for each in failed}, {"E_CONNECT_TIMEOUT"} if failed else set())
                self.assertGreater(figures["attempts.failed"], 0)
                self.assertGreaterEqual(figures["errors.ETIMEDOUT"], figures["attempts.failed"])
                self.assertEqual({name for name, value in client.metrics().items()
                                  if name.startswith("pool.errors.") and int(value) > 0}, {"pool.errors.ETIMEDOUT"})


if __name__ == "__main__":
    main()
