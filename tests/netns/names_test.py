"""Scenarios of names whose servers misbehave: ST-12 … ST-15, ST-17 … ST-20, ST-24."""

import pathlib
import time

import scenario  # first: it finds the modules of tests/support
import dns_server
import harness
import processes
from scenario import MS, ScenarioTest

V4, V6 = "10.9.0.2", "2001:db8:9::2"
V4S, V6S = harness.SERVERS_V4, harness.SERVERS_V6
PATIENT = "resolve_timeout=4s"  # a busy machine repeats no query
SILENT_PLACE = "10.9.0.9"  # no DNS server there: the kernel answers port unreachable


def header(answers, authority=0, flags=0x8180):
    """Of an answer given as hex; the id is filled in by the server."""
    return dns_server.struct.pack("!HHHHHH", 0, flags, 1, answers, authority, 0)


def question(name, number=1):
    return dns_server.encode_name(name) + dns_server.struct.pack("!HH", number, 1)


class Names(ScenarioTest):
    def count(self, name, record_type=None):
        fields = {"name": name, **({"type": record_type} if record_type else {})}
        return len(self.queries(**fields))

    def test_ST_12_aaaa_fails_a_works(self):
        """The failure ends the wait for AAAA answers at once, and is all that is remembered of it."""
        codes = ("NXDOMAIN", "NOERROR", "SERVFAIL", "REFUSED", "FORMERR")
        zone = {f"{code.lower()}.test": {"A": [V4], "AAAA": {"rcode": code}} for code in codes}
        self.net.dns(zone)
        dialer = self.dialer("aaaa_timeout=1s", PATIENT)
        for tag, name in enumerate(zone):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
            entry = dialer.lease(tag, tag)
            self.assertLease(entry, V4)
            start = self.attempts(entry)[0][0]
            self.assertLess(start, self.answered(entry, "A") + 1000 * MS)
            self.note(f"{name}: SYN after A", start - self.answered(entry, "A"))
            self.assertEqual(self.count(name, "A"), 1)
            self.assertEqual(self.count(name, "AAAA"), 1)

    def test_ST_13_failover_from_a_silent_server(self):
        self.net.dns({"st13.test": {"A": [V4], "AAAA": [V6]}})
        self.net.dns_server("10.9.0.54", drop=True)
        _, entry = self.dial("st13.test", "resolve_timeout=300ms",
                             pool=["dns.servers=10.9.0.54,10.9.0.53"])
        self.assertLease(entry)
        self.assertGreaterEqual(entry["connection"]["resolved_ns"], 300 * MS)
        self.assertLess(entry["connection"]["resolved_ns"], 5000 * MS)
        self.note("resolved after", entry["connection"]["resolved_ns"])
        asked = [query["server"] for query in self.queries(type="AAAA")]
        self.assertEqual(asked[:2], ["10.9.0.54", "10.9.0.53"])

    def test_ST_13_failover_from_a_refusing_server(self):
        self.net.dns({"st13r.test": {"A": [V4], "AAAA": [V6]}})
        _, entry = self.dial("st13r.test", "resolve_timeout=5s", "dns.timeout=20s",
                             pool=[f"dns.servers={SILENT_PLACE},10.9.0.53"])
        self.assertLease(entry)
        self.assertLess(entry["connection"]["resolved_ns"], 5000 * MS)
        self.note("resolved after", entry["connection"]["resolved_ns"])

    def test_ST_13_all_servers_fail(self):
        """One pool for each kind, all at once."""
        self.net.dns({"servfail.test": {"*": {"rcode": "SERVFAIL"}}, "refused.test": {"*": {"rcode": "REFUSED"}},
                      "silent.test": {"*": {"drop": True}}})
        cases = {"silent.test": "E_DNS_TIMEOUT", "servfail.test": "E_DNS_SERVER_FAILURE",
                 "refused.test": "E_DNS_REFUSED", "none.test": "E_DNS_NOT_FOUND"}
        dialer = self.dialer("dns.servers=10.9.0.53,10.9.0.54", "dns.timeout=1s", "resolve_timeout=300ms")
        for tag, name in enumerate(cases):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
            dialer.acquire(tag, tag)
        for entry, (name, status) in zip(dialer.leases(0, len(cases)), cases.items()):
            self.assertEqual(entry["status"], status, entry)
            ends = max(a["started_ns"] + a["duration_ns"] for a in entry["attempts"])
            self.note(f"{name} {status} after", ends)
            if status == "E_DNS_TIMEOUT":
                self.assertGreaterEqual(ends, 1000 * MS)

    def test_ST_14_lives_of_answers(self):
        """Queries for a name are as far apart as its answer lives; in between none is made."""
        self.net.dns({"ttl2.test": {"A": {"answers": [V4], "ttl": 2}, "AAAA": {"answers": [V6], "ttl": 2}},
                      "alias.test": {"*": {"cname": "target.test", "ttl": 1}},
                      "target.test": {"A": {"answers": [V4], "ttl": 100}},
                      "zero.test": {"A": {"answers": [V4], "ttl": 0}},
                      "long.test": {"A": {"answers": [V4], "ttl": 1000}},
                      "nodata.test": {"A": {"answers": [V4], "ttl": 1000}, "AAAA": {"soa_ttl": 3}}})
        # name, type: how long its answer lives
        lives = {("ttl2.test", "A"): 2, ("ttl2.test", "AAAA"): 2, ("alias.test", "A"): 1, ("zero.test", "A"): 1,
                 ("long.test", "A"): 3, ("nodata.test", "AAAA"): 3}
        names = sorted({name for name, _ in lives})
        dialer = self.dialer("dns.max_ttl=3s", "pool.idle_timeout=0", PATIENT)
        for tag, name in enumerate(names):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
        number, began = 0, time.monotonic_ns()
        for rounds in range(12):  # a dial of every name each 0.3 s
            for tag in range(len(names)):
                dialer.acquire(tag, number + tag)
            for entry in dialer.leases(number, len(names)):
                self.assertLease(entry)
            dialer.release(number, len(names))
            number += len(names)
            self.wait_until(began + (rounds + 1) * 300 * MS)
        for (name, record_type), life in lives.items():
            times = [q["time_ns"] for q in self.queries(name=name, type=record_type)]
            gaps = [(after - before) / 1e9 for before, after in zip(times, times[1:])]
            self.measured.append(f"{name} {record_type}: {len(times)} queries")
            self.assertGreaterEqual(len(times), 2, name)
            # The answer's life begins a moment after the query's arrival.
            self.assertGreaterEqual(min(gaps), life, f"{name} {record_type}")

    def test_ST_14_a_hundred_dials_one_query(self):
        self.net.dns({"st14.test": {"A": {"answers": [V4], "ttl": 60}, "AAAA": {"answers": [V6], "ttl": 60}}})
        dialer = self.dialer("pool.idle_timeout=0", PATIENT)
        dialer.endpoint(0, f"tcp://st14.test:{self.port}")
        for number in range(0, 100, 10):
            dialer.acquire(0, number, 10)
            for entry in dialer.leases(number, 10):
                self.assertLease(entry)
            dialer.release(number, 10)
        self.assertEqual((self.count("st14.test", "A"), self.count("st14.test", "AAAA")), (1, 1))

    def test_ST_15_single_flight(self):
        late = {"answers": [V6], "delay_ms": 100}
        self.net.dns({"st15.test": {"A": {"answers": [V4], "delay_ms": 100}, "AAAA": late},
                      "left.test": {"A": {"answers": [V4], "delay_ms": 300}, "AAAA": {"answers": [], "delay_ms": 300}}})
        dialer = self.dialer("endpoint.max_connections=64", PATIENT)
        dialer.endpoint(0, f"tcp://st15.test:{self.port}")
        dialer.acquire(0, 0, 50)
        for entry in dialer.leases(0, 50):
            self.assertLease(entry)
        self.assertEqual((self.count("st15.test", "A"), self.count("st15.test", "AAAA")), (1, 1))
        # Forty-nine leave; the fiftieth is served by the same queries.
        dialer.endpoint(1, f"tcp://left.test:{self.port}")
        dialer.acquire(1, 100, 50)
        self.net.wait_queries(since=self.since, name="left.test", type="A")
        dialer.command("cancel", 100, 49)
        ended = dialer.leases(100, 50)
        self.assertEqual({entry["status"] for entry in ended[:49]}, {"E_CANCELLED"})
        self.assertLease(ended[49])
        self.assertEqual((self.count("left.test", "A"), self.count("left.test", "AAAA")), (1, 1))

    def test_ST_15_a_late_answer_is_kept(self):
        """R9: the AAAA answer that came after the win is in the cache."""
        self.net.dns({"r9.test": {"A": [V4], "AAAA": {"answers": [V6], "delay_ms": 600}}})
        dialer = self.dialer("pool.idle_timeout=0", PATIENT)
        dialer.endpoint(0, f"tcp://r9.test:{self.port}")
        entry = dialer.lease(0, 0)
        self.assertLease(entry, V4)
        self.note("v4 won after", entry["connection"]["connected_ns"])
        dialer.release(0)
        processes.poll_until(lambda: f"AAAA r9.test: {V6}" in dialer.text("explain", 0), "the AAAA answer in the cache")
        entry = dialer.lease(0, 1)
        self.assertLease(entry, V6)
        self.assertEqual((self.count("r9.test", "A"), self.count("r9.test", "AAAA")), (1, 1))

    def test_ST_17_resolv_conf_changes(self):
        self.net.dns({"before.test": {"A": [V4]}, "after.test": {"A": [V4]}, "empty.test": {"A": [V4]}})
        self.net.dns_server("10.9.0.54", drop=True)
        self.net.write_files(self.net.client, resolv_conf="nameserver 10.9.0.54\n")
        dialer = self.dialer("dns.timeout=10s")
        dialer.endpoint(0, f"tcp://before.test:{self.port}")
        dialer.endpoint(1, f"tcp://after.test:{self.port}")
        dialer.acquire(0, 0)
        self.net.wait_queries(since=self.since, name="before.test", server="10.9.0.54")
        self.net.write_files(self.net.client, resolv_conf="nameserver 10.9.0.53\n")
        written = time.monotonic_ns()
        self.wait_until(written + 1050 * MS)  # the files are looked at once a second
        self.assertLease(dialer.lease(1, 1), V4)
        self.assertEqual({q["server"] for q in self.queries(name="after.test")}, {"10.9.0.53"})
        # The query under way ends by its timeout, and is repeated to the new server.
        self.assertLease(dialer.leases(0)[0], V4)
        asked = [q["server"] for q in self.queries(name="before.test", type="A")]
        self.assertEqual((asked[0], asked[-1]), ("10.9.0.54", "10.9.0.53"))
        # Started before the file is written, as at boot.
        self.net.write_files(self.net.client, resolv_conf="")
        early = self.dialer("dns.failure_min=0", "dns.failure_max=0")
        early.endpoint(0, f"tcp://empty.test:{self.port}")
        failed = early.lease(0, 0)
        self.assertIn(failed["status"], ("E_DNS_UNREACHABLE", "E_DNS_TIMEOUT"), failed)
        self.net.write_files(self.net.client, resolv_conf="nameserver 10.9.0.53\n")
        self.assertLease(early.lease(0, 1), V4)

    def test_ST_18_names_that_ask_nobody(self):
        self.net.dns({"full.test": {"A": [V4]}})
        dialer = self.dialer("connect.timeout=1s")
        refused = ("a..b", "1.2.3", "0x7f.1", "x" * 64, "")
        for tag, host in enumerate(refused):
            self.assertRaises(ValueError, dialer.endpoint, tag, f"tcp://{host}:80")
        hosts = (V4, f"[{V6}]", "localhost", "LOCALHOST.", "a.localhost", "x.invalid", "x.onion", "full.test.")
        for tag, host in enumerate(hosts):
            dialer.endpoint(tag, f"tcp://{host}:{self.port}")
            dialer.acquire(tag, tag)
        ended = dict(zip(hosts, dialer.leases(0, len(hosts))))
        self.assertLease(ended[V4], V4)
        self.assertLease(ended[f"[{V6}]"], V6)
        self.assertLease(ended["full.test."], V4)
        for name in ("localhost", "LOCALHOST.", "a.localhost"):
            self.assertEqual(ended[name]["status"], "E_CONNECT_REFUSED")
        self.assertEqual({address for _, address in self.attempts(ended["a.localhost"])}, {"127.0.0.1", "::1"})
        for name in ("x.invalid", "x.onion"):
            self.assertEqual(ended[name]["status"], "E_DNS_RESERVED")
        self.assertEqual({query["name"] for query in self.queries()}, {"full.test"})

    def test_ST_19_serve_stale(self):
        self.net.dns({"stale.test": {"A": {"answers": [V4], "ttl": 1}, "AAAA": {"answers": [], "soa_ttl": 1}},
                      "gone.test": {"A": {"answers": [V4], "ttl": 1}, "AAAA": {"answers": [], "soa_ttl": 1}}})
        slow, fast = self.dialer("dns.stale_after=500ms"), self.dialer("dns.optimistic=true")
        for dialer in (slow, fast):
            for tag, name in enumerate(("stale.test", "gone.test")):
                dialer.endpoint(tag, f"tcp://{name}:{self.port}")
                self.assertLease(dialer.lease(tag, tag), V4)
                dialer.release(tag)
        answered = time.monotonic_ns()
        self.net.dns({"stale.test": {"*": {"drop": True}}})  # gone.test does not exist any more
        self.wait_until(answered + 1200 * MS)  # the end of the answers' second
        # A new partition has no last good set of its own: only the resolver's stale answer helps it.
        for dialer in (slow, fast):
            dialer.endpoint(2, f"tcp://stale.test:{self.port}", "partition=new")
            dialer.endpoint(3, f"tcp://gone.test:{self.port}", "partition=new")
        slow.acquire(2, 10)
        fast.acquire(2, 10)
        for dialer, least in ((slow, 500), (fast, 0)):
            entry = dialer.leases(10)[0]
            self.assertLease(entry, V4)
            self.assertGreaterEqual(entry["connection"]["resolved_ns"], least * MS)
            self.note("stale answer after", entry["connection"]["resolved_ns"])
        gone = slow.lease(3, 11)
        self.assertEqual(gone["status"], "E_DNS_NOT_FOUND")

    def test_ST_20_hostile_answers(self):
        many = [f"10.9.0.{n % 8 + 2}" if n % 2 else f"10.10.{n}.1" for n in range(200)]
        loop = header(1) + question("pointers.test") + bytes.fromhex("c000") + b"\0" * 8
        address = dns_server.record("b.test", 1, 60, bytes([10, 9, 0, 2]))
        alias = dns_server.record("reversed.test", 5, 60, dns_server.encode_name("b.test"))
        none = {"AAAA": []}
        self.net.dns({
            "owner.test": {"A": {"answers": [V4], "owner": "evil.test"}, **none},
            "reversed.test": {"A": {"raw": (header(2) + question("reversed.test") + address + alias).hex()}, **none},
            "loop.test": {"*": {"cname": "loop2.test"}}, "loop2.test": {"*": {"cname": "loop.test"}},
            "pointers.test": {"A": {"raw": loop.hex()}, **none},
            "short.test": {"A": {"raw": "ffff8180"}, **none},
            "nothing.test": {"A": {"raw": ""}, **none},
            "id.test": {"A": {"answers": [V4], "wrong_id": True}, **none},
            "port.test": {"A": {"answers": [V4], "other_port": True}, **none},
            "many.test": {"A": {"answers": many, "truncate": True, "tcp_step": 500}, **none},
            "bytes.test": {"A": {"answers": [V4], "truncate": True, "tcp_step": 1}, **none},
            "good.test": {"A": [V4], **none}})
        expected = {"owner.test": "E_DNS_NO_DATA", "reversed.test": "OK", "loop.test": "E_DNS_BAD_ANSWER",
                    "pointers.test": "E_DNS_BAD_ANSWER", "short.test": None, "nothing.test": None,
                    "id.test": "E_DNS_TIMEOUT", "port.test": "E_DNS_TIMEOUT", "many.test": "OK",
                    "bytes.test": "OK", "good.test": "OK"}
        dialer = self.dialer("resolve_timeout=1500ms", "resolve_retries=0", "race.max_candidates=64")
        for tag, name in enumerate(expected):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
            dialer.acquire(tag, tag)
        ended = dict(zip(expected, dialer.leases(0, len(expected))))
        self.measured.append(str({name: entry["status"] for name, entry in ended.items()}))
        for name, status in expected.items():
            if status is None:  # whichever: an error of the name, in time
                self.assertTrue(ended[name]["status"].startswith("E_DNS_"), ended[name])
            else:
                self.assertEqual(ended[name]["status"], status, ended[name])
        # The pool lives on.
        dialer.endpoint(len(expected), f"tcp://good.test:{self.port}", "partition=after")
        self.assertLease(dialer.lease(len(expected), len(expected)), V4)

    def test_ST_20_server_closes_tcp(self):
        """The queries under way for other names do not notice."""
        self.net.dns({"closed.test": {"A": {"truncate": True, "tcp_close": True}, "AAAA": []},
                      "slow.test": {"A": {"answers": [V4], "delay_ms": 100}, "AAAA": []}})
        dialer = self.dialer()
        for tag, name in enumerate(("closed.test", "slow.test")):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
            dialer.acquire(tag, tag)
        closed, slow = dialer.leases(0, 2)
        self.assertTrue(closed["status"].startswith("E_DNS_"), closed)
        self.assertLease(slow, V4)
        self.assertNotIn("E_DNS_UNREACHABLE", [attempt["status"] for attempt in self.ledger(slow)])

    def test_ST_24_search_list(self):
        self.net.dns({"short.a.test": {"AAAA": [V6]}, "short.b.test": {"A": [V4]}, "only.b.test": {"A": [V4]},
                      "dotted.name": {"A": [V4S[1]]}, "dotted.name.a.test": {"A": [V4S[2]]}})
        self.net.write_files(self.net.client, resolv_conf="nameserver 10.9.0.53\nsearch a.test b.test\n"
                                                          "options ndots:1\n")
        dialer = self.dialer(PATIENT)
        for tag, name in enumerate(("short", "only", "dotted.name")):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
            dialer.acquire(tag, tag)
        short, only, dotted = dialer.leases(0, 3)
        self.assertLease(short, V6)
        self.assertEqual(self.count("short.b.test"), 0)  # both families come from one name
        self.assertLease(only, V4)
        self.assertEqual((self.count("only.a.test"), self.count("only.b.test"), self.count("only")), (2, 2, 0))
        self.assertLease(dotted, V4S[1])
        self.assertEqual(self.count("dotted.name.a.test"), 0)

    def test_ST_24_hosts_file(self):
        self.net.dns({})
        hosts = f"{V4} inhosts.test alias\n"
        self.net.write_files(self.net.client, hosts=harness.DEFAULT_HOSTS + hosts)
        dialer = self.dialer("pool.idle_timeout=0")
        dialer.endpoint(0, f"tcp://inhosts.test:{self.port}")
        dialer.endpoint(1, f"tcp://ALIAS:{self.port}")
        self.assertLease(dialer.lease(0, 0), V4)
        self.assertLease(dialer.lease(1, 1), V4)
        dialer.release(0, 2)
        self.assertEqual(self.queries(), [])
        pathlib.Path(f"/etc/netns/{self.net.client}/hosts").write_text(f"{V6S[3]} inhosts.test\n")
        edited = time.monotonic_ns()
        number = 2

        def follows():
            nonlocal number
            entry = dialer.lease(0, number)
            self.assertLease(entry)
            dialer.release(number)
            number += 1
            return entry["connection"]["address"].startswith(f"[{V6S[3]}]")

        processes.poll_until(follows, "the new hosts file to be used", timeout=5)
        self.note("hosts file followed after", time.monotonic_ns() - edited)


if __name__ == "__main__":
    scenario.main()
