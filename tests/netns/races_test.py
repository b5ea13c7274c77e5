"""Scenarios of races over a wire that misbehaves: ST-01 … ST-11, ST-16, ST-21, ST-22."""

import collections
import json
import time

import scenario  # first: it finds the modules of tests/support
import certificates
import harness
import processes
from scenario import MS, ScenarioTest

V4, V6 = "10.9.0.2", "2001:db8:9::2"
V4S, V6S = harness.SERVERS_V4, harness.SERVERS_V6
EAGER = 2000  # an attempt delay that nothing but a failure can undercut
PROOF_MS = 250  # how long an answer proves that its address lives


def both(a=V4, aaaa=V6):
    return {"A": [a], "AAAA": [aaaa]}


class Races(ScenarioTest):
    def test_ST_01_v6_black_hole(self):
        self.net.dns({"st01.test": both(), "warm.test": {"A": [V4S[1]]}})
        self.net.policy(V6, drop="all")
        dialer = self.dialer()
        dialer.endpoint(1, f"tcp://warm.test:{self.port}")
        self.assertLease(dialer.lease(1, 1))
        baseline = dialer.fds()
        dialer.endpoint(0, f"tcp://st01.test:{self.port}")
        entry = dialer.lease(0, 0)
        self.assertLease(entry, V4)
        self.assertGaps(entry, 250)
        self.assertWire([V4S[1], V6, V4], 0)
        after = self.syns()
        self.assertGreaterEqual(after[2][0] - after[1][0], (250 - self.late_ms) * MS)
        self.note("connected after", entry["connection"]["connected_ns"])
        self.assertEqual(dialer.say(0), 5)
        dialer.release(0)
        self.assertBaseline(dialer, baseline)
        figures = json.loads(dialer.text("metrics"))["pool"]["figures"]
        self.assertEqual(figures["race.fallbacks"], 1)

    def test_ST_02_aaaa_never(self):
        self.net.dns({"st02.test": {"A": [V4], "AAAA": {"drop": True}}})
        _, entry = self.dial("st02.test")
        self.assertLease(entry, V4)
        self.assertWire([V4])
        waited = self.attempts(entry)[0][0] - self.answered(entry, "A")
        self.assertGreaterEqual(waited, 50 * MS)
        self.note("SYN after A", waited)
        # Nothing waited for the lookup: its second query is a second away.
        again = self.queries(type="AAAA")[1:]
        self.assertTrue(not again or self.syns()[0][0] < again[0]["time_ns"])

    def test_ST_03_a_never(self):
        self.net.dns({"st03.test": {"A": {"drop": True}, "AAAA": [V6]}})
        _, entry = self.dial("st03.test")
        self.assertLease(entry, V6)
        self.assertWire([V6])
        start = self.attempts(entry)[0][0]
        self.note("SYN after AAAA", start - self.answered(entry, "AAAA"))
        again = self.queries(type="A")[1:]
        self.assertTrue(not again or self.syns()[0][0] < again[0]["time_ns"])

    def test_ST_04_aaaa_late_20(self):
        # A resolution delay that a busy machine cannot exceed by itself.
        self.net.dns({"st04.test": {"A": [V4], "AAAA": {"answers": [V6], "delay_ms": 20}}})
        _, entry = self.dial("st04.test", "aaaa_timeout=1s")
        self.assertLease(entry, V6)
        self.assertWire([V6])
        start = self.attempts(entry)[0][0]
        self.assertGreaterEqual(start, 20 * MS)
        self.assertLess(start, self.answered(entry, "A") + 1000 * MS)
        self.note("SYN after the dial's start", start)

    def test_ST_05_aaaa_late_200(self):
        # Delays so long that a busy machine does not change the order.
        self.net.dns({"st05.test": {"A": [V4], "AAAA": {"answers": [V6], "delay_ms": 600}}})
        self.net.policy(V4, drop="all")
        _, entry = self.dial("st05.test", "connect_delay=1s")
        self.assertLease(entry, V6)
        self.assertWire([V4, V6], 1000)
        self.assertGaps(entry, 1000)
        waited = self.attempts(entry)[0][0] - self.answered(entry, "A")
        self.assertGreaterEqual(waited, 50 * MS)
        self.note("SYN after A", waited)

    def test_ST_06_slow_first_still_wins(self):
        self.net.dns({"st06.test": both()})
        self.net.policy(V6, delay_ms=700)
        self.net.policy(V4, drop="all")
        _, entry = self.dial("st06.test")
        self.assertLease(entry, V6)
        self.assertWire([V6, V4], 250)
        self.assertGaps(entry, 250)
        self.assertGreaterEqual(entry["connection"]["rtt_ns"], 700 * MS)
        self.note("v6 connected after", entry["connection"]["connected_ns"])

    def test_ST_06_late_syn_ack_is_reset(self):
        self.net.dns({"st06b.test": both()})
        self.net.policy(V6, delay_ms=800)
        dialer, entry = self.dial("st06b.test")
        self.assertLease(entry, V4)
        self.assertWire([V6, V4], 250)
        self.note("v4 connected after", entry["connection"]["connected_ns"])
        self.assertEqual(dialer.say(0), 5)
        reset = self.net.wait_packets("RST", since=self.since, target=V6)[0]
        self.catch_up()
        late = self.net.packets("SYN-ACK", self.since, source=V6)[0]
        self.assertGreaterEqual(reset["time_ns"], late["time_ns"])
        self.assertEqual(self.servers.accepted_by(self.since), {V4: 1})

    def test_ST_07_refused_fast(self):
        self.net.dns({"st07.test": both(), "five.test": {"A": V4S[2:5], "AAAA": {"answers": V6S[2:4], "delay_ms": 50}}})
        self.net.policy(V6, refuse="syn")
        _, entry = self.dial("st07.test", f"connect_delay={EAGER}ms")
        self.assertLease(entry, V4)
        self.assertWire([V6, V4], 10)
        self.assertLess(self.assertGaps(entry, 10)[0], EAGER * MS)
        for address in (*V4S[2:5], *V6S[2:4]):
            self.net.policy(address, refuse="syn")
        self.since = time.monotonic_ns()
        _, entry = self.dial("five.test", f"connect_delay={EAGER}ms", "aaaa_timeout=1s")
        self.assertEqual(entry["status"], "E_CONNECT_REFUSED")
        tried = [a for a in entry["attempts"] if a["target"].startswith("tcp:")]
        self.assertEqual([(a["status"], a["errno"]) for a in tried], [("E_CONNECT_REFUSED", 111)] * 5)
        self.assertGaps(entry, 10, "five refused: gap")
        self.assertEqual([":" in address for _, address in self.syns(least=5)], [True, False, True, False, False])
        self.assertLess(sum(self.assertGaps(entry, 10)), 4 * EAGER * MS)

    def test_ST_08_all_dead(self):
        """Order, the cap of six, and the first family's count, in two races at once on two ports."""
        self.net.dns({"st08.test": {"A": V4S[:4], "AAAA": {"answers": V6S[:4], "delay_ms": 50}}})
        for address in (*V4S[:4], *V6S[:4]):
            self.net.policy(address, drop="all")
        dialer = self.dialer()
        limits = ("dial.timeout=3s", "dns.timeout=2s", "aaaa_timeout=1s")
        dialer.endpoint(0, f"tcp://st08.test:{self.port}", *limits)
        dialer.endpoint(1, f"tcp://st08.test:{self.port + 1}", "race.first_family_count=2", *limits)
        dialer.acquire(0, 0)
        dialer.acquire(1, 1)
        for number, (entry, port) in enumerate(zip(dialer.leases(0, 2), (self.port, self.port + 1))):
            self.assertEqual(entry["status"], "E_DIAL_TIMEOUT")
            self.assertEqual(len(self.attempts(entry)), 8)
            families = "".join("6" if ":" in address else "4" for _, address in self.syns(port=port, least=8))
            self.assertEqual(families, "66464644" if number else "64646464")
            self.assertEqual(len({address for _, address in self.attempts(entry)}), 8)
            self.assertGaps(entry, 250)
            tried = [a for a in entry["attempts"] if a["target"].startswith("tcp:")]
            for attempt in tried:
                at = attempt["started_ns"]
                running = [a for a in tried if a["started_ns"] <= at < a["started_ns"] + a["duration_ns"]]
                self.assertLessEqual(len(running), 6)
            first_end = tried[0]["started_ns"] + tried[0]["duration_ns"]
            self.assertGreaterEqual(first_end, tried[6]["started_ns"] - 50 * MS)
            self.assertLessEqual(first_end, tried[6]["started_ns"])
            self.assertGreaterEqual(tried[7]["started_ns"] + tried[7]["duration_ns"], 3000 * MS)
            self.note("ended after", tried[7]["started_ns"] + tried[7]["duration_ns"])

    def test_ST_09_tls_stall(self):
        authority = certificates.Authority()
        self.addCleanup(authority.close)
        certificate, key = authority.issue("st09.test")
        mute = scenario.Servers(self.net, mute=[V6])
        self.addCleanup(mute.close)
        good = self.net.server_socket(V4, mute.port)
        self.addCleanup(good.close)
        scenario.serve_tls(good, certificate, key)
        self.net.dns({"st09.test": both()})
        trust = f"tls.ca_file={authority.certificate}"
        dialer, entry = self.dial("st09.test", trust, scheme="tls", port=mute.port)
        self.assertLease(entry, V4)
        self.assertEqual(entry["connection"]["tls"]["server_name"], "st09.test")
        self.assertWire([V6, V4], 250, port=mute.port)
        self.assertGaps(entry, 250)
        self.assertEqual(mute.accepted_by(), {V6: 1})
        processes.poll_until(lambda: len(mute.closed) == 1, "the stalled connection's end")
        self.assertEqual(dialer.say(0), 5)
        self.since = time.monotonic_ns()
        _, entry = self.dial("st09.test", trust, "race.until=tcp", "tls.timeout=400ms", scheme="tls", port=mute.port)
        self.assertEqual(entry["status"], "E_TLS_TIMEOUT")
        self.assertWire([V6], port=mute.port)

    def test_ST_10_cancel_matrix(self):
        self.net.dns({"mute.test": {"*": {"drop": True}}, "half.test": {"A": [V4S[1]], "AAAA": {"drop": True}},
                      "dead.test": {"A": V4S[1:4], "AAAA": V6S[1:4]}, "good.test": both()})
        for address in (*V4S[1:4], *V6S[1:4]):
            self.net.policy(address, drop="all")
        dialer = self.dialer("aaaa_timeout=1s", "connect_delay=20ms", "endpoint.max_connections=64", "dns.timeout=20s")
        for tag, name in enumerate(("mute.test", "half.test", "dead.test", "good.test")):
            dialer.endpoint(tag, f"tcp://{name}:{self.port}")
        self.assertLease(dialer.lease(3, 0))
        dialer.release(0)
        baseline = dialer.fds()
        # While nothing is known, in the resolution delay, and with SYNs in flight.
        states = ((0, lambda: self.net.wait_queries(since=self.since, name="mute.test")),
                  (1, lambda: self.net.wait_queries(since=self.since, name="half.test", type="A")),
                  (2, lambda: self.syns(least=4)))
        for tag, reached in states:
            dialer.acquire(tag, 10 * (tag + 1), 10)
            reached()
            dialer.command("cancel", 10 * (tag + 1), 10)
            for entry in dialer.leases(10 * (tag + 1), 10):
                self.assertEqual(entry["status"], "E_CANCELLED")
        # Around the success.
        rounds, first = 60, 100
        for number in range(first, first + rounds):
            dialer.command("acquire", 3, number, 1, wait=False)
            if number % 3 == 0:
                dialer.command("cancel", number, 1, wait=False)
            else:
                time.sleep((number % 10) * 0.0003)  # how the cancellation meets the success is what is tested
                dialer.command("cancel", number, 1, wait=False)
        ended = collections.Counter(entry["status"] for entry in dialer.leases(first, rounds))
        self.assertEqual(sum(ended.values()), rounds)
        self.assertLessEqual(set(ended), {"OK", "E_CANCELLED"})
        self.measured.append(f"around the success: {dict(ended)}")
        dialer.release(first, rounds)
        # Connections whose lease was cancelled late stay pooled: at most as many as the rounds ran at once.
        processes.poll_until(lambda: dialer.fds() <= baseline + rounds, "descriptors")
        # The pool goes with everything in flight.
        dialer.acquire(0, 1000, 10)
        dialer.acquire(2, 1010, 10)
        dialer.command("free")
        for entry in dialer.leases(1000, 20):
            self.assertEqual(entry["status"], "E_CLOSED")
        self.assertBaseline(dialer, baseline)
        dialer.ended_leases()
        # Closed with everything in flight: the same, and nothing new is taken.
        closed = self.dialer("connect_delay=20ms")
        for tag, name in enumerate(("mute.test", "dead.test")):
            closed.endpoint(tag, f"tcp://{name}:{self.port}")
            closed.acquire(tag, 10 * tag, 10)
        closed.command("close")
        self.assertEqual({entry["status"] for entry in closed.leases(0, 20)}, {"E_CLOSED"})
        self.assertRaisesRegex(ValueError, "E_CLOSED", closed.acquire, 0, 100)

    def test_ST_11_two_winners(self):
        """Both SYN-ACKs come together: one wins, the other is closed without a byte."""
        self.net.dns({"st11.test": both()})
        self.net.policy(V6, delay_ms=200)
        self.net.policy(V4, delay_ms=100)
        dialer = self.dialer("connect_delay=100ms", "race.adaptive=false")
        dialer.endpoint(0, f"tcp://st11.test:{self.port}")
        winners = collections.Counter()
        for number in range(4):
            entry = dialer.lease(0, number)
            self.assertLease(entry)
            winners[entry["connection"]["address"][0] == "["] += 1
            self.assertEqual(dialer.say(number), 5)
            dialer.release(number)
        with self.servers.lock:
            accepted = [(a, peer) for a, peer, when in self.servers.accepted if when >= self.since]
            said = {flow for flow in self.servers.said if flow in accepted}
        self.assertEqual(len(said), 4)
        self.measured.append(f"v6 won {winners[True]}, v4 {winners[False]}; {len(accepted)} accepted")
        processes.poll_until(lambda: set(accepted) <= set(self.servers.closed), "the losers' end")

    def test_ST_22_unique_local_destination(self):
        """RFC 6724 rule 5: an address whose label no source address has goes after IPv4."""
        ula = "fd00:9::2"
        harness.ip("-n", self.net.server, "addr", "add", f"{ula}/64", "dev", "ts0", "nodad")
        harness.ip("-n", self.net.client, "route", "add", "fd00:9::/64", "dev", "tc0")
        self.net.policy(V4, drop="all")
        self.net.policy(ula, drop="all")
        self.net.dns({"st22.test": {"A": [V4], "AAAA": {"answers": [ula], "delay_ms": 20}}})
        _, entry = self.dial("st22.test", "dial.timeout=1500ms", "aaaa_timeout=1s")
        self.assertEqual(entry["status"], "E_DIAL_TIMEOUT")
        self.assertWire([V4, ula], 250)


