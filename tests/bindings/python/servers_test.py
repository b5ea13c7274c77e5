"""Real servers: nginx and nghttpd over HTTP/1.1 and HTTP/2 with TLS, and Redis.

usage: servers_test.py [Test…]
"""

import asyncio
import os
import socket

import support
import conpool
from certificates import Authority
from servers import Nghttpd, Nginx, Redis

BIG = os.urandom(3_000_000)


class Https(support.Case):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.close)
        cls.certificate = cls.authority.issue("localhost", ["DNS:localhost", "IP:127.0.0.1"])
        cls.options = {"tls_ca_file": cls.authority.certificate}

    def test_nginx_over_both_versions(self):
        with Nginx(certificate=self.certificate) as nginx:
            (nginx.directory / "files" / "big").write_bytes(BIG)
            url = f"https://localhost:{nginx.port}"
            for options, version, alpn in (
                ({}, "HTTP/2", "h2"),
                ({"http_version": "http1"}, "HTTP/1.1", "http/1.1"),
            ):
                with conpool.Client(**self.options, **options) as client:
                    response = client.get(url + "/")
                    self.assertEqual(
                        (response.status_code, response.text, response.http_version),
                        (200, "hello\n", version),
                    )
                    self.assertEqual(response.connection.alpn, alpn)
                    self.assertTrue(response.connection.tls_version.startswith("TLSv1."))
                    self.assertIn("secured", response.timings)
                    self.assertEqual(response.headers["content-type"], "text/plain")
                    self.assertEqual(client.get(url + "/files/big").content, BIG)
                    self.assertEqual(client.get(url + "/files/none").status_code, 404)
                    self.assertEqual(
                        client.head(url + "/files/big").headers["content-length"], str(len(BIG))
                    )
                    with client.stream("GET", url + "/files/big") as stream:
                        self.assertEqual(b"".join(stream.iter_bytes(10_000)), BIG)
                    for name, content in (
                        ("a", BIG),
                        ("b", (BIG[i : i + 50_000] for i in range(0, len(BIG), 50_000))),
                    ):
                        response = client.put(f"{url}/uploads/{version[-1]}{name}", content=content)
                        self.assertEqual(response.status_code, 201)
                        self.assertEqual(
                            (nginx.directory / "uploads" / f"{version[-1]}{name}").read_bytes(), BIG
                        )
                    with open(nginx.directory / "files" / "big", "rb") as file:
                        self.assertEqual(
                            client.put(f"{url}/uploads/{version[-1]}c", content=file).status_code,
                            201,
                        )
                    self.assertEqual(
                        (nginx.directory / "uploads" / f"{version[-1]}c").read_bytes(), BIG
                    )

    def test_nginx_with_await(self):
        async def scenario(nginx):
            url = f"https://localhost:{nginx.port}"
            async with conpool.AsyncClient(**self.options) as client:
                found = await asyncio.gather(*(client.get(f"{url}/{i}") for i in range(300)))
                self.assertEqual({one.text for one in found}, {"hello\n"})
                self.assertEqual({one.http_version for one in found}, {"HTTP/2"})
                self.assertLessEqual(len({one.connection.id for one in found}), 4)

                async def pieces():
                    for i in range(0, len(BIG), 50_000):
                        yield BIG[i : i + 50_000]

                response = await client.put(url + "/uploads/x", content=pieces())
                self.assertEqual(response.status_code, 201)
                self.assertEqual((nginx.directory / "uploads" / "x").read_bytes(), BIG)
                async with client.stream("GET", url + "/files/big") as stream:
                    self.assertEqual(await stream.aread(), BIG)

        with Nginx(certificate=self.certificate) as nginx:
            (nginx.directory / "files" / "big").write_bytes(BIG)
            self.run_async(scenario(nginx))

    def test_certificates(self):
        with Authority("another") as other:
            strange = other.issue("localhost")
            with Nginx(certificate=strange) as nginx, conpool.Client(**self.options) as client:
                url = f"https://localhost:{nginx.port}/"
                with self.assertRaises(conpool.TLSError) as caught:
                    client.get(url)
                self.assertEqual(
                    (caught.exception.name, caught.exception.phase), ("E_TLS_CERTIFICATE", "tls")
                )
                self.assertGreater(caught.exception.tls_verify, 0)
                self.assertTrue(caught.exception.safe_to_retry)
                self.assertEqual(
                    client.get(url, tls_ca_pem=other.certificate.read_text()).status_code, 200
                )
                self.assertEqual(client.get(url, tls_insecure=True).status_code, 200)
        with (
            Nginx(certificate=self.authority.issue("other.test")) as nginx,
            conpool.Client(**self.options) as client,
        ):
            with self.assertRaises(conpool.TLSError):
                client.get(f"https://localhost:{nginx.port}/")
            response = client.get(f"https://localhost:{nginx.port}/", tls_server_name="other.test")
            self.assertEqual(response.status_code, 200)

    def test_a_lease_over_tls(self):
        with (
            Nginx(certificate=self.certificate, versions="http1") as nginx,
            conpool.Client(**self.options) as client,
        ):
            with client.connect("localhost", nginx.port, tls=True) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                got = b""
                while part := connection.recv():
                    got += part
                self.assertTrue(got.endswith(b"hello\n"), got)
                self.assertEqual(connection.facts["tls"]["server_name"], "localhost")
                with self.assertRaisesRegex(conpool.UsageError, "not supported"):
                    connection.lend()

    def test_nghttpd(self):
        with Nghttpd(
            "--echo-upload", "--trailer", "x-end: yes", certificate=self.certificate
        ) as nghttpd:
            with conpool.Client(**self.options) as client:
                url = f"https://localhost:{nghttpd.port}"
                response = client.get(url + "/index.html")
                self.assertEqual((response.text, response.http_version), ("hello\n", "HTTP/2"))
                self.assertEqual(response.trailers["x-end"], "yes")
                self.assertEqual(client.post(url + "/", content=BIG).content, BIG)
        with Nghttpd("-m", "8") as nghttpd:

            async def scenario():
                async with conpool.AsyncClient(http_version="h2") as client:
                    url = f"http://localhost:{nghttpd.port}/index.html"
                    found = await asyncio.gather(*(client.get(url) for _ in range(200)))
                    self.assertEqual({one.text for one in found}, {"hello\n"})

            self.run_async(scenario())

    def test_the_server_goes_away(self):
        with (
            Nginx(certificate=self.certificate) as nginx,
            conpool.Client(**self.options, breaker_mode="off") as client,
        ):
            url = f"https://localhost:{nginx.port}/"
            self.assertEqual(client.get(url).status_code, 200)
            nginx.stop()
            with self.assertRaises(conpool.ConnectError) as caught:
                client.get(url)
            self.assertTrue(caught.exception.safe_to_retry)
            nginx.start()
            self.assertEqual(client.get(url, balance_eject_after=0).status_code, 200)


class Leases(support.Case):
    def test_redis(self):
        with Redis() as redis, conpool.Client() as client:
            for i in range(20):
                with client.connect("localhost", redis.port) as connection:
                    connection.sendall(b"INCR n\r\n")
                    self.assertEqual(connection.recv(), b":%d\r\n" % (i + 1))
            with client.connect("localhost", redis.port) as connection:
                self.assertEqual(connection.facts["uses"], 21)
                borrowed = socket.socket(fileno=os.dup(connection.fileno()))
                with borrowed:
                    borrowed.sendall(b"GET n\r\n")
                    self.assertEqual(borrowed.recv(100), b"$2\r\n20\r\n")


if __name__ == "__main__":
    support.main()
