"""The harness tests itself with plain sockets: every misbehaviour is seen by a client as it should be."""

import errno
import pathlib
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

import harness  # noqa: E402
import processes  # noqa: E402

V4, V6 = "10.9.0.2", "2001:db8:9::2"
V4_COUNTED = "10.9.0.3"  # no late packet of another test disturbs the counting
SLACK_MS = 400  # a busy machine is late; a lost SYN would be a second late
LOOKUP = """
import socket, sys, time
start = time.monotonic()
try:
    found = sorted({info[4][0] for info in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)})
except socket.gaierror as error:
    found = [error.args[0]]
print(int((time.monotonic() - start) * 1000), *found)
"""


class NetworkTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.net = harness.Network()
        cls.net.__enter__()
        cls.addClassCleanup(cls.net.close)
        cls.listeners = {address: cls.net.server_socket(address) for address in (V4, V6, V4_COUNTED)}
        for listener in cls.listeners.values():
            cls.addClassCleanup(listener.close)
            threading.Thread(target=cls.serve, args=(listener,), daemon=True).start()

    def setUp(self):
        for address in (V4, V6):
            self.net.policy(address)
        self.since = time.monotonic_ns()

    @staticmethod
    def serve(listener):
        """Echoes one message per connection."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    connection.sendall(connection.recv(65536))
                except OSError:
                    pass

    def connect(self, address, timeout=5):
        """(milliseconds, errno, socket) of a connect from the client's namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        client = self.net.client_socket(family)
        self.addCleanup(client.close)
        client.settimeout(timeout)
        start = time.monotonic()
        error = 0
        try:
            client.connect((address, self.listeners[address].getsockname()[1]))
        except TimeoutError:
            error = errno.ETIMEDOUT
        except OSError as failure:
            error = failure.errno
        return (time.monotonic() - start) * 1000, error, client

    def syns(self, address, kind="SYN"):
        end = "source" if kind == "SYN-ACK" else "target"
        return self.net.packets(kind, self.since, **{end: address})

    def test_both_families_pass(self):
        for address in (V4, V6):
            took, error, client = self.connect(address)
            self.assertEqual(error, 0)
            self.assertLess(took, SLACK_MS)
            client.sendall(b"x" * 3000)
            self.assertGreater(len(client.recv(65536)), 0)
            self.net.wait_packets("SYN-ACK", since=self.since, source=address)
            self.assertEqual(len(self.syns(address)), 1)
            self.assertEqual(len(self.syns(address, "SYN-ACK")), 1)

    def test_delay_is_a_round_trip(self):
        for address in (V4, V6):
            self.net.policy(address, delay_ms=40)
            took, error, _ = self.connect(address)
            self.assertEqual(error, 0)
            self.assertGreaterEqual(took, 40)
            self.assertLess(took, 40 + SLACK_MS)

    def test_dropped_family_is_silent(self):
        self.net.policy(V6, drop="all")
        _, error, _ = self.connect(V6, timeout=0.3)
        self.assertEqual(error, errno.ETIMEDOUT)
        self.assertEqual({s["fate"] for s in self.syns(V6)}, {"dropped"})
        self.assertEqual(self.syns(V6, "SYN-ACK"), [])
        self.assertEqual(self.connect(V4)[1], 0)

    def test_dropped_answers_reach_no_client(self):
        self.net.policy(V4, drop="answers")
        _, error, _ = self.connect(V4, timeout=0.3)
        self.assertEqual(error, errno.ETIMEDOUT)
        self.assertEqual({s["fate"] for s in self.syns(V4)}, {"passed"})
        self.assertGreaterEqual(len(self.syns(V4, "SYN-ACK")), 1)

    def test_dropped_data_leaves_the_handshake(self):
        self.net.policy(V4, drop="data")
        _, error, client = self.connect(V4)
        self.assertEqual(error, 0)
        client.sendall(b"hello")
        client.settimeout(0.3)
        self.assertRaises(TimeoutError, client.recv, 1)

    def test_refused_syn(self):
        for address in (V4, V6):
            self.net.policy(address, refuse="syn", delay_ms=20)
            took, error, _ = self.connect(address)
            self.assertEqual(error, errno.ECONNREFUSED)
            self.assertGreaterEqual(took, 20)
            self.assertLess(took, 20 + SLACK_MS)

    def test_unreachable(self):
        for address in (V4, V6):
            self.net.policy(address, refuse="unreachable")
            took, error, _ = self.connect(address)
            self.assertEqual(error, errno.EHOSTUNREACH)
            self.assertLess(took, SLACK_MS)

    def test_reset_at_first_data(self):
        for address in (V4, V6):
            self.net.policy(address, refuse="data")
            _, error, client = self.connect(address)
            self.assertEqual(error, 0)
            client.sendall(b"hello")
            self.assertRaises(ConnectionResetError, client.recv, 1)

    def test_nth_packet(self):
        self.net.policy(V4_COUNTED, nth=1)  # the first SYN is lost, its repetition after a second is not
        took, error, _ = self.connect(V4_COUNTED)
        self.assertEqual(error, 0)
        self.assertGreaterEqual(took, 900)
        self.net.wait_packets("SYN", 2, since=self.since, target=V4_COUNTED)  # told after it was passed on
        self.assertEqual([s["fate"] for s in self.syns(V4_COUNTED)], ["dropped", "passed"])
        self.net.policy(V4_COUNTED, nth=4, nth_fate="reset")  # SYN, SYN-ACK, ACK, data
        _, error, client = self.connect(V4_COUNTED)
        client.sendall(b"hello")
        self.assertRaises(ConnectionResetError, client.recv, 1)

    def test_large_packets_vanish(self):
        self.net.policy(V4, max_size=500)
        _, error, client = self.connect(V4)
        self.assertEqual(error, 0)
        client.settimeout(0.3)
        client.sendall(b"x" * 1000)
        self.assertRaises(TimeoutError, client.recv, 1)

    def test_data_can_be_logged(self):
        self.net.policy(V4, log_data=True)
        _, _, client = self.connect(V4)
        client.sendall(b"hello")
        client.recv(5)
        client.close()
        self.net.wait_packets("FIN", since=self.since, target=V4)  # the log is in the wire's order
        self.assertEqual(len(self.net.packets("DATA", self.since, target=V4)), 1)

    def test_bad_policies_are_refused(self):
        self.assertRaisesRegex(ValueError, "unknown policy settings", self.net.policy, V4, delay=1)
        self.assertRaisesRegex(ValueError, "must be one of", self.net.policy, V4, drop="some")
        self.assertRaises(ValueError, self.net.policy, "10.9.0", drop="all")


class DnsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.net = harness.Network()
        cls.net.__enter__()
        cls.addClassCleanup(cls.net.close)
        cls.net.dns({})

    def setUp(self):
        self.since = time.monotonic_ns()

    def look_up(self, name, resolv_conf="nameserver 10.9.0.53\noptions timeout:1 attempts:1\n", **options):
        """(milliseconds, results) of getaddrinfo in the client's namespace."""
        done = self.net.run_client([sys.executable, "-c", LOOKUP, name], resolv_conf=resolv_conf, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        took, *found = done.stdout.split()
        return int(took), found

    def query(self, name, type_number, kind=socket.SOCK_DGRAM, server="10.9.0.53"):
        """The raw answer to one query."""
        import dns_server
        message = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + dns_server.encode_name(name)
        message += struct.pack("!HH", type_number, 1)
        with self.net.client_socket(kind=kind) as client:
            client.settimeout(3)
            client.connect((server, 53))
            if kind == socket.SOCK_DGRAM:
                client.send(message)
                return client.recv(65535)
            client.sendall(struct.pack("!H", len(message)) + message)
            data = b""
            while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
                piece = client.recv(65535)
                if not piece:
                    return data
                data += piece
            return data[2:]

    def test_addresses_of_both_families(self):
        self.net.dns({"www.test": {"A": ["10.9.0.2", "10.9.0.3"], "AAAA": ["2001:db8:9::2"]}})
        _, found = self.look_up("www.test")
        self.assertEqual(found, ["10.9.0.2", "10.9.0.3", "2001:db8:9::2"])
        self.assertEqual(len(self.net.queries(self.since, name="www.test", type="A")), 1)
        self.assertEqual(len(self.net.queries(self.since, name="www.test", type="AAAA")), 1)

    def test_delay(self):
        self.net.dns({"slow.test": {"A": {"answers": ["10.9.0.2"], "delay_ms": 200}}})
        took, found = self.look_up("slow.test")
        self.assertEqual(found, ["10.9.0.2"])
        self.assertGreaterEqual(took, 200)
        self.assertLess(took, 200 + SLACK_MS)

    def test_unknown_names_and_failures(self):
        self.net.dns({"fails.test": {"*": {"rcode": "SERVFAIL"}}})
        self.assertEqual(self.query("none.test", 1)[3] & 15, 3)
        self.assertEqual(self.query("fails.test", 1)[3] & 15, 2)
        self.assertEqual(struct.unpack("!H", self.query("none.test", 1)[8:10])[0], 1)  # the SOA

    def test_a_dead_server_is_passed_over(self):
        self.net.dns({"www.test": {"A": ["10.9.0.2"]}})
        self.net.dns_server("10.9.0.54", drop=True)
        self.addCleanup(self.net.dns_server, "10.9.0.54")
        conf = "nameserver 10.9.0.54\nnameserver 10.9.0.53\noptions timeout:1 attempts:1\n"
        took, found = self.look_up("www.test", conf)
        self.assertEqual(found, ["10.9.0.2"])
        self.assertGreaterEqual(took, 900)

    def test_cname_and_ttl(self):
        self.net.dns({"alias.test": {"*": {"cname": "www.test", "ttl": 1}},
                      "www.test": {"A": {"answers": ["10.9.0.2"], "ttl": 100}}})
        self.assertEqual(self.look_up("alias.test")[1], ["10.9.0.2"])
        answer = self.query("alias.test", 1)
        self.assertEqual(struct.unpack("!H", answer[6:8])[0], 2)

    def test_truncation_leads_to_tcp(self):
        many = [f"10.9.1.{n}" for n in range(1, 200)]
        self.net.dns({"big.test": {"A": {"answers": many, "truncate": True, "tcp_step": 100}}})
        self.assertTrue(self.query("big.test", 1)[2] & 2)
        self.assertEqual(struct.unpack("!H", self.query("big.test", 1, socket.SOCK_STREAM)[6:8])[0], 199)
        self.assertEqual(len(self.look_up("big.test")[1]), 199)

    def test_lies(self):
        self.net.dns({"id.test": {"A": {"answers": ["10.9.0.2"], "wrong_id": True}},
                      "raw.test": {"A": {"raw": "ffff8180"}},
                      "port.test": {"A": {"answers": ["10.9.0.2"], "other_port": True}},
                      "close.test": {"A": {"tcp_close": True}}})
        self.assertNotEqual(self.query("id.test", 1)[:2], b"\0\x07")
        self.assertEqual(self.query("raw.test", 1), b"\0\x07\x81\x80")
        self.assertRaises((TimeoutError, ConnectionRefusedError), self.query, "port.test", 1)
        self.assertEqual(self.query("close.test", 1, socket.SOCK_STREAM), b"")

    def test_files_of_the_namespace(self):
        took, found = self.look_up("myhost", hosts="10.9.0.7 myhost\n")
        self.assertEqual(found, ["10.9.0.7"])
        self.assertEqual(self.net.queries(self.since, name="myhost"), [])

    def test_bad_zones_are_refused(self):
        self.assertRaisesRegex(ValueError, "unknown fields", self.net.dns, {"a.test": {"A": {"answer": []}}})
        self.assertRaisesRegex(ValueError, "unknown rcode", self.net.dns, {"a.test": {"A": {"rcode": "NO"}}})


class TeardownTest(unittest.TestCase):
    def test_nothing_is_left(self):
        with self.assertRaises(KeyError), harness.Network(ipv6=False) as net:
            names = (net.client, net.server)
            child = net.start_client(["sleep", "60"])
            with net.client_socket(socket.AF_INET6) as client:
                self.assertEqual(client.connect_ex((V6, 80)), errno.ENETUNREACH)
            raise KeyError
        self.assertIsNotNone(child.poll())
        listed = harness.ip("netns", "list").stdout
        for name in names:
            self.assertNotIn(name, listed)
            self.assertFalse(pathlib.Path(f"/etc/netns/{name}").exists())


if __name__ == "__main__":
    processes.main()
