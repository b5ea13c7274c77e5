"""Many requests, few connections: what servers count when a pool shares HTTP/2 connections and fans out over HTTP/1.1.

The servers count for themselves: connections, handshakes, streams that ran at once, requests.
"""

import itertools
import re
import threading

from http_client import HttpTest

from http_servers import Go, Node
from processes import main, poll_until
from servers import Nghttpd, Nginx

DELAY_MS = 30


class Shared(HttpTest):
    def check_cold_burst(self, server):
        server = self.use(server)
        client = self.client()
        sums = client.burst(server.url(), 100, 100)
        counts = server.counts()
        self.assertEqual((sums["h2"], counts["connections"], counts["requests"]), (100, 1, 100))
        self.assertEqual((counts.get("tls", 1), client.figure("tls.full")), (1, 1))

    def test_cold_burst_over_h2_is_one_connection(self):
        for mode in ("h2", "both"):
            with self.subTest(mode=mode):
                self.check_cold_burst(Node(mode, certificate=self.certificate))

    def test_cold_burst_against_go(self):
        self.check_cold_burst(Go("both", certificate=self.certificate))

    def test_cold_burst_without_tls(self):
        server = self.use(Node("h2c"))
        sums = self.client(http__version="h2").burst(server.url(), 100, 100)
        self.assertEqual((sums["h2"], server.counts()["connections"]), (100, 1))

    def test_cold_burst_against_nghttpd(self):
        nghttpd = self.use(Nghttpd("-v", certificate=self.certificate))
        client = self.client()
        client.burst(f"https://localhost:{nghttpd.port}/index.html", 100, 100)
        self.assertEqual(client.figure("connections.opened"), 1)
        # The fixture's own look whether it listens is a connection without a frame.
        self.assertEqual(len(set(re.findall(r"\[id=(\d+)\].*recv HEADERS", nghttpd.log()))), 1)

    def test_the_stream_limit_is_learned_and_remembered(self):
        nghttpd = self.use(Nghttpd("-v", "-m", 8, certificate=self.certificate))
        url = f"https://localhost:{nghttpd.port}/index.html"
        client = self.client(h2__max_connections=1)
        # A first flight holds to 100; what is beyond the server's own limit it refuses unprocessed.
        self.assertEqual(client.burst(url, 200, 200)["resent"], 100 - 8)
        self.assertEqual(client.endpoint_figure("h2.max_concurrent"), 8)
        self.assertEqual(nghttpd.log().count("REFUSED_STREAM"), 92)
        for _ in range(2):
            self.assertEqual(client.burst(url, 200, 200)["resent"], 0)
            nghttpd.restart()
        self.assertEqual(client.burst(url, 200, 200)["resent"], 0)
        self.assertEqual(nghttpd.log().count("REFUSED_STREAM"), 92)
        self.assertEqual(client.figure("resends.refused"), 92)

    def test_cold_burst_against_nginx(self):
        nginx = self.use(Nginx(certificate=self.certificate))
        self.client().burst(f"https://localhost:{nginx.port}/", 100, 100)
        log = poll_until(lambda: len(nginx.requests()) == 100 and nginx.requests(), "the server's log")
        self.assertEqual(len({each["connection"] for each in log}), 1)
        self.assertEqual({each["protocol"] for each in log}, {"HTTP/2.0"})

    def test_further_connections_when_streams_saturate(self):
        server = self.use(Node("h2", certificate=self.certificate, settings={"maxConcurrentStreams": 100},
                               delay=DELAY_MS))
        sums = self.client().burst(server.url(), 1000, 1000)
        counts = server.counts()
        self.assertEqual((sums["h2"], counts["connections"], counts["requests"]), (1000, 4, 1000))
        self.assertLessEqual(counts["most_streams"], 100)

    def test_one_connection_at_its_stream_limit(self):
        server = self.use(Node("h2", certificate=self.certificate, settings={"maxConcurrentStreams": 8}, delay=3))
        self.client(h2__max_connections=1).burst(server.url(), 400, 400)
        counts = server.counts()
        self.assertEqual((counts["connections"], counts["requests"]), (1, 400))
        self.assertLessEqual(counts["most_streams"], 8)

    def test_a_wait_for_a_stream_that_times_out_ends_alone(self):
        server = self.use(Node("h2", certificate=self.certificate, settings={"maxConcurrentStreams": 2}))
        client = self.client(h2__max_connections=1)
        client.get(server.url())
        running = [client.start("GET", server.url("/delay/1500")) for _ in range(2)]
        poll_until(lambda: server.counts()["running"] == 2, "two running requests")
        late = client.request("GET", server.url(), lines=["option queue.timeout=100ms"])
        self.assertEqual((late["status"], late["proof"]), ("E_QUEUE_TIMEOUT", 0))
        patient = client.start("GET", server.url())
        for number in (*running, patient):
            self.assertEqual(client.wait(number)["status"], "OK")
        client.burst(server.url(), 50, 50)
        counts = server.counts()
        self.assertEqual((counts["connections"], counts["requests"]), (1, 54))
        self.assertLessEqual(counts["most_streams"], 2)

    def test_http1_fans_out_to_its_limit(self):
        for mode in ("http1", "https1"):
            server = self.use(Node(mode, certificate=self.certificate, delay=5))
            with self.subTest(mode=mode):
                sums = self.client(endpoint__max_connections=8).burst(server.url(), 100, 100)
                counts = server.counts()
                self.assertEqual((sums["h2"], counts["connections"], counts["most_open"]), (0, 8, 8))
                self.assertEqual(counts["requests"], 100)

    def test_preconnect(self):
        for mode, wanted in (("h2", 1), ("https1", 3)):
            server = self.use(Node(mode, certificate=self.certificate))
            with self.subTest(mode=mode):
                client = self.client()
                made = client.preconnect(server.url(), wanted)
                self.assertEqual((made["status"], made["open"]), ("OK", wanted))
                client.get(server.url())
                self.assertEqual((server.counts()["connections"], client.figure("connections.opened")), (wanted, wanted))


