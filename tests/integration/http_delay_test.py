"""A cold server 30 ms away: how long 100 requests take over HTTP/2 and over HTTP/1.1 with 8 connections."""

from http_client import HttpTest

from delay_relay import DelayRelay
from http_servers import Node
from processes import main

ROUND_TRIP_S = 0.03
REQUESTS = 100


class Delay(HttpTest):
    def measure(self, mode, **options):
        server = self.use(Node(mode, certificate=self.certificate))
        with DelayRelay(server.port, ROUND_TRIP_S) as relay:
            client = self.client(**options)
            server.port = relay.port
            sums = client.burst(server.url(), REQUESTS, REQUESTS)
            self.assertEqual(server.counts()["requests"], REQUESTS)
            print(f"{mode}: {REQUESTS} requests, round trip {ROUND_TRIP_S * 1e3:.0f} ms: all after "
                  f"{sums['seconds'] * 1e3:.0f} ms, p50 {sums['p50_ns'] / 1e6:.0f} ms, p99 {sums['p99_ns'] / 1e6:.0f} ms, "
                  f"{server.counts()['connections']} connections")
        return sums

    def test_h2_beats_eight_http1_connections(self):
        shared = self.measure("h2")
        fanned = self.measure("https1", endpoint__max_connections=8)
        self.assertLess(shared["seconds"], fanned["seconds"])
        # Nothing is faster than the handshakes: TCP, TLS, then the request.
        self.assertGreaterEqual(shared["p50_ns"], 3 * ROUND_TRIP_S * 1e9)


if __name__ == "__main__":
    main()
