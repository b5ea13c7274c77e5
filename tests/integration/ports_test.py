"""What a client leaves in the kernel, and what it does when the kernel has no port left."""

import socket
import time

import programs  # noqa: F401: first: it finds the modules of tests/support
from http_client import HttpTest, must

import own_network
from processes import main, poll_until
from servers import Nginx

REQUESTS = 10_000
CONNECTIONS = 10
RECOVERY_S = 120  # ten times what it takes
FIRST_PORT, PORTS = 40_000, 20


class Ports(HttpTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        own_network.enter()
        own_network.set_limit("tcp_max_tw_buckets", 65_536)
        own_network.set_limit("tcp_tw_reuse", 0)

    def time_waits(self, **options):
        nginx = self.use(Nginx())
        client = self.client(endpoint__max_connections=CONNECTIONS, **options)
        client.burst(f"http://127.0.0.1:{nginx.port}/", REQUESTS, CONNECTIONS)
        count = own_network.sockets(nginx.port, own_network.TIME_WAIT)
        opened = client.figure("connections.opened")
        print(f"{REQUESTS} requests on {CONNECTIONS} places, {options}: {opened} connections, {count} in TIME-WAIT")
        return count, opened

    def test_reuse_leaves_few_sockets_in_time_wait(self):
        count, opened = self.time_waits()
        self.assertLessEqual(count, 20)
        self.assertLessEqual(opened, CONNECTIONS)

    def test_without_reuse_every_request_leaves_one(self):
        count, opened = self.time_waits(pool__idle_timeout="0")
        self.assertEqual(opened, REQUESTS)
        # The first ones leave after a minute.
        self.assertGreater(count, REQUESTS * 9 // 10)

    def test_no_port_is_left(self):
        nginx = self.use(Nginx())
        url = f"http://127.0.0.1:{nginx.port}/"
        client = self.client(pool__idle_timeout="0", retry__attempts=3)
        client.get(url)
        own_network.set_limit("ip_local_port_range", f"{FIRST_PORT} {FIRST_PORT + PORTS - 1}")
        self.addCleanup(own_network.set_limit, "ip_local_port_range", "32768 60999")
        taken = [self.enterContext(socket.socket()) for _ in range(PORTS)]
        for number, each in enumerate(taken):
            each.bind(("127.0.0.1", FIRST_PORT + number))
        before = client.figure("attempts.started")
        failed = client.request("GET", url)
        self.assertNotEqual(failed["status"], "OK")
        self.assertIn("EADDRNOTAVAIL", failed["line"])
        self.assertEqual(failed["proof"], 0)
        print(failed["line"])
        # A thousand requests, and what they cost.
        sums = client.ask("burst", url, 1000, 50)
        attempts = client.figure("attempts.started") - before
        counted = int(client.metrics()["pool.errors.EADDRNOTAVAIL"])
        print(f"1001 requests without a port: {attempts} connects, EADDRNOTAVAIL={counted}, "
              f"{client.figure('retries.made')} retries, {client.figure('breaker.refused')} refused by the breaker")
        self.assertEqual(sums["failures"], 1000)
        self.assertEqual(counted, attempts)
        self.assertLess(attempts, 200)
        # Nothing but time and ports is needed.
        for each in taken:
            each.close()
        begin = time.monotonic()
        poll_until(lambda: client.request("GET", url)["status"] == "OK", "recovery", RECOVERY_S)
        print(f"recovered {time.monotonic() - begin:.1f} s after the ports came back")
        must(client.request("GET", url))


if __name__ == "__main__":
    main()