class Statistics(HttpTest):
    """What the pool tells of itself is what the server counted."""

    COUNT, SIZE, UP = 120, 1000, 5000

    def run_both(self, mode):
        server = self.use(Node(mode, certificate=self.certificate, settings={"maxConcurrentStreams": 50}))
        client = self.client(pool__max_uses=40)
        client.burst(server.url(f"/bytes/{self.SIZE}"), self.COUNT, 10)
        client.post(server.url("/hash"), self.UP)
        # What the server has closed it may notice late.
        poll_until(lambda: server.counts()["open"] == client.figure("connections.open"), "the same open connections")
        return client, server.counts()

    def check(self, client, counts):
        for name, counted in (("requests.made", "requests"), ("requests.done", "ended"), ("requests.sent", "requests"),
                              ("connections.opened", "connections"), ("connections.open", "open"), ("tls.full", None),
                              ("tls.resumed", "resumed"), ("requests.body_bytes", "bytes_in")):
            wanted = counts[counted] if counted else counts["tls"] - counts["resumed"]
            with self.subTest(name=name):
                self.assertEqual((client.figure(name), client.endpoint_figure(name)), (wanted, wanted))
        self.assertEqual(client.figure("requests.made"), self.COUNT + 1)
        self.assertGreaterEqual(client.figure("responses.body_bytes"), counts["bytes_out"])
        self.assertEqual(counts["bytes_out"], self.COUNT * self.SIZE)
        self.assertEqual(client.figure("leases.granted") - client.figure("leases.reused"), counts["connections"])
        self.assertEqual(client.figure("requests.running"), 0)

    def test_over_h2(self):
        client, counts = self.run_both("h2")
        self.check(client, counts)
        for name, wanted in (("h2.opened", counts["sessions"]), ("h2.connections", counts["open"]),
                             ("h2.total_streams", counts["requests"]), ("h2.active_streams", 0), ("h2.max_concurrent", 50)):
            with self.subTest(name=name):
                self.assertEqual(client.endpoint_figure(name), wanted)
        self.assertEqual([name for name in client.metrics() if ".http1." in name], [])

    def test_over_http1_there_is_no_word_of_h2(self):
        for mode in ("http1", "https1"):
            client, counts = self.run_both(mode)
            self.check(client, counts)
            self.assertEqual(client.endpoint_figure("http1.opened"), counts["connections"])
            names = [name for name in client.metrics() if ".h2." in name or "streams" in name or "concurrent" in name]
            self.assertEqual(names, [])


