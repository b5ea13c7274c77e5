"""What conpool's transports for httpx do beyond what httpx's own do: reuse, limits, cancelling, errors, HTTP/2."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import common
from common import LONG_S, SHORT_S, poll_until

common.need_modules("httpx")
import httpx  # noqa: E402
import conpool  # noqa: E402
import conpool.httpx  # noqa: E402
from certificates import Authority  # noqa: E402
from conpool.httpx import AsyncConpoolTransport, ConpoolTransport  # noqa: E402
from http_servers import Node, pattern  # noqa: E402
from scripted import Site  # noqa: E402


# More than buffers hold: while this is sent and read, what is held back stands still.
MUCH = [b"x" * 65536] * 1100
LENGTH = {"Content-Length": str(sum(map(len, MUCH)))}


class Transport(common.Shared, common.Case):
    refused = httpx.LocalProtocolError

    def opened(self):
        return httpx.Client(transport=ConpoolTransport(), timeout=LONG_S)

    def behind(self, client):
        return client._transport.client

    def test_connections_are_used_again(self):
        with Site() as site, httpx.Client(transport=ConpoolTransport()) as client:
            for i in range(5):
                response = client.get(site.url("/peer"))
                self.assertEqual(response.json(), [1, i + 1])
                self.assertEqual(response.extensions["conpool"].connection.reused, i > 0)
            self.assertGreater(response.extensions["conpool"].timings["total"], 0)
            # Asked not to keep it, the transport closes the connection itself.
            self.assertEqual(client.get(site.url("/peer"), headers={"Connection": "close"}).json(), [2, 1])
            self.assertEqual(client.get(site.url("/peer"), headers={"Connection": "close"}).json(), [3, 1])
            self.assertEqual(client.get(site.url("/peer")).json(), [1, 6])

    def test_facts_of_the_connection(self):
        with Site() as site, httpx.Client(transport=ConpoolTransport()) as client:
            response = client.get(site.url("/hello", host="127.0.0.1"))
            stream = response.extensions["network_stream"]
            self.assertEqual(stream.get_extra_info("server_addr"), ("127.0.0.1", site.port))
            self.assertEqual(stream.get_extra_info("client_addr")[0], "127.0.0.1")
            self.assertIsNone(stream.get_extra_info("socket"))
            self.assertEqual(response.extensions["http_version"], b"HTTP/1.1")

    def test_errors_tell_what_conpool_knows(self):
        with httpx.Client(transport=ConpoolTransport()) as client:
            with self.assertRaises(httpx.ConnectError) as raised:
                client.get("http://127.0.0.1:1/")
            cause = raised.exception.__cause__
            self.assertIsInstance(cause, conpool.ConnectError)
            self.assertEqual((cause.phase, cause.safe_to_retry), ("connect", True))
            self.assertEqual([one.status for one in cause.attempts], ["E_CONNECT_REFUSED"])
            self.assertIn("refused", str(raised.exception))
            self.assertEqual(str(raised.exception.request.url), "http://127.0.0.1:1/")

    def test_every_error_has_a_meaning(self):
        for name in dir(conpool):
            kind = getattr(conpool, name)
            if isinstance(kind, type) and issubclass(kind, conpool.HTTPError) and kind is not conpool.HTTPStatusError:
                with self.assertRaises(httpx.RequestError), conpool.httpx._mapped(httpx.Request("GET", "http://a")):
                    raise kind("reason")

    def test_pool_timeout(self):
        transport = ConpoolTransport(limits=httpx.Limits(max_connections=1))
        with Site() as site, httpx.Client(transport=transport, timeout=LONG_S) as client:
            with client.stream("GET", site.url("/half")):
                with self.assertRaises(httpx.PoolTimeout):
                    client.get(site.url("/hello"), timeout=httpx.Timeout(LONG_S, pool=SHORT_S))
            self.assertEqual(client.get(site.url("/hello")).status_code, 200)

    def test_no_limit_of_the_whole_unless_asked_for(self):
        self.assertEqual(ConpoolTransport.__init__.__defaults__, AsyncConpoolTransport.__init__.__defaults__)
        with Site() as site, httpx.Client(transport=ConpoolTransport(total_timeout=SHORT_S), timeout=None) as client:
            with self.assertRaises(httpx.TimeoutException):
                client.get(site.url("/silent"))

    def test_options_of_one_request(self):
        with Site() as site, httpx.Client(transport=ConpoolTransport()) as client:
            with self.assertRaises(httpx.ReadTimeout):
                client.get(site.url("/silent"), extensions={"conpool": {"first_byte_timeout": SHORT_S}})
            client.post(site.url("/echo"), content=b"x", extensions={"conpool": {"idempotent": True}})

    def test_extensions_of_httpx(self):
        """A target would be another resource; what traces is not called."""
        with Site() as site, httpx.Client(transport=ConpoolTransport()) as client:
            with self.assertRaisesRegex(httpx.LocalProtocolError, "extension target"):
                client.get(site.url("/hello"), extensions={"target": b"/other"})
            self.assertEqual(site.connections, 0)
            response = client.get(site.url("/hello"), extensions={"trace": self.fail})
            self.assertEqual(response.status_code, 200)

    def test_more_connections_than_the_library_counts(self):
        for limits in (httpx.Limits(max_connections=10**9), httpx.Limits(max_connections=None)):
            with Site() as site, httpx.Client(transport=ConpoolTransport(limits=limits)) as client:
                self.assertEqual(client.get(site.url("/hello")).status_code, 200)
                self.assertIn("endpoint.max_connections = 65536", self.behind(client).explain(site.url()))

    def test_wrong_options(self):
        for given, raised, text in (
            ({"verify": "/no/such/file"}, OSError, "/no/such/file does not exist"),
            ({"verify": "/etc"}, OSError, "is a folder"),
            ({"verify": object()}, TypeError, "tls_ca_pem"),
            ({"cert": ("a", "b", "password")}, TypeError, "no key is encrypted"),
            ({"http1": False, "http2": False}, ValueError, "no protocol"),
            ({"pool_maximum": 3}, conpool.UsageError, "pool"),
            ({"proxy": "http://127.0.0.1:1"}, conpool.UsageError, "proxy"),
            ({"limits": conpool.Limits()}, conpool.UsageError, r"httpx\.Limits, and no conpool\..*Limits"),
            ({"trust_env": False}, conpool.UsageError, "environment"),
            ({"uds": "/run/a"}, conpool.UsageError, "uds=: .*unix:/path"),
            ({"local_address": "127.0.0.1"}, conpool.UsageError, "local_address=: .*the system"),
            ({"socket_options": []}, conpool.UsageError, "socket_options=: tcp_keepalive="),
            ({"timeout": 3}, TypeError, "timeout= belongs to the httpx client"),
            ({"follow_redirects": True}, TypeError, "follow_redirects= belongs to the httpx client"),
            ({"headers": {"a": "b"}}, TypeError, "headers= belongs to the httpx client"),
        ):
            for kind in (ConpoolTransport, AsyncConpoolTransport):
                with self.subTest(given), self.assertRaisesRegex(raised, text):
                    kind(**given)

    def test_interrupted(self):
        """Ctrl-C ends the request, and the client goes on."""
        with Site() as site, httpx.Client(transport=ConpoolTransport(), timeout=LONG_S) as client:
            timer = threading.Thread(target=lambda: (poll_until(lambda: site.connections, "the request"),
                                                     os.kill(os.getpid(), signal.SIGINT)))
            timer.start()
            with self.assertRaises(KeyboardInterrupt):
                client.get(site.url("/silent"))
            timer.join()
            self.assertEqual(client.get(site.url("/hello")).status_code, 200)

    def test_body_waits_for_the_server(self):
        """An endless body is asked for no more of it than buffers hold, while the server reads none."""
        asked, over = [], threading.Event()

        def pieces():
            while not over.is_set():
                asked.append(1)
                yield b"x" * 65536

        with Site() as site, httpx.Client(transport=ConpoolTransport(), timeout=LONG_S) as client:
            failed = []

            def upload():
                try:
                    client.post(site.url("/deaf"), content=pieces())
                except httpx.TransportError as error:
                    failed.append(error)

            thread = threading.Thread(target=upload)
            thread.start()
            poll_until(lambda: len(asked) > 2, "the first pieces")
            self.assertEqual(client.put(site.url("/echo"), content=MUCH, headers=LENGTH).status_code, 200)
            self.assertLess(len(asked) * 65536, 64 << 20)
            site.release()
            thread.join(LONG_S)
            self.assertFalse(thread.is_alive())
            self.assertEqual(len(failed), 1)
            over.set()

    def test_not_imported_by_conpool(self):
        code = (
            "import sys; before = set(sys.modules); import conpool; "
            "sys.exit(bool({'httpx', 'requests', 'urllib3', 'certifi'} & (set(sys.modules) - before)))"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=LONG_S)


class AsyncTransport(common.Case):
    def test_concurrent_requests(self):
        async def program(site):
            async with httpx.AsyncClient(transport=AsyncConpoolTransport(), timeout=LONG_S) as client:
                found = await asyncio.gather(*(client.get(site.url("/bytes/1000")) for _ in range(300)))
                return {one.content for one in found}, site.connections

        with Site() as site:
            bodies, connections = self.run_async(program(site))
        self.assertEqual(bodies, {pattern(1000)})
        self.assertLessEqual(connections, 100)

    def test_cancelling_ends_the_request(self):
        async def program(site):
            transport = AsyncConpoolTransport()
            async with httpx.AsyncClient(transport=transport, timeout=LONG_S) as client:
                for path in ("/silent", "/half"):
                    task = asyncio.ensure_future(client.get(site.url(path)))
                    while not running(transport):
                        await asyncio.sleep(0)
                    task.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await task
                    while running(transport):
                        await asyncio.sleep(0)
                self.assertEqual((await client.get(site.url("/hello"))).status_code, 200)

        def running(transport):
            return transport.client.stats()["pool"]["figures"]["requests.running"]

        with Site() as site:
            self.run_async(program(site))

    def test_body_waits_for_the_server(self):
        async def much():
            for piece in MUCH:
                yield piece

        async def program(site):
            asked = []

            async def pieces():
                while True:
                    asked.append(1)
                    yield b"x" * 65536

            async with httpx.AsyncClient(transport=AsyncConpoolTransport(), timeout=LONG_S) as client:
                task = asyncio.ensure_future(client.post(site.url("/deaf"), content=pieces()))
                while len(asked) < 3:
                    await asyncio.sleep(0)
                response = await client.put(site.url("/echo"), content=much(), headers=LENGTH)
                self.assertEqual(response.status_code, 200)
                self.assertLess(len(asked) * 65536, 64 << 20)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task

        with Site() as site:
            self.run_async(program(site))

    def test_other_loops_are_refused_in_words(self):
        transport = AsyncConpoolTransport()
        coroutine = transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))
        with self.assertRaisesRegex(RuntimeError, "runs on asyncio"):
            coroutine.send(None)
        self.run_async(transport.aclose())


class Http2(common.Case):
    def test_both_kinds(self):
        async def program(url, transport):
            async with httpx.AsyncClient(transport=transport, timeout=LONG_S) as client:
                found = await asyncio.gather(*(client.get(url) for _ in range(20)))
                echoed = await client.post(url.replace("bytes/1000", "echo"), content=pattern(300000))
                return {(one.http_version, one.content) for one in found}, echoed

        with Authority() as authority, Node("both", certificate=authority.issue("localhost")) as node:
            ca = str(authority.certificate)
            url = node.url("/bytes/1000")
            found, echoed = self.run_async(program(url, AsyncConpoolTransport(verify=ca)))
            self.assertEqual(found, {("HTTP/2", pattern(1000))})
            self.assertEqual(echoed.http_version, "HTTP/2")
            self.assertEqual(node.counts()["connections"], 1)
            for given, version in (({}, "HTTP/2"), ({"http2": False}, "HTTP/1.1"), ({"http1": False}, "HTTP/2")):
                with httpx.Client(transport=ConpoolTransport(verify=ca, **given)) as client:
                    response = client.get(url)
                    self.assertEqual((response.http_version, response.content), (version, pattern(1000)))


if __name__ == "__main__":
    common.support.main()
