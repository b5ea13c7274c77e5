"""A server that is stopped (SIGSTOP): its machine takes connections and bytes, and nobody answers.

A steady load goes on all the time. The requests under way end by their own timeouts; then the breaker opens and only
its trials go there; after SIGCONT everything works again without help.
"""

import json
import os
import signal
import time

import programs  # noqa: F401: first: it finds the modules of tests/support
from http_client import HttpTest, must

from counting_relay import CountingRelay
from processes import main, poll_until
from servers import Nginx

RATE = 10  # requests a second
FIRST_BYTE_S = 2
RESTARTS = 3
ENDED_BY_S = 5
TRIALS_UNTIL_S = 30
RECOVERY_S = 120  # the longest open time
MAYBE_PROCESSED = 2
MOST_TRIALS = 9  # three openings, with three trials of 2 s each


class Outage(HttpTest):
    def events(self, client, name):
        lines = client.ask("events")["text"].splitlines()
        return [each for each in map(json.loads, lines) if each["event"] == name]

    def test_a_server_that_is_stopped(self):
        nginx = self.use(Nginx())
        relay = self.enterContext(CountingRelay(nginx.port))
        url = f"http://127.0.0.1:{relay.port}/"
        client = self.client(first_byte__timeout=f"{FIRST_BYTE_S}s", events__level="debug", events__capacity="65536")
        must(client.request("GET", url))
        poll_until(lambda: client.figure("connections.idle") == 1, "an idle connection")
        before = client.ask("fds")["fds"]
        begin = time.monotonic()
        os.kill(nginx.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, nginx.pid, signal.SIGCONT)
        started = []
        while time.monotonic() < begin + TRIALS_UNTIL_S:
            started.append(client.start("GET", url))
            time.sleep(max(0, begin + len(started) / RATE - time.monotonic()))  # the load's rate
        results = [client.wait(number) for number in started]

        first = results[0]
        self.assertEqual((first["status"], first["proof"]), ("E_HTTP_FIRST_BYTE_TIMEOUT", MAYBE_PROCESSED))
        failed = self.events(client, "request.failed")
        origin = failed[0]["time_ns"] - failed[0]["total_ns"]
        self.assertLess(failed[0]["total_ns"], ENDED_BY_S * 10**9)
        closed = [each for each in self.events(client, "connection.closed")]
        self.assertLess(closed[0]["time_ns"] - origin, ENDED_BY_S * 10**9)
        opened = self.events(client, "breaker.opened")
        opened_s = (opened[0]["time_ns"] - origin) / 1e9
        self.assertLess(opened_s, ENDED_BY_S)
        # What reached the relay, by its own count.
        late = [at for at in relay.requests if begin + opened_s + 0.1 < at < begin + TRIALS_UNTIL_S]
        trials = self.events(client, "breaker.trial")
        print(f"first request ended after {failed[0]['total_ns'] / 1e9:.2f} s, breaker open after {opened_s:.2f} s; "
              f"{len(started)} requests in {TRIALS_UNTIL_S} s, {len(relay.requests) - 1} sent, {len(late)} of them after "
              f"the breaker had opened, {len(trials)} trials, {len(opened)} openings")
        self.assertLessEqual(len(late), len(trials))
        self.assertLessEqual(len(late), MOST_TRIALS)
        self.assertEqual({each["status"] for each in results}, {"E_HTTP_FIRST_BYTE_TIMEOUT", "E_BREAKER_OPEN"})

        os.kill(nginx.pid, signal.SIGCONT)
        back = time.monotonic()
        poll_until(lambda: client.request("GET", url)["status"] == "OK", "recovery", RECOVERY_S)
        print(f"recovered {time.monotonic() - back:.2f} s after SIGCONT")
        for _ in range(20):
            poll_until(lambda: client.request("GET", url)["status"] == "OK", "steady recovery", RECOVERY_S)
        poll_until(lambda: client.figure("connections.idle") == client.figure("connections.open") == 1, "one connection")
        poll_until(lambda: client.ask("fds")["fds"] == before, "as many descriptors as before")

    def test_a_server_that_restarts(self):
        nginx = self.use(Nginx())
        url = f"http://127.0.0.1:{nginx.port}/"
        client = self.client(retry__attempts="3", breaker__open="1s")
        client.get(url)
        poll_until(lambda: client.figure("connections.idle") == 1, "an idle connection")
        before = client.ask("fds")["fds"]
        results = []
        for _ in range(RESTARTS):
            begin, numbers = time.monotonic(), []
            while len(numbers) < RATE * 10:
                numbers.append(client.start("GET", url))
                if len(numbers) == RATE * 5:
                    nginx.restart()
                time.sleep(max(0, begin + len(numbers) / (RATE * 10) - time.monotonic()))  # the load's rate
            results += [client.wait(number)["status"] for number in numbers]
            poll_until(lambda: client.request("GET", url)["status"] == "OK", "recovery", RECOVERY_S)
        failed = [status for status in results if status != "OK"]
        print(f"{RESTARTS} restarts under {10 * RATE} requests a second: {len(failed)} of {len(results)} failed "
              f"{set(failed)}, {client.figure('connections.opened')} connections")
        poll_until(lambda: client.figure("connections.idle") == client.figure("connections.open"), "idle connections")
        poll_until(lambda: client.ask("fds")["fds"] - before == client.figure("connections.open") - 1,
                   "a descriptor for each connection")
        # Every response is one that the server noted.
        poll_until(lambda: len(nginx.requests()) >= client.figure("requests.done"), "the server's log")
        self.assertEqual(client.figure("requests.done") + client.figure("requests.failed"), client.figure("requests.made"))
        self.assertLessEqual(len(nginx.requests()), client.figure("requests.sent"))


if __name__ == "__main__":
    main()