class Changes(HttpTest):
    """Servers that restart, change their protocol, or send clients away."""

    def test_restarts(self):
        for mode in ("http1", "https1", "h2c", "h2"):
            server = self.use(Node(mode, certificate=self.certificate))
            with self.subTest(mode=mode):
                client = self.client(**({"http__version": "h2"} if server.h2 else {}))
                for _ in range(3):
                    client.burst(server.url(), 20, 5)
                    server.restart()
                client.burst(server.url(), 20, 5)

    def test_connections_that_are_cut_while_idle(self):
        for mode in ("https1", "h2"):
            server = self.use(Node(mode, certificate=self.certificate))
            with self.subTest(mode=mode):
                client = self.client()
                for _ in range(5):
                    client.burst(server.url(), 10, 4)
                    server.tell("reset")
                client.burst(server.url(), 10, 4)
                self.assertEqual(server.counts()["requests"], 60)

    def test_goaway_after_each_answer(self):
        server = self.use(Node("h2", certificate=self.certificate))
        client = self.client()
        for _ in range(10):
            self.assertEqual(client.get(server.url("/goaway"))["version"], 20)
        self.assertEqual(server.counts()["requests"], 10)

    def test_goaways_and_closes_under_load(self):
        server = self.use(Node("h2", certificate=self.certificate, delay=2))
        client = self.client()
        ended = threading.Event()

        def disturb():
            for number in itertools.count():
                if ended.wait(0.02):  # the pace of the disturbances
                    return
                server.tell(("goaway", "close")[number % 2])
                told.append(number)

        told = []
        thread = threading.Thread(target=disturb)
        thread.start()
        sums = client.burst(server.url(), 3000, 20)
        ended.set()
        thread.join()
        counts = server.counts()
        print(f"{len(told)} goodbyes, {counts['connections']} connections, {sums['resent']} requests sent again")
        self.assertGreater(counts["connections"], 2)
        # Node hands its program streams that come between a GOAWAY's making and its sending, above the last id that
        # it tells: those are sent again, and counted twice.
        self.assertLessEqual(counts["requests"] - 3000, client.figure("resends.goaway"))
        self.assertLessEqual(sums["resent"], client.figure("resends.goaway"))  # one request may be sent three times

    def test_connections_that_serve_fifty_requests(self):
        for versions in ("http1", "both"):
            nginx = self.use(Nginx(certificate=self.certificate, versions=versions, server="keepalive_requests 50;"))
            with self.subTest(versions=versions):
                client = self.client()
                sums = client.burst(f"https://localhost:{nginx.port}/", 2000, 20)
                log = poll_until(lambda: len(nginx.requests()) >= 2000 and nginx.requests(), "the server's log")
                print(f"{versions}: {client.figure('connections.opened')} connections, {sums['resent']} sent again")
                self.assertEqual(len(log), 2000)
                self.assertGreaterEqual(client.figure("connections.opened"), 40)

    def test_http1_is_demanded(self):
        server = self.use(Node("both", certificate=self.certificate))
        client = self.client()
        self.assertEqual(client.get(server.url())["version"], 20)
        first = client.get(server.url("/rst/13"))  # HTTP_1_1_REQUIRED
        self.assertEqual((first["version"], first["sends"]), (11, 2))
        again = client.get(server.url("/rst/13"))
        self.assertEqual((again["version"], again["sends"]), (11, 1))
        self.assertEqual(client.get(server.url())["version"], 11)

    def test_refused_streams_are_sent_again(self):
        server = self.use(Node("h2", certificate=self.certificate))
        client = self.client()
        refused = client.request("POST", server.url("/rst/7"), up="memory", size=10)  # REFUSED_STREAM, each time
        self.assertEqual((refused["status"], refused["proof"], refused["sends"]), ("E_H2_REFUSED", 1, 4))
        reset = client.request("POST", server.url("/rst/2"), up="memory", size=10)  # INTERNAL_ERROR
        self.assertEqual((reset["status"], reset["proof"], reset["sends"]), ("E_H2_STREAM_RESET", 2, 1))
        self.assertEqual(reset["h2_code"], 2)
        self.assertEqual(server.counts()["connections"], 1)

    def test_the_protocol_changes_between_connections(self):
        server = self.use(Node("both", certificate=self.certificate))
        client = self.client()
        for mode, version in (("both", 20), ("https1", 11), ("both", 20), ("https1", 11)):
            server.stop()
            server.options["mode"] = mode
            server.start()
            sums = client.burst(server.url(), 30, 10)
            self.assertEqual(sums["h2"], 30 if version == 20 else 0)


if __name__ == "__main__":
    main()
