"""TLS of the whole library: a real nginx, and a server with every kind of certificate that must be refused."""

import datetime
import pathlib
import tempfile
import unittest

import programs
from certificates import Authority
from peers import Peer, echo, until_end
from processes import main, poll_until
from servers import Nginx

# X509_V_ERR_*
NOT_YET_VALID, EXPIRED, SELF_SIGNED, UNKNOWN_ISSUER, OTHER_NAME, OTHER_ADDRESS = 9, 10, 18, 20, 62, 64
NAMES = ("good.test", "other.test", "a.good.test", "a.b.good.test")
REQUEST = b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n"


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.place = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.hosts = cls.place / "hosts"
        cls.hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in NAMES))

    def client(self, **options):
        client = programs.Client(dns__hosts_file=self.hosts, dns__resolv_conf="",
                                 **{"tls__ca_file": self.authority.certificate, **options})
        self.addCleanup(lambda: client.process.poll() is None and client.__exit__(None))
        return client

    def get(self, lease):
        self.assertEqual(lease.write(REQUEST)["status"], "OK")
        answer = lease.read_until(b"hello\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\nhello\n"), answer)


class NginxTls(Tls):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nginx = cls.enterClassContext(Nginx(certificate=cls.authority.issue("good.test", ["DNS:good.test",
                                                                                              "IP:127.0.0.1"])))
        cls.url = f"tls://good.test:{cls.nginx.port}"

    def test_kept_alive_over_leases(self):
        client = self.client()
        at = client.endpoint(self.url, tls__alpn="http/1.1")
        for use in range(5):
            lease, result = client.lease(at)
            self.assertEqual(result["reused"], int(use > 0))
            tls = result["facts"]["tls"]
            self.assertEqual((tls["alpn"], tls["server_name"], tls["verified"]), ("http/1.1", "good.test", True))
            self.assertIn("good.test", tls["peer_subject"])
            self.assertIn("conpool test CA", tls["peer_issuer"])
            self.get(lease)
            lease.release()
        self.assertEqual((client.figure("tls.full"), client.figure("connections.opened")), (1, 1))

    def test_second_connection_resumes(self):
        for version in ("TLSv1.3", "TLSv1.2"):
            with self.subTest(version), Nginx(certificate=self.authority.issue("good.test"),
                                              http=f"ssl_protocols {version};") as nginx:
                client = self.client()
                at = client.endpoint(f"tls://good.test:{nginx.port}", tls__alpn="http/1.1")
                for cold in range(3):
                    lease, result = client.lease(at)
                    tls = result["facts"]["tls"]
                    self.assertEqual((tls["version"], tls["resumed"], tls["verified"]), (version, cold > 0, True))
                    self.assertIn("good.test", tls["peer_subject"])
                    self.get(lease)
                    lease.release("broken")
                self.assertEqual((client.figure("tls.full"), client.figure("tls.resumed")), (1, 2))

    def test_tickets_stay_with_their_endpoint(self):
        """The same server, but another partition, protocol list, trust or name of it: full handshakes all."""
        client = self.client()
        both = self.place / "both.pem"
        with Authority("another") as another:
            both.write_text(self.authority.certificate.read_text() + another.certificate.read_text())
        kinds = [{}, {"partition": "x"}, {"tls__alpn": "http/1.1"}, {"tls__ca_file": both}, {"tls__insecure": "true"}]
        endpoints = [client.endpoint(self.url, **options) for options in kinds]
        endpoints.append(client.endpoint(f"tls://127.0.0.1:{self.nginx.port}"))
        for cold in (False, True):
            for at in endpoints:
                lease, result = client.lease(at)
                self.assertEqual(result["facts"]["tls"]["resumed"], cold, result)
                self.get(lease)
                lease.release("broken")

    def test_resumption_switched_off(self):
        client = self.client(tls__resumption="false")
        at = client.endpoint(self.url)
        for _ in range(2):
            lease, result = client.lease(at)
            self.assertFalse(result["facts"]["tls"]["resumed"])
            self.get(lease)
            lease.release("broken")

    def test_wrong_authority(self):
        client = self.client()
        with Authority("another") as another:
            result = client.refused(client.endpoint(self.url, tls__ca_file=another.certificate))
        self.assertEqual((result["status"], result["tls_verify"]), ("E_TLS_CERTIFICATE", UNKNOWN_ISSUER))
        self.assertIn("conpool test CA", result["report"])
        self.assertEqual(result["proof"], 0)

    def test_restarted_while_connections_idle(self):
        client = self.client(balance__cooldown="10ms")
        at = client.endpoint(self.url)
        lease, _ = client.lease(at)
        self.get(lease)
        lease.release()
        self.nginx.restart()
        for _ in range(3):
            lease, _ = client.lease(at)
            self.get(lease)
            lease.release()

    def test_keep_alive_that_ends(self):
        """nginx closes after a second: TLS's close-notify and FIN take the idle connection away."""
        with Nginx(certificate=self.authority.issue("good.test"), keepalive_timeout_s=1) as nginx:
            client = self.client()
            at = client.endpoint(f"tls://good.test:{nginx.port}")
            lease, _ = client.lease(at)
            self.get(lease)
            lease.release()
            poll_until(lambda: client.figure("connections.open") == 0, "the server's end")
            self.assertEqual(client.figure("closed.peer"), 1)
            lease, result = client.lease(at)
            self.assertEqual(result["reused"], 0)
            self.get(lease)
            lease.release()


