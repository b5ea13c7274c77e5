"""Names by real DNS servers: dnsmasq and unbound, and what the pool does with their answers."""

import collections
import pathlib
import tempfile
import unittest

import programs
from peers import Peer, echo
from processes import main, poll_until
from servers import Dnsmasq, Unbound, free_port

FOUR = [f"127.0.0.{n}" for n in range(1, 5)]


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.everywhere = cls.enterClassContext(Peer(echo, address="::"))  # IPv4 too
        cls.port = cls.everywhere.port

    def client(self, *servers, **options):
        listed = ",".join(f"{server.address}:{server.port}" for server in servers)
        return self.enterContext(programs.Client(
            **{"dns__servers": listed, "dns__hosts_file": "", "dns__resolv_conf": "",
               "breaker__mode": "off", **options}))  # leases that end as broken are meant to

    def at(self, client, name, **options):
        return client.endpoint(f"tcp://{name}:{self.port}", **options)

    @staticmethod
    def host(result):
        return result["facts"]["address"].rsplit(":", 1)[0]

    def cold(self, client, at):
        """The address of a lease on a connection of its own."""
        lease, result = client.lease(at)
        lease.release("broken")
        return self.host(result)

    @staticmethod
    def records(addresses, name="www.test", ttl=60):
        return [f"{name}. {ttl} IN {'AAAA' if ':' in one else 'A'} {one}" for one in addresses]


class Answers(Names):
    def test_both_families(self):
        with Dnsmasq({"www.test": ["127.0.0.2", "::1"], "four.test": ["127.0.0.3"], "six.test": ["::1"]}) as dns:
            client = self.client(dns)
            self.assertEqual(self.cold(client, self.at(client, "www.test")), "[::1]")
            self.assertEqual(self.cold(client, self.at(client, "www.test", race__family="v4_first")), "127.0.0.2")
            self.assertEqual(self.cold(client, self.at(client, "four.test")), "127.0.0.3")
            self.assertEqual(self.cold(client, self.at(client, "six.test")), "[::1]")
            lease, result = client.lease(self.at(client, "WWW.Test."))
            self.assertEqual(self.host(result), "[::1]")
            lease.release()
            log = dns.log()
        for question in ("query[A] www.test", "query[AAAA] www.test", "query[A] six.test"):
            self.assertIn(question, log)

    def test_dead_address_beside_a_good_one(self):
        """Only 127.0.0.2 listens; the refused ones cost no error."""
        with Peer(echo, address="127.0.0.2") as peer, Dnsmasq({"www.test": ["127.0.0.2", "127.0.0.3", "::1"]}) as dns:
            client = self.client(dns)
            lease, result = client.lease(client.endpoint(f"tcp://www.test:{peer.port}"))
            self.assertEqual(self.host(result), "127.0.0.2")
            results = {attempt["target"]: attempt["status"] for attempt in result["facts"]["attempts"]}
            self.assertEqual(results[f"tcp:127.0.0.2:{peer.port}"], "OK")
            self.assertEqual(results[f"tcp:[::1]:{peer.port}"], "E_CONNECT_REFUSED")
            lease.release()

    def test_name_that_does_not_exist(self):
        soa = "test. 60 IN SOA ns.test. admin.test. 1 3600 600 86400 60"
        with Dnsmasq({"www.test": ["127.0.0.2"]}) as dnsmasq, Unbound([soa, *self.records(["::1"])]) as unbound:
            for dns in (dnsmasq, unbound):
                with self.subTest(type(dns).__name__):
                    client = self.client(dns)
                    result = client.refused(self.at(client, "absent.test"))
                    self.assertEqual(result["status"], "E_DNS_NOT_FOUND", result["report"])
                    self.assertIn("absent.test", result["line"])
                    self.assertEqual(result["proof"], 0)
                    for kind in ("A", "AAAA"):
                        self.assertIn(f"{kind} absent.test @{dns.address}:{dns.port}",
                                      [attempt["target"] for attempt in result["attempts"]])
                    asked = client.figure("dns.queries")
                    client.refused(self.at(client, "absent.test"))
                    self.assertEqual(client.figure("dns.queries"), asked, "a negative answer is kept")

    def test_name_without_addresses_of_the_family(self):
        with Unbound(self.records(["127.0.0.2"], "four.test")) as dns:
            client = self.client(dns)
            result = client.refused(self.at(client, "four.test", race__family="v6_only"))
            self.assertEqual(result["status"], "E_DNS_NO_DATA", result["report"])
            self.assertEqual(self.cold(client, self.at(client, "four.test")), "127.0.0.2")

    def test_alias(self):
        arguments = ("--cname=alias.test,www.test", "--cname=more.test,alias.test")
        with Dnsmasq({"www.test": ["127.0.0.4"]}, *arguments) as dns:
            client = self.client(dns)
            for name in ("alias.test", "more.test"):
                self.assertEqual(self.cold(client, self.at(client, name)), "127.0.0.4")

    def test_large_answer_comes_by_tcp(self):
        """60 addresses do not fit into the 512 bytes that this server sends by UDP."""
        sixty = [f"127.0.1.{n}" for n in range(1, 61)]
        with Unbound(self.records(sixty, "big.test"), "  max-udp-size: 512") as dns:
            client = self.client(dns)
            at = self.at(client, "big.test", race__family="v4_only")
            self.assertIn(self.cold(client, at), sixty)
            self.assertEqual(client.figure("addresses.known"), 60, client.explain(at))

    def test_answers_are_kept_for_their_ttl(self):
        with Unbound(self.records(["127.0.0.2"], ttl=2)) as dns:
            client = self.client(dns, dns__prefetch=0)
            at = self.at(client, "www.test")
            for _ in range(5):
                self.assertEqual(self.cold(client, at), "127.0.0.2")
            self.assertEqual(client.figure("dns.queries"), 2)  # A and AAAA
            poll_until(lambda: self.cold(client, at) and client.figure("dns.queries") > 2, "another query")
            self.assertLessEqual(client.figure("dns.queries"), 4)

    def test_search_list(self):
        with tempfile.TemporaryDirectory() as place, Dnsmasq({"www.deep.test": ["127.0.0.2"]}) as dns:
            conf = pathlib.Path(place) / "resolv.conf"
            conf.write_text("nameserver 127.0.0.1\nsearch absent.test deep.test\n")
            client = self.client(dns, dns__resolv_conf=conf)
            self.assertEqual(self.cold(client, self.at(client, "www")), "127.0.0.2")
            self.assertIn(client.refused(self.at(client, "www."))["status"], ("E_DNS_NOT_FOUND", "E_DNS_REFUSED"))