class Spread(ScenarioTest):
    def test_ST_16_spread_black_hole_and_heal(self):
        addresses, dead = V4S[:4], V4S[3]
        self.net.dns({"st16.test": {"A": addresses}})
        dialer = self.dialer("endpoint.max_connections=40")
        dialer.endpoint(0, f"tcp://st16.test:{self.port}")
        dialer.acquire(0, 0, 40)
        ended = dialer.leases(0, 40)
        for entry in ended:
            self.assertLease(entry)
        processes.poll_until(lambda: sum(self.servers.accepted_by(self.since).values()) >= 40, "accepted")
        self.assertEqual(self.servers.accepted_by(self.since), dict.fromkeys(addresses, 10))
        dialer.release(0, 40)
        # The same with one address dead, for ten seconds: cold, and then one dial at a time.
        self.net.policy(dead, drop="all")
        self.wait_until(max(entry["time_ns"] for entry in ended) + PROOF_MS * MS)
        for number, partition in enumerate(("warm", "cold")):
            self.since = time.monotonic_ns()
            if partition == "cold":
                dialer.endpoint(1, f"tcp://st16.test:{self.port}", "partition=cold")
            dialer.acquire(number, 100 + 40 * number, 40)
            for entry in dialer.leases(100 + 40 * number, 40):
                self.assertLease(entry)
            processes.poll_until(lambda: sum(self.servers.accepted_by(self.since).values()) >= 40,
                                 "accepted")
            shares = sorted(self.servers.accepted_by(self.since).values())
            self.assertEqual((len(shares), sum(shares)), (3, 40))
            self.assertLessEqual(max(shares) - min(shares), 2)
            dialer.release(100 + 40 * number, 40)
            tried = sum(address == dead for _, address in self.syns(least=40))
            self.measured.append(f"{partition}: shares {shares}, SYNs to the dead one {tried}")
            self.assertLessEqual(tried, 3)
        number, began = 1000, self.since
        while time.monotonic_ns() < began + 10_000 * MS:
            self.assertLease(dialer.lease(1, number))
            dialer.release(number)
            number += 1
            self.wait_until(began + (number - 1000) * 100 * MS)  # the load: ten dials a second
        tried = sum(address == dead and when < began + 10_000 * MS for when, address in self.syns())
        self.measured.append(f"{tried} SYNs to the dead one in 10 s of {number - 1000} more dials")
        self.assertLessEqual(tried, 3)
        # Another endpoint, with a short cooldown, finds the address dead; it heals.
        dialer.endpoint(2, f"tcp://st16.test:{self.port}", "partition=heal", "balance.cooldown_max=1s")
        dialer.acquire(2, 200, 8)
        for entry in dialer.leases(200, 8):
            self.assertLease(entry)
        dialer.release(200, 8)
        self.net.policy(dead)
        healed = time.monotonic_ns()

        def used_again():
            nonlocal number
            dialer.acquire(2, number, 4)
            dialer.leases(number, 4)
            dialer.release(number, 4)
            number += 4
            return self.servers.accepted_by(healed).get(dead)

        processes.poll_until(used_again, "the healed address to be used", timeout=20)
        self.note("used again after", time.monotonic_ns() - healed)


class WithoutIPv6(ScenarioTest):
    IPV6 = False

    def check(self, name):
        """The IPv6 address fails at once, and nobody waits for AAAA answers."""
        self.since = time.monotonic_ns()
        _, entry = self.dial(name, f"connect_delay={EAGER}ms", "aaaa_timeout=1s")
        self.assertLease(entry, V4)
        self.assertWire([V4])
        start = self.attempts(entry)[-1][0]
        self.assertLess(start, self.answered(entry, "A") + 1000 * MS)
        self.note(f"{name}: SYN after A", start - self.answered(entry, "A"))

    def test_ST_21_no_v6_host(self):
        self.net.dns({"st21.test": both(), "st21late.test": {"A": [V4], "AAAA": {"drop": True}}})
        self.check("st21.test")
        self.check("st21late.test")
        harness.ip("-n", self.net.client, "-6", "route", "add", "blackhole", "default")
        self.check("st21.test")
        self.check("st21late.test")


if __name__ == "__main__":
    scenario.main()
