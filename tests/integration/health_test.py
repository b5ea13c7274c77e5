"""Active checks and probes, against nginx."""

import os
import signal

from http_client import HttpTest, must

from processes import main, poll_until
from servers import Nginx


class Health(HttpTest):
    def test_a_check_asks_nginx_for_its_health(self):
        for versions, check in (("http1", "head"), ("both", "get"), ("h2", "ping")):
            nginx = self.use(Nginx(certificate=self.certificate, versions=versions,
                                   server='location /healthz { return 204; }'))
            with self.subTest(versions=versions, check=check):
                client = self.client(health__interval="50ms", health__path="/healthz", health__check=check)
                url = f"https://localhost:{nginx.port}/"
                client.get(url)
                poll_until(lambda: client.figure("health.passed") >= 5, "passed checks")
                asked = [each for each in nginx.requests() if each["uri"] == "/healthz"]
                self.assertEqual({each["status"] for each in asked}, {"204"} if check != "ping" else set())
                self.assertEqual({each["method"] for each in asked}, {check.upper()} if check != "ping" else set())
                # The checks' connections are not the pool's.
                self.assertEqual(client.figure("connections.opened"), 1)

    def test_a_wrong_status_fails_the_check(self):
        nginx = self.use(Nginx(certificate=self.certificate, server='location /healthz { return 503; }'))
        client = self.client(health__interval="50ms", health__path="/healthz")
        url = f"https://localhost:{nginx.port}/"
        client.get(url)
        poll_until(lambda: client.figure("health.failed") >= 3, "failed checks")
        self.assertEqual(client.figure("health.passed"), 0)
        client.get(url)  # the only address is used all the same

    def test_a_probe_finds_a_server_that_stopped_before_the_request_does(self):
        for versions in ("http1", "both"):
            nginx = self.use(Nginx(certificate=self.certificate, versions=versions))
            with self.subTest(versions=versions):
                client = self.client(health__on_checkout="probe", health__checkout_after="0", health__timeout="300ms")
                url = f"https://localhost:{nginx.port}/"
                client.get(url)
                client.get(url)
                self.assertEqual((client.figure("checks.done"), client.figure("checks.failed")), (1, 0))
                os.kill(nginx.pid, signal.SIGSTOP)  # its sockets stand, and nobody answers
                try:
                    request = client.start("GET", url)
                    poll_until(lambda: client.figure("checks.failed") == 1, "the failed probe")
                finally:
                    os.kill(nginx.pid, signal.SIGCONT)
                self.assertEqual(must(client.wait(request))["sends"], 1)
                self.assertEqual(client.figure("connections.opened"), 2)


if __name__ == "__main__":
    main()
