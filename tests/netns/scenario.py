"""What the scenario tests share: a network with servers on it, the dialer in the client's namespace, measures.

Attempts are known from two sides: the library's ledger (exact starts, so lower bounds are strict there) and the
wire's log (what really left; the wire's process may look late, by LATE_MS).
"""

import os
import pathlib
import selectors
import socket
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

import harness  # noqa: E402
import processes  # noqa: E402

MS = 1_000_000
LATE_MS = 5       # how late the wire looks at a packet
LATE_BUSY_MS = 200  # … where it may not run before other processes
TIMEOUT_S = 30
DIALER = None  # the program; the first argument of the test


class Dialer(processes.JsonChild):
    """dialer.c inside the client's namespace: a pool that lives until the test ends."""

    def __init__(self, net, *options, program=None):
        nice, ip = processes.need("nice", "ip")
        # Its leases end as broken on purpose, so that each needs a dial: no outage to the breaker.
        argv = [nice, "-n", "-15", ip, "netns", "exec", net.client, program or DIALER, "breaker.mode=off",
                *options]
        pipe = processes.subprocess.PIPE
        self.process = processes.start(argv, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.name = "dialer"
        self.condition = threading.Condition()
        self.entries, self.acks, self.ended, self.ready = [], {}, False, None
        self.next_id = 1
        threading.Thread(target=self._read, daemon=True).start()
        self._wait(lambda: self.ready, "start")

    def command(self, *words, wait=True):
        """Returns once the dialer has carried it out (wait=False: at once); ValueError with its reason."""
        number, self.next_id = self.next_id, self.next_id + 1
        self.process.stdin.write(" ".join(map(str, (number, *words))) + "\n")
        if wait:
            ack = self._wait(lambda: self.acks.get(number), f"command {words}", TIMEOUT_S)
            if "error" in ack:
                raise ValueError(ack["error"])

    def endpoint(self, tag, url, *options):
        self.command("endpoint", tag, url, *options)

    def acquire(self, tag, first=0, count=1):
        self.command("acquire", tag, first, count)

    def release(self, first=0, count=1, reusable=False):
        self.command("release", first, count, int(reusable))

    def ended_leases(self):
        """What the leases that ended say, by their id; a lease that ended twice is an error."""
        with self.condition:
            ended = [entry for entry in self.entries if "lease" in entry]
        by_id = {entry["lease"]: entry for entry in ended}
        if len(by_id) != len(ended):
            raise AssertionError("a lease ended twice")
        return by_id

    def leases(self, first=0, count=1, timeout=TIMEOUT_S):
        """Waits for leases to end."""
        wanted = range(first, first + count)
        self._wait(lambda: len({e["lease"] for e in self.entries if "lease" in e}.intersection(wanted)) == count,
                   f"the end of leases {first} to {first + count - 1}", timeout)
        ended = self.ended_leases()
        return [ended[number] for number in wanted]

    def lease(self, tag=0, number=0):
        """Acquires one lease and waits for it."""
        self.acquire(tag, number)
        return self.leases(number)[0]

    def say(self, number):
        """Writes five bytes through a lease; how many came back."""
        since = time.monotonic_ns()
        self.command("say", number)
        return self.wait_for(lambda e: e.get("heard") == number, "an echo", since=since)[0]["bytes"]

    def close(self):
        """Ends it by the end of its stdin; a crash or a leak on the way is an error."""
        try:
            self.process.stdin.close()
            ended = self.process.wait(TIMEOUT_S)
        finally:
            super().close()
        if ended != 0:
            raise AssertionError(f"the dialer ended with {ended}")

    def fds(self):
        since = time.monotonic_ns()
        self.command("fds")
        return self.wait_for(lambda e: "fds" in e, "fds", since=since)[0]["fds"]

    def text(self, *what):
        since = time.monotonic_ns()
        self.command(*what)
        return self.wait_for(lambda e: "text" in e, str(what), since=since)[0]["text"]


class Servers:
    """Servers on one port of several addresses: they echo ("echo"), or accept and say nothing ("mute")."""

    def __init__(self, net, echo=(), mute=()):
        self.selector = selectors.DefaultSelector()
        self.lock = threading.Lock()
        self.accepted = []  # (address, peer's port, time)
        self.said = []      # (address, peer's port) of connections that brought bytes
        self.closed = []    # likewise, of those that ended
        self.port = 0
        self.listeners = []
        for address in (*echo, *mute):
            listener = net.server_socket(address, self.port)
            self.port = listener.getsockname()[1]
            listener.setblocking(False)
            self.listeners.append(listener)
            self.selector.register(listener, selectors.EVENT_READ, (None, address, address in mute))
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.running:
            for key, _ in self.selector.select(0.2):
                try:
                    self.serve(key)
                except OSError:
                    self.drop(key)

    def serve(self, key):
        peer, address, mute = key.data
        if peer is None:
            connection, place = key.fileobj.accept()
            connection.setblocking(False)
            with self.lock:
                self.accepted.append((address, place[1], time.monotonic_ns()))
            self.selector.register(connection, selectors.EVENT_READ, (place[1], address, mute))
            return
        data = key.fileobj.recv(65536)
        if not data:
            self.drop(key)
            return
        with self.lock:
            self.said.append((address, peer))
        if not mute:
            key.fileobj.send(data)

    def drop(self, key):
        self.selector.unregister(key.fileobj)
        key.fileobj.close()
        with self.lock:
            self.closed.append((key.data[1], key.data[0]))

    def accepted_by(self, since=0):
        """How many connections each address accepted."""
        with self.lock:
            taken = [address for address, _, when in self.accepted if when >= since]
        return {address: taken.count(address) for address in set(taken)}

    def close(self):
        self.running = False
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


def serve_tls(listener, certificate, key):
    """Echoes over TLS, a thread for each connection, until the listener is closed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65536):
                    secured.sendall(data)
        except OSError:
            pass

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(TIMEOUT_S)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class ScenarioTest(unittest.TestCase):
    """One network for all tests of a class; each test has its own names, dialers and times."""

    IPV6 = True
    RESOLV_CONF = "nameserver 10.9.0.53\n"

    @classmethod
    def setUpClass(cls):
        cls.net = harness.Network(ipv6=cls.IPV6)
        cls.net.__enter__()
        cls.addClassCleanup(cls.net.close)
        cls.servers = Servers(cls.net, echo=[*harness.SERVERS_V4, *harness.SERVERS_V6])
        cls.addClassCleanup(cls.servers.close)
        cls.port = cls.servers.port
        cls.late_ms = LATE_MS if cls.net.relay.ready.get("first") else LATE_BUSY_MS

    def setUp(self):
        for address in (*harness.SERVERS_V4, *harness.SERVERS_V6):
            self.net.policy(address)
        self.net.write_files(self.net.client, resolv_conf=self.RESOLV_CONF, hosts=harness.DEFAULT_HOSTS)
        self.net.dns({})
        for server in harness.DNS_SERVERS:
            self.net.dns_server(server)
        self.since = time.monotonic_ns()
        self.measured = []

    def tearDown(self):
        if self.measured:
            print(f"{self.id().split('.')[-1]}: " + "; ".join(self.measured), flush=True)

    def note(self, what, nanos):
        """A measured time, printed after the test."""
        self.measured.append(f"{what} {nanos / MS:.1f} ms")

    def dialer(self, *options):
        made = Dialer(self.net, *options)
        self.addCleanup(made.close)
        return made

    def dial(self, name, *options, scheme="tcp", port=None, pool=()):
        """(dialer, how the lease ended) for one lease of a fresh pool."""
        dialer = self.dialer(*pool)
        dialer.endpoint(0, f"{scheme}://{name}:{port or self.port}", *options)
        return dialer, dialer.lease()

    def wait_until(self, nanos):
        """Until a time of the clock: for what lapses by itself and tells nobody, and for the pace of a load."""
        time.sleep(max(0, nanos - time.monotonic_ns()) / 1e9)

    # --- attempts

    def ledger(self, entry):
        return entry["connection"]["attempts"] if "connection" in entry else entry["attempts"]

    def attempts(self, entry):
        """The connection attempts of a lease: (start since the dial's start, address) in their order."""
        found = []
        for attempt in self.ledger(entry):
            if attempt["target"].startswith("tcp:"):
                found.append((attempt["started_ns"], attempt["target"][4:].rpartition(":")[0].strip("[]")))
        return found

    def answered(self, entry, record_type):
        """When the first query of a type ended, since the dial's start."""
        for attempt in self.ledger(entry):
            if attempt["target"].startswith(record_type + " "):
                return attempt["started_ns"] + attempt["duration_ns"]
        self.fail(f"no {record_type} query in {self.ledger(entry)}")

    def catch_up(self):
        """Logs come from other processes, in the order of what happened: what precedes an ack is here."""
        self.net.policy("10.9.0.200")
        self.net.dns_server("10.9.0.200")

    def queries(self, **fields):
        self.catch_up()
        return self.net.queries(self.since, **fields)

    def syns(self, since=None, port=None, least=0):
        """(time, address) of each connection attempt on the wire; repetitions by the kernel count once.

        With `least` it waits for so many."""
        if least:
            processes.poll_until(lambda: len(self.syns(since, port)) >= least, f"{least} SYNs")
        self.catch_up()
        seen, found = set(), []
        for packet in self.net.packets("SYN", self.since if since is None else since, target_port=port or self.port):
            flow = (packet["target"], packet["source_port"])
            if flow not in seen:
                seen.add(flow)
                found.append((packet["time_ns"], packet["target"]))
        return found

    def assertLease(self, entry, address=None):
        self.assertEqual(entry["status"], "OK", entry)
        if address is not None:
            shown = f"[{address}]" if ":" in address else address
            self.assertTrue(entry["connection"]["address"].startswith(shown + ":"), entry)

    def assertGaps(self, entry, least_ms, what="gap"):
        """Each attempt of a lease started at least so long after the one before; the first gap is noted."""
        starts = [start for start, _ in self.attempts(entry)]
        gaps = [after - before for before, after in zip(starts, starts[1:])]
        self.assertGreaterEqual(min(gaps), least_ms * MS, entry)
        self.note(what, gaps[0])
        return gaps

    def assertWire(self, expected, least_ms=0, port=None):
        """The attempts on the wire went to these addresses, in this order, so far apart."""
        syns = self.syns(port=port, least=len(expected))
        self.assertEqual([address for _, address in syns], expected)
        gaps = [after[0] - before[0] for before, after in zip(syns, syns[1:])]
        if gaps and least_ms:
            self.assertGreaterEqual(min(gaps), (least_ms - self.late_ms) * MS)
            self.measured.append("on the wire " + "/".join(f"{gap / MS:.1f}" for gap in gaps) + " ms")

    def assertBaseline(self, dialer, baseline):
        """No descriptor more than before; sockets go at the end of the loop's turn."""
        processes.poll_until(lambda: dialer.fds() <= baseline, f"descriptors back to {baseline}, are {dialer.fds()}")


def main():
    """As processes.main, after taking the dialer's path from the arguments."""
    global DIALER
    DIALER = os.path.abspath(sys.argv.pop(1))
    processes.main()
