"""Leases of a real PostgreSQL: logins as partitions, with and without TLS (its SSLRequest before the handshake)."""

import unittest

import programs
from certificates import Authority
from processes import main, poll_until
from servers import Postgres

ROUNDS = programs.ROUNDS or 60
USERS = ("alice", "bob", "carol")


class Logins(unittest.TestCase):
    """One server with TLS and one without, for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.secure = cls.enterClassContext(Postgres(certificate=cls.authority.issue("localhost"), roles=USERS))
        cls.plain = cls.enterClassContext(Postgres(roles=USERS))

    def leases(self, server, scheme="tcp", code=0, rounds=ROUNDS, **options):
        host = "localhost" if scheme == "tls" else server.address
        pairs = programs.Client.pairs({"race__family": "v4_only", **options})
        return programs.run("postgres_lease", f"{scheme}://{host}:{server.port}", ",".join(USERS), rounds, *pairs,
                            code=code)

    def check(self, leases):
        """Every lease was its own login, on connections that no other login ever had."""
        backends = {user: set() for user in USERS}
        for lease in leases:
            self.assertEqual(lease["user"], lease["wanted"])
            backends[lease["wanted"]].add(lease["backend"])
        self.assertEqual(len(leases), sum(1 + n % 3 for n in range(ROUNDS)) * len(USERS))
        for user, own in backends.items():
            self.assertEqual(len(own), 3, f"{user}: three at once are the most, and they are kept")
            for other, others in backends.items():
                if other != user:
                    self.assertFalse(own & others, f"{user} and {other} shared a connection")
        self.assertEqual(sum(not lease["reused"] for lease in leases), 3 * len(USERS))

    def test_plain(self):
        self.check(self.leases(self.plain))

    def test_plain_at_a_server_with_tls(self):
        self.check(self.leases(self.secure))

    def test_tls(self):
        leases = self.leases(self.secure, "tls", tls__starttls="postgres", tls__ca_file=self.authority.certificate)
        self.check(leases)
        for lease in leases:
            self.assertIn(lease["facts"]["tls"]["version"], ("TLSv1.2", "TLSv1.3"))
            self.assertTrue(lease["facts"]["tls"]["verified"])
        own = "select count(*) from pg_stat_ssl where ssl"
        poll_until(lambda: self.secure.query(own, sslmode="require").stdout.strip() == "1", "psql's own alone is left")

    def test_one_connection_serves_one_login_again_and_again(self):
        leases = self.leases(self.plain, endpoint__max_connections=3, pool__max_connections=9)
        self.check(leases)

    def test_server_without_tls(self):
        refused, = self.leases(self.plain, "tls", code=1, tls__starttls="postgres",
                               tls__ca_file=self.authority.certificate)
        self.assertEqual(refused["status"], "E_HOP_FAILED")
        self.assertIn("SSLRequest", refused["line"])

    def test_other_authority(self):
        with Authority("somebody else") as other:
            refused, = self.leases(self.secure, "tls", code=1, tls__starttls="postgres",
                                   tls__ca_file=other.certificate)
        self.assertEqual(refused["status"], "E_TLS_CERTIFICATE")

    def test_restarted_while_connections_idle(self):
        with programs.Client() as client:
            at = client.endpoint(f"tcp://{self.plain.address}:{self.plain.port}", balance__cooldown="10ms")
            client.lease(at)[0].release()
            self.plain.restart()
            lease, _ = client.lease(at)
            login = b"\0\0\0\x28\0\x03\0\0user\0alice\0database\0postgres\0\0"
            lease.write(len(login).to_bytes(4, "big") + login[4:])
            self.assertTrue(lease.read_until(b"Z\0\0\0\x05I").startswith(b"R\0\0\0\x08\0\0\0\0"))
            lease.release("broken")


if __name__ == "__main__":
    main()