class Certificates(Tls):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.peer = cls.enterClassContext(Peer(echo))

    def accepted(self, host, certificate, **options):
        self.peer.use(certificate)
        client = self.client()
        lease, result = client.lease(client.endpoint(f"tls://{host}:{self.peer.port}", **options))
        lease.write(b"hello")
        self.assertEqual(lease.read()["data"], b"hello")
        lease.release()
        return result["facts"]["tls"]

    def refused(self, host, certificate, verify, words=(), **options):
        """Refused with this verify code, and a report that tells these words."""
        self.peer.use(certificate)
        client = self.client()
        result = client.refused(client.endpoint(f"tls://{host}:{self.peer.port}", **options))
        self.assertEqual((result["status"], result["tls_verify"]), ("E_TLS_CERTIFICATE", verify), result["report"])
        for word in (*words, host, "subject", "issuer"):
            self.assertIn(word, result["report"])
        self.assertEqual((client.figure("tls.failed"), client.figure("connections.open")), (1, 0))
        return result

    def issue(self, *names, **options):
        return self.authority.issue("good.test", names or None, **options)

    @staticmethod
    def day(number):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=number)

    def test_good(self):
        facts = self.accepted("good.test", self.issue())
        self.assertEqual((facts["server_name"], facts["verified"]), ("good.test", True))

    def test_expired(self):
        end = self.day(-1)
        self.refused("good.test", self.issue(valid_from=self.day(-9), valid_to=end), EXPIRED,
                     ["certificate has expired", end.strftime("%Y-%m-%dT%H:%M:%SZ"), "conpool test CA"])

    def test_not_yet_valid(self):
        start = self.day(1)
        self.refused("good.test", self.issue(valid_from=start, valid_to=self.day(9)), NOT_YET_VALID,
                     ["certificate is not yet valid", start.strftime("%Y-%m-%dT%H:%M:%SZ")])

    def test_self_signed(self):
        with Authority("lonely.test") as lonely:
            self.refused("good.test", (lonely.certificate, lonely.key), SELF_SIGNED, ["self-signed", "lonely.test"])

    def test_unknown_authority(self):
        with Authority("somebody else") as other:
            self.refused("good.test", other.issue("good.test"), UNKNOWN_ISSUER, ["somebody else"])

    def test_system_authorities(self):
        self.refused("good.test", self.issue(), UNKNOWN_ISSUER, tls__ca_file="")

    def test_wrong_host(self):
        self.refused("other.test", self.issue(), OTHER_NAME, ["names good.test"])

    def test_common_name_counts_for_nothing(self):
        self.refused("good.test", self.issue("DNS:other.test"), OTHER_NAME, ["names other.test"])

    def test_wildcards(self):
        star = self.issue("DNS:*.good.test")
        self.accepted("a.good.test", star)
        self.refused("good.test", star, OTHER_NAME, ["*.good.test"])
        self.refused("a.b.good.test", star, OTHER_NAME, ["*.good.test"])
        self.refused("a.good.test", self.issue("DNS:a*.good.test", "DNS:*a.good.test"), OTHER_NAME)

    def test_ip_literal(self):
        facts = self.accepted("127.0.0.1", self.issue("IP:127.0.0.1"))
        self.assertEqual(facts["server_name"], "")
        self.refused("127.0.0.1", self.issue("IP:127.0.0.2"), OTHER_ADDRESS, ["127.0.0.2"])
        self.refused("127.0.0.1", self.issue("DNS:127.0.0.1"), OTHER_ADDRESS)

    def test_nul_in_a_name(self):
        name = b"good.test\0.evil.test"
        der = bytes([0x30, len(name) + 2, 0x82, len(name)]) + name
        bad = self.issue("DER:" + der.hex(":"))
        self.refused("good.test", bad, OTHER_NAME, ["good.test\\x00.evil.test"])

    def test_other_server_name(self):
        facts = self.accepted("other.test", self.issue(), tls__server_name="good.test")
        self.assertEqual(facts["server_name"], "good.test")

    def test_insecure_is_the_only_way_round(self):
        facts = self.accepted("other.test", self.issue(valid_from=self.day(-9), valid_to=self.day(-1)),
                              tls__insecure="true")
        self.assertFalse(facts["verified"])

    def test_address_list_needs_a_name(self):
        self.peer.use(self.issue())
        client = self.client()
        at = client.addresses("tls", [f"127.0.0.1:{self.peer.port}"], tls__server_name="good.test")
        lease, result = client.lease(at)
        self.assertEqual(result["facts"]["address"], f"127.0.0.1:{self.peer.port}")
        lease.release()
        with self.assertRaisesRegex(AssertionError, "tls.server_name"):
            client.addresses("tls", [f"127.0.0.1:{self.peer.port}"])

    def test_no_tls_at_all(self):
        def greet(connection, _):
            connection.sendall(b"220 hello, I am a mail server\r\n")
            until_end(connection)

        with Peer(greet) as plain:
            client = self.client()
            result = client.refused(client.endpoint(f"tls://good.test:{plain.port}"))
        self.assertEqual(result["status"], "E_TLS_HANDSHAKE", result["report"])
        self.assertIn("does not speak TLS: it sent \"220 hello", result["report"])


if __name__ == "__main__":
    main()