class Servers(Names):
    def test_second_server_answers_for_a_dead_one(self):
        with Dnsmasq({"www.test": ["127.0.0.2"]}) as dead, Dnsmasq({"www.test": ["127.0.0.3"]}) as alive:
            dead.stop()
            client = self.client(dead, alive)
            self.assertEqual(self.cold(client, self.at(client, "www.test")), "127.0.0.3")

    def test_no_server(self):
        class Nobody:
            address, port = "127.0.0.1", free_port()

        client = self.client(Nobody, resolve_retries=1)
        result = client.refused(self.at(client, "www.test"))
        self.assertEqual(result["status"], "E_DNS_UNREACHABLE", result["report"])
        self.assertIn(f"127.0.0.1:{Nobody.port}", result["report"])

    def test_server_that_dies_costs_nothing_while_the_answer_stands(self):
        with Dnsmasq({"www.test": ["127.0.0.2"]}) as dns:  # its answers have a TTL of 0
            client = self.client(dns, resolve_timeout="100ms", resolve_retries=0, dns__stale_after="100ms")
            at = self.at(client, "www.test")
            self.assertEqual(self.cold(client, at), "127.0.0.2")
            dns.stop()
            poll_until(lambda: self.cold(client, at) == "127.0.0.2" and client.figure("dns.stale_hits") > 0,
                       "a lease by the last good answer")
            for _ in range(5):
                self.assertEqual(self.cold(client, at), "127.0.0.2")
            self.assertEqual(client.figure("waiters.failed"), 0)

    def test_answer_that_changes_moves_the_traffic(self):
        with Dnsmasq({"www.test": FOUR[:2]}) as dns:
            client = self.client(dns, resolve_timeout="100ms", dns__failure_max="1s")
            at = self.at(client, "www.test")
            seen = {self.cold(client, at) for _ in range(8)}
            self.assertEqual(seen, set(FOUR[:2]))
            held, result = client.lease(at)
            old = self.host(result)
            dns.records = {"www.test": FOUR[2:]}
            dns.restart()
            moved = collections.Counter()

            def has_moved():
                moved[self.cold(client, at)] += 1
                return moved[FOUR[2]] and moved[FOUR[3]]

            poll_until(has_moved, "leases at the new addresses")
            self.assertEqual(held.write(b"still")["status"], "OK")  # the old lease goes on
            self.assertEqual(held.read()["data"], b"still")
            held.release()
            poll_until(lambda: client.figure("addresses.known") == 2, "the old addresses gone")
            self.assertIn(f"-  {old}:{self.port}  vanished, not tried", client.explain(at))
            self.assertEqual(client.figure("waiters.failed"), 0)


class Balance(Names):
    def test_forty_leases_over_four_addresses(self):
        with Dnsmasq({"www.test": FOUR}) as dns:
            client = self.client(dns)
            at = self.at(client, "www.test", endpoint__max_connections=64)
            started = [client.start(at) for _ in range(40)]
            results = [lease.wait() for lease in started]
            spread = collections.Counter(self.host(result) for result in results)
            self.assertEqual(spread, {address: 10 for address in FOUR})
            for lease in started:
                lease.write(b"x")
                self.assertEqual(lease.read()["data"], b"x")
                lease.release()
            again = [client.start(at) for _ in range(40)]
            self.assertEqual([result["reused"] for result in (lease.wait() for lease in again)], [1] * 40)
            for lease in again:
                lease.release()
            self.assertEqual(client.figure("connections.opened"), 40)


if __name__ == "__main__":
    main()
