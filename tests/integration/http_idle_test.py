"""Idle HTTP connections, and connections that come and go.

CONPOOL_ROUNDS=10000 http_idle_test.py makes the long run.
"""

import os

import programs
from http_client import HttpTest

from http_servers import Node
from processes import main, poll_until
from servers import Nginx

ROUNDS = programs.ROUNDS or 300
LIMIT_S = 2  # the server's idle limit
GROWTH_KIB = 8 << 10  # what memory may grow over the rounds


class Idle(HttpTest):
    def connections(self, nginx, requests):
        log = poll_until(lambda: len(nginx.requests()) == requests and nginx.requests(), "the server's log")
        return len({each["connection"] for each in log})

    def nginx(self, versions, told=False):
        line = f"keepalive_timeout {LIMIT_S}s {LIMIT_S}s;" if told else ""
        return self.use(Nginx(certificate=self.certificate, versions=versions, keepalive_timeout_s=LIMIT_S, server=line))

    def test_a_server_that_closes_idle_connections(self):
        for versions in ("http1", "both"):
            nginx = self.nginx(versions)
            with self.subTest(versions=versions):
                client = self.client()
                url = f"https://localhost:{nginx.port}/"
                client.get(url)
                poll_until(lambda: client.figure("connections.open") == 0, "the server's close")
                self.assertEqual(client.get(url)["sends"], 1)
                self.assertEqual(self.connections(nginx, 2), 2)

    def test_a_limit_that_the_server_tells_is_kept(self):
        nginx = self.nginx("http1", told=True)
        client = self.client()
        url = f"https://localhost:{nginx.port}/"
        client.get(url)
        client.get(url)
        self.assertEqual(self.connections(nginx, 2), 1)
        # Within the margin of one second before the limit the connection is not lent again.
        poll_until(lambda: client.figure("connections.open") == 0, "the end of the idle connection")
        self.assertEqual((client.figure("closed.idle"), client.figure("closed.peer")), (1, 0))
        client.get(url)
        self.assertEqual(self.connections(nginx, 3), 2)

    def test_background_pings_outlive_the_servers_limit(self):
        # nginx counts from the last request, whatever else comes; Node from the last frame.
        for interval, connections in (("0", 2), ("1s", 1)):
            server = self.use(Node("h2", certificate=self.certificate, idle=1000 * LIMIT_S))
            with self.subTest(interval=interval):
                client = self.client(h2__ping_interval=interval)
                client.get(server.url())
                if connections == 1:  # a PING a second: more of them than the limit has seconds
                    poll_until(lambda: server.counts()["pings"] > LIMIT_S + 1, "the PINGs")
                else:
                    poll_until(lambda: client.figure("connections.open") == 0, "the server's close")
                client.get(server.url())
                self.assertEqual((client.figure("connections.opened"), server.counts()["connections"]),
                                 (connections, connections))

    def test_warm_connections_that_die_come_back(self):
        for mode, warm in (("https1", 3), ("h2", 1)):
            server = self.use(Node(mode, certificate=self.certificate))
            with self.subTest(mode=mode):
                client = self.client(pool__min_idle=warm)
                self.assertEqual(client.preconnect(server.url(), warm)["open"], warm)
                for round_ in range(1, 3):
                    poll_until(lambda: server.counts()["open"] == client.figure("connections.open") == warm, "warm ones")
                    self.assertEqual(server.counts()["connections"], warm * round_)
                    server.tell("reset")
                    poll_until(lambda: server.counts()["connections"] == warm * (round_ + 1), "their successors")
                # The request takes one that is warm.
                self.assertTrue(client.get(server.url())["facts"]["connection"] <= 3 * warm)

    def test_connect_request_close(self):
        for mode in ("h2", "https1"):
            server = self.use(Node(mode, certificate=self.certificate))
            with self.subTest(mode=mode):
                client = self.client(pool__max_uses=1)
                client.burst(server.url(), 10, 1)
                before = client.ask("fds")
                sums = client.burst(server.url(), ROUNDS, 1)
                poll_until(lambda: client.ask("fds")["fds"] <= before["fds"], "closed descriptors")
                print(f"{mode}: {ROUNDS} rounds, {ROUNDS / sums['seconds']:.0f} a second, resident "
                      f"{before['rss']} KiB, {sums['rss_early']} KiB after a tenth, {sums['rss']} KiB in the end")
                self.assertEqual(server.counts()["connections"], ROUNDS + 10)
                if not {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ):  # they keep what was freed
                    self.assertLess(sums["rss"] - sums["rss_early"], GROWTH_KIB)


if __name__ == "__main__":
    main()
