"""A pool for HTTP in a process of its own, and what tests of requests share.

    with HttpClient(http__version="h2") as client:
        client.get(node.url("/bytes/100"))["received"]
"""

import unittest

from programs import Client

from certificates import Authority

MIB = 1 << 20


class HttpClient(Client):
    """Options have their dots written as "__"."""

    PROGRAM = "http_steered"
    RUNNING = 1024  # as the program has room for

    def start(self, method, url, up="none", size=0, down="whole", lines=()):
        """The number of a request that runs."""
        self.numbers = (self.numbers + 1) % self.RUNNING
        answer = self.ask("start", self.numbers, method, url, up, size, down, *lines)
        if answer["status"] != "OK":
            raise AssertionError(answer)
        return self.numbers

    def wait(self, number):
        """How it ended: status, proof, sends, events, and the response or the error."""
        return self.ask("wait", number)

    def request(self, method, url, **how):
        return self.wait(self.start(method, url, **how))

    def get(self, url, **how):
        """A GET that must be answered."""
        return must(self.request("GET", url, **how))

    def post(self, url, size, up="memory", **how):
        return must(self.request("POST", url, up=up, size=size, **how))

    def burst(self, url, count, at_once):
        """So many GETs, so many at once, of which none may fail."""
        sums = self.ask("burst", url, count, at_once)
        if sums["status"] != "OK" or (sums["ended"], sums["failures"], sums["wrong"], sums["not_200"]) != (count, 0, 0, 0):
            raise AssertionError(sums)
        return sums

    def preconnect(self, url, count):
        return self.ask("preconnect", url, count)

    def endpoint_figure(self, name):
        """One figure of the only endpoint; None when it is not told."""
        hits = [value for key, value in self.metrics().items() if key.startswith(f"endpoint.{name}{{")]
        if len(hits) > 1:
            raise AssertionError(f"{name} of {len(hits)} endpoints")
        return int(hits[0]) if hits else None


def must(result):
    if result["status"] != "OK":
        raise AssertionError(result.get("report", result))
    return result


class HttpTest(unittest.TestCase):
    """Tests with a certificate of an authority of their own."""

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.close)
        cls.certificate = cls.authority.issue("localhost")

    def client(self, **options):
        """A client that trusts the authority; it must leave no descriptor."""
        client = HttpClient(tls__ca_file=self.authority.certificate, **options)
        client.__enter__()
        self.addCleanup(client.__exit__, None)
        return client

    def use(self, server):
        self.addCleanup(server.__exit__, None, None, None)
        return server.__enter__()
