"""Requests through Client and AsyncClient: arguments, bodies, responses, errors."""

import errno
import gzip
import inspect
import io
import json
import os
import pickle
import socket
import sys
import tempfile
import threading
from datetime import timedelta

import conpool
import support
from support import RawServer, echo, reply


class Ways(support.Case):
    """Each scenario is written once, with `await`, and runs through both clients."""

    def each(self, scenario, answer=echo, **options):
        with RawServer(answer) as server:

            async def plain(value):
                return value

            async def awaited(value):
                return await value

            with self.subTest(client="Client"), conpool.Client(**options) as client:
                # Nothing in it waits: one step runs it to its end.
                with self.assertRaises(StopIteration):
                    scenario(client, server, plain).send(None)

            async def in_loop():
                async with conpool.AsyncClient(**options) as client:
                    await scenario(client, server, awaited)

            with self.subTest(client="AsyncClient"):
                self.run_async(in_loop())

    def test_methods(self):
        async def scenario(client, server, wait):
            for method in ("get", "post", "put", "patch", "delete", "options"):
                response = await wait(getattr(client, method)(server.url + "/a"))
                self.assertEqual(response.text, f"{method.upper()} /a HTTP/1.1")
                self.assertEqual(
                    (response.request.method, response.url), (method.upper(), server.url + "/a")
                )
            response = await wait(client.head(server.url + "/a"))
            self.assertEqual((response.status_code, response.content), (200, b""))
            response = await wait(client.request("brew", server.url + "/a"))
            self.assertEqual(response.text, "BREW /a HTTP/1.1")

        self.each(scenario)

    def test_what_the_methods_take(self):
        """help() and editors show it."""
        expected = ["url", "params", "headers", "content", "data", "json", "trailers"]
        expected += ["idempotent", "endpoint", "timeout", "options"]
        for kind in (conpool.Client, conpool.AsyncClient):
            for name in ("get", "head", "options", "post", "put", "patch", "delete"):
                method = getattr(kind, name)
                shape = inspect.signature(method)
                self.assertEqual(list(shape.parameters), ["self", *expected])
                self.assertIn(name.upper(), method.__doc__)
                self.assertEqual(method.__name__, name)
                with self.assertRaises(TypeError):
                    shape.bind(None, "http://a", {"params": "by position"})
        with conpool.Client() as client:
            self.assertEqual(list(inspect.signature(client.get).parameters), expected)

    def test_url(self):
        async def scenario(client, server, wait):
            for url, options, expected in (
                ("/a", {}, "/a"),
                ("a?b=1#c", {}, "/a?b=1"),
                ("", {}, "/"),
                ("/a?b=1", {"params": {"c": [1, 2], "d": "x y"}}, "/a?b=1&c=1&c=2&d=x+y"),
                ("/a", {"params": "raw=1"}, "/a?raw=1"),
                ("/caf\u00e9 x?y=\u00e9", {}, "/caf%C3%A9%20x?y=%C3%A9"),
                (server.url + "/abs", {}, "/abs"),
            ):
                response = await wait(client.get(url, **options))
                self.assertEqual(response.text, f"GET {expected} HTTP/1.1")

        async def based(client, server, wait):
            client.base_url = server.url
            await scenario(client, server, wait)

        self.each(based)

    def test_headers(self):
        def answer(head, connection):
            lines = b"X-Twice: a\r\nx-twice: b\r\nX-Text: caf\xc3\xa9\r\nX-Old: \xe9\r\n"
            return reply(head, lines=lines)

        async def scenario(client, server, wait):
            response = await wait(
                client.get(server.url, headers={"X-Mine": "1", "x-default": "changed"})
            )
            sent = response.text.lower()
            self.assertIn("x-mine: 1\r\n", sent)
            self.assertEqual(sent.count("x-default"), 1)
            self.assertIn("x-default: changed", sent)
            self.assertIn("user-agent: python-conpool/", sent)
            headers = response.headers
            self.assertEqual(headers["x-TWICE"], "a, b")
            self.assertEqual(headers.get_list("X-Twice"), ["a", "b"])
            self.assertEqual((headers["x-text"], headers["x-old"]), ("caf\u00e9", "\u00e9"))
            self.assertNotIn("x-none", headers)
            self.assertIsNone(headers.get("x-none"))
            self.assertEqual(
                [name for name, _ in headers.multi_items()][1:],
                ["X-Twice", "x-twice", "X-Text", "X-Old"],
            )
            response = await wait(
                client.get(server.url, headers=[("a", "1"), ("a", b"2"), ("User-Agent", "me")])
            )
            self.assertIn("a: 1\r\na: 2\r\n", response.text)
            self.assertIn("user-agent: me\r\n", response.text)

        self.each(scenario, answer, headers={"X-Default": "one"})

    def test_headers_of_the_client(self):
        def answer(head, connection):
            connection.body(head)
            return reply(head)

        async def scenario(client, server, wait):
            client.headers["X-Token"] = "1"
            client.headers.update({"x-token": "2"})
            sent = (await wait(client.post(server.url, json=1))).text.lower()
            self.assertEqual((sent.count("x-token"), sent.count("x-token: 2\r\n")), (1, 1))
            # A type that the program has given is sent in place of the usual one.
            self.assertEqual(sent.count("content-type"), 1)
            self.assertIn("content-type: text/mine\r\n", sent)

            # Others in their place, as of any kind that requests take.
            for given in ({"X-Other": "3"}, [("x-other", b"3")], conpool.Headers({"X-Other": "3"})):
                client.headers = given
                self.assertIsInstance(client.headers, conpool.Headers)
                sent = (await wait(client.get(server.url))).text.lower()
                self.assertIn("x-other: 3\r\n", sent)
                self.assertIn("user-agent: python-conpool/", sent)
                self.assertNotIn("x-token", sent)
            with self.assertRaisesRegex(conpool.UsageError, "'a' is text or bytes, and no int"):
                client.headers = {"a": 5}
            self.assertEqual(client.headers["x-other"], "3")
            client.headers = None
            self.assertEqual(list(client.headers), ["user-agent"])

        self.each(scenario, answer, headers={"Content-Type": "text/mine"})

    def test_bodies(self):
        def answer(head, connection):
            body = connection.body(head)
            return reply(json.dumps([head.decode().lower(), body.decode()]).encode())

        async def scenario(client, server, wait):
            async def sent(**content):
                return (await wait(client.post(server.url, **content))).json()

            big = b"0123456789" * 30_000
            for content, expected in (
                (b"ab", "ab"),
                ("caf\u00e9", "caf\u00e9"),
                (bytearray(b"ab"), "ab"),
                (memoryview(b"ab"), "ab"),
                (b"", ""),
                (big, big.decode()),
            ):
                head, body = await sent(content=content)
                self.assertEqual(body, expected)
            for content in (
                [b"a", b"b"],
                (piece for piece in (b"a", memoryview(b"b"))),
                iter([b"", b"ab", b""]),
            ):
                head, body = await sent(content=content)
                self.assertEqual(body, "ab")
                self.assertIn("transfer-encoding: chunked", head)
            head, body = await sent(content=iter([b"a", b"b"]), headers={"Content-Length": "2"})
            self.assertEqual(body, "ab")
            self.assertIn("content-length: 2", head)
            head, body = await sent(content=(big[i : i + 7777] for i in range(0, len(big), 7777)))
            self.assertEqual(body, big.decode())
            head, body = await sent(json={"a": ["\u00e9", 1]})
            self.assertEqual(json.loads(body), {"a": ["\u00e9", 1]})
            self.assertIn("content-type: application/json\r\n", head)
            head, body = await sent(data={"a": ["1", "2"], "b": "\u00e9 x"})
            self.assertEqual(body, "a=1&a=2&b=%C3%A9+x")
            self.assertIn("content-type: application/x-www-form-urlencoded\r\n", head)
            head, body = await sent(data=b"raw", headers={"content-type": "text/x"})
            self.assertEqual((body, head.count("content-type")), ("raw", 1))

        self.each(scenario, answer)

    def test_files(self):
        class Device:
            """As /dev/zero: it can be read, and all its positions are 0."""

            pieces = (b"a", b"bc", b"")

            def read(self, size):
                piece, *self.pieces = self.pieces
                return piece

            def seek(self, offset, whence=0):
                return 0

            def tell(self):
                return 0

        async def scenario(client, server, wait):
            with tempfile.TemporaryFile() as file:
                file.write(b"0123456789" * 20_000)
                file.seek(3)
                response = await wait(client.put(server.url, content=file))
                self.assertEqual(response.content, (b"0123456789" * 20_000)[3:])
            with tempfile.NamedTemporaryFile() as file:
                file.write(b"named")
                file.flush()
                file.seek(0)
                self.assertEqual((await wait(client.put(server.url, content=file))).text, "named")
            with (
                tempfile.TemporaryFile("w+") as file,
                self.assertRaisesRegex(conpool.UsageError, "binary"),
            ):
                await wait(client.put(server.url, content=file))
            file = io.BytesIO(b"--memory")
            file.seek(2)
            response = await wait(client.put(server.url, content=file))
            self.assertEqual(response.text, "memory")
            self.assertIn(b"content-length: 6", server.heads[-1].lower())
            with tempfile.SpooledTemporaryFile() as file:
                file.write(b"--spooled")
                file.seek(2)
                response = await wait(client.put(server.url, content=file))
                self.assertEqual(response.text, "spooled")
                self.assertIn(b"content-length: 7", server.heads[-1].lower())
                file.seek(100)  # beyond its end
                response = await wait(client.put(server.url, content=file))
                self.assertEqual(response.text, "PUT / HTTP/1.1")  # as of every empty body
            self.assertEqual((await wait(client.put(server.url, content=Device()))).text, "abc")
            with io.BytesIO(gzip.compress(b"--unpacked" * 20_000)) as packed:
                with gzip.open(packed) as file:
                    file.seek(2)
                    response = await wait(client.put(server.url, content=file))
                self.assertEqual(response.content, (b"--unpacked" * 20_000)[2:])
                self.assertIn(b"content-length: 199998", server.heads[-1].lower())
            read, write = os.pipe()
            os.write(write, b"from a pipe")
            os.close(write)
            with open(read, "rb") as file:
                self.assertEqual(
                    (await wait(client.put(server.url, content=file))).text, "from a pipe"
                )
            self.assertIn(b"transfer-encoding: chunked", server.heads[-1].lower())

        self.each(scenario)

    def test_wrong_bodies(self):
        async def scenario(client, server, wait):
            for content in (7, {"a": 1}, object()):
                with self.assertRaisesRegex(conpool.UsageError, type(content).__name__):
                    await wait(client.post(server.url, content=content))
            with self.assertRaisesRegex(conpool.UsageError, "no str"):
                await wait(client.post(server.url, content=["text"]))
            with self.assertRaisesRegex(conpool.UsageError, "one of content"):
                await wait(client.post(server.url, content=b"", json=1))
            for pieces in ([b"abc"], [b"a"]):
                with self.assertRaises(conpool.LocalProtocolError) as caught:
                    await wait(
                        client.post(server.url, content=pieces, headers={"content-length": "2"})
                    )
                self.assertEqual(caught.exception.name, "E_HTTP_BODY_LENGTH")
            with self.assertRaisesRegex(conpool.UsageError, "not a length"):
                await wait(client.post(server.url, content=[b"a"], headers={"content-length": "x"}))

            def breaks():
                yield b"a"
                raise ZeroDivisionError("mine")

            with self.assertRaisesRegex(ZeroDivisionError, "mine"):
                await wait(client.post(server.url, content=breaks()))
            self.assertEqual(
                (await wait(client.get(server.url + "/still"))).text, "GET /still HTTP/1.1"
            )

        self.each(scenario)

    def test_the_response_comes_before_the_body_is_sent(self):
        def answer(head, connection):
            connection.send(
                reply(b"too much", status=b"413 Content Too Large", lines=b"Connection: close\r\n")
            )
            return None

        def endless():
            while True:
                yield b"x" * 65536

        async def scenario(client, server, wait):
            try:
                response = await wait(client.post(server.url, content=endless()))
                self.assertEqual((response.status_code, response.text), (413, "too much"))
            except conpool.TransportError as error:
                # The server's reset may overtake its answer: that is told as what it is.
                self.assertIn(
                    error.name,
                    (
                        "E_CONNECTION_RESET",
                        "E_CONNECTION_CLOSED",
                        "E_HTTP_TRUNCATED",
                        "E_HTTP_NO_RESPONSE",
                        "E_CONNECTION_FAILED",
                    ),
                )

        self.each(scenario, answer)

    def test_trailers_and_interim_responses(self):
        def answer(head, connection):
            body = connection.body(head)
            sent = b"".join(connection.trailers).strip()
            return (
                b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"%x\r\n%s\r\n0\r\nX-Sum: 7\r\nx-seen: %s\r\n\r\n" % (len(body), body, sent)
            )

        async def scenario(client, server, wait):
            response = await wait(
                client.post(server.url, content=[b"body"], trailers={"x-mine": "9"})
            )
            self.assertEqual((response.status_code, response.text), (200, "body"))
            self.assertEqual(response.trailers["x-sum"], "7")
            self.assertEqual(response.trailers["x-seen"], "x-mine: 9")

        self.each(scenario, answer)

    def test_what_a_response_tells(self):
        async def scenario(client, server, wait):
            first = await wait(client.get(server.url))
            again = await wait(client.get(server.url))
            self.assertEqual((first.connection.reused, again.connection.reused), (False, True))
            self.assertEqual(first.connection.id, again.connection.id)
            self.assertEqual(first.connection.address, f"127.0.0.1:{server.port}")
            self.assertEqual((again.connection.uses, again.http_version), (2, "HTTP/1.1"))
            self.assertIn("connected", first.timings)
            self.assertNotIn("connected", again.timings)
            self.assertLessEqual(again.timings["sent"], again.timings["total"])
            self.assertEqual((again.facts["sends"], again.facts["proof"]), (1, "maybe_processed"))
            self.assertIn("[200]", repr(again))

        self.each(scenario)

    def test_text_and_json(self):
        in_order = {"little": "utf-16-le", "big": "utf-16-be"}[sys.byteorder]
        kinds = {
            b"/latin": (b"caf\xe9", b"text/plain; charset=iso-8859-1"),
            b"/none": ("caf\u00e9".encode(), b"text/plain"),
            b"/odd": (b"ab", b"text/plain; charset=no-such"),
            b"/hex": (b"6162", b"text/plain; charset=hex"),
            b"/rot": (b"ab", b"text/plain; charset=rot13"),
            b"/idna": (b"ab", b"text/plain; charset=idna"),
            b"/other": ("caf\u00e9".encode(), b"text/plain; xcharset=latin-1"),
            b"/bad": (b"a\xffb", b'text/plain; charset="utf-8"'),
            b"/wide": ("caf\u00e9\n".encode(in_order), b"text/plain; charset=utf-16"),
        }

        def answer(head, connection):
            body, kind = kinds[head.split(b" ")[1]]
            return reply(body, lines=b"Content-Type: %s\r\n" % kind)

        async def scenario(client, server, wait):
            expected = {
                "/latin": "caf\u00e9",
                "/none": "caf\u00e9",
                "/odd": "ab",
                "/hex": "6162",
                "/rot": "ab",
                "/idna": "ab",
                "/other": "caf\u00e9",
                "/bad": "a\ufffdb",
                "/wide": "caf\u00e9\n",
            }
            for path, text in expected.items():
                response = await wait(client.get(server.url + path))
                self.assertEqual(response.text, text)
                self.assertEqual("".join(response.iter_text()), text)
                self.assertEqual(list(response.iter_lines()), text.splitlines())
            with self.assertRaises(ValueError):
                (await wait(client.get(server.url + "/odd"))).json()

        self.each(scenario, answer)

    def test_raise_for_status(self):
        def answer(head, connection):
            return reply(b"gone", status=head.split(b" ")[1][1:] + b" x")

        async def scenario(client, server, wait):
            response = await wait(client.get(server.url + "/204"))
            self.assertIs(response.raise_for_status(), response)
            for status in (301, 404, 503):
                response = await wait(client.get(f"{server.url}/{status}"))
                with self.assertRaisesRegex(conpool.HTTPStatusError, str(status)) as caught:
                    response.raise_for_status()
                self.assertIs(caught.exception.response, response)
                self.assertEqual(caught.exception.request.url, f"{server.url}/{status}")
                copy = pickle.loads(pickle.dumps(caught.exception))
                self.assertEqual(copy.response.status_code, status)
                self.assertEqual(response.is_error, status >= 400)

        self.each(scenario, answer)

    def test_an_asynchronous_file(self):
        class File:
            def __init__(self):
                self.lines = [b"of ", b"lines"]

            async def read(self, size=-1):
                raise AssertionError("its iterator is there")

            def __aiter__(self):
                return self

            async def __anext__(self):
                if not self.lines:
                    raise StopAsyncIteration
                return self.lines.pop(0)

        async def scenario(server):
            async with conpool.AsyncClient() as client:
                self.assertEqual((await client.put(server.url, content=File())).text, "of lines")

        with RawServer(echo) as server, conpool.Client() as client:
            self.run_async(scenario(server))
            with self.assertRaisesRegex(conpool.UsageError, "AsyncClient"):
                client.put(server.url, content=File())

    def test_forms_and_numbers_that_are_none(self):
        with RawServer(echo) as server, conpool.Client() as client:
            for data in ([("a", "b"), ("a", True)], {"a": ["b", True]}):
                self.assertEqual(client.post(server.url, data=data).text, "a=b&a=true")
                self.assertIn(b"x-www-form-urlencoded", server.heads[-1])
            self.assertEqual(client.post(server.url, data=[b"a", b"b"]).text, "ab")
            for empty in ([], {}):
                client.post(server.url, data=empty)
                self.assertIn(b"\r\ncontent-length: 0\r\n", server.heads[-1].lower())
                self.assertNotIn(b"transfer-encoding", server.heads[-1].lower())
            for number in (float("nan"), float("inf")):
                with self.assertRaises(ValueError):
                    client.post(server.url, json={"a": number})

    def test_wrong_sizes_of_pieces(self):
        with RawServer(echo) as server, conpool.Client() as client:
            response = client.get(server.url)
            for size in (0, -1, 2.5, "3"):
                with self.assertRaisesRegex(conpool.UsageError, "chunk_size"):
                    response.iter_bytes(size)

    def test_numbers_that_c_would_wrap(self):
        async def scenario(client, server, wait):
            for count in (-1, 2**32, 2**32 + 1):
                with self.assertRaisesRegex(conpool.UsageError, f"count is .* not {count}$"):
                    await wait(client.preconnect(server.url, count))
            self.assertEqual(await wait(client.preconnect(server.url, 1)), 1)

        self.each(scenario)

    def test_arguments_that_contradict_each_other(self):
        with conpool.Client() as client:
            endpoint = client.endpoint("tcp://127.0.0.1:1")
            for target, given in (
                ("tcp://127.0.0.1:1", {"tls": True}),
                ("tcp://127.0.0.1:1", {"port": 2}),
                ("unix:/nowhere", {"tls": True}),
                ("127.0.0.1:1", {"tls": True}),
                ("h.test", {"port": 9, "addresses": ["127.0.0.1:1"]}),
                (endpoint, {"tls": True}),
                (endpoint, {"port": 1}),
                (endpoint, {"addresses": ["127.0.0.1:1"]}),
            ):
                for call in (client.connect, client.endpoint):
                    with self.assertRaisesRegex(conpool.UsageError, "does not go with"):
                        call(target, **given)

    def test_endpoints(self):
        async def scenario(client, server, wait):
            endpoint = client.endpoint(server.url)
            for i in range(3):
                response = await wait(client.get(f"/{i}?x=1", endpoint=endpoint))
                self.assertEqual(response.text, f"GET /{i}?x=1 HTTP/1.1")
            with self.assertRaisesRegex(conpool.UsageError, "endpoint"):
                await wait(client.get("/", endpoint=endpoint, timeout=3))
            self.assertIn(str(server.port), client.explain(endpoint))
            self.assertIn(str(server.port), client.explain(server.url + "/path"))
            self.assertEqual(await wait(client.preconnect(endpoint, 2)), 2)
            client.force_breaker(endpoint, "open")
            with self.assertRaises(conpool.CircuitOpenError) as caught:
                await wait(client.get("/", endpoint=endpoint))
            self.assertTrue(caught.exception.safe_to_retry)
            self.assertIsNone(caught.exception.retry_after)
            client.force_breaker(server.url, "auto")
            with self.assertRaisesRegex(conpool.UsageError, "sideways"):
                client.force_breaker(endpoint, "sideways")
            self.assertEqual((await wait(client.get("/", endpoint=endpoint))).status_code, 200)

        self.each(scenario)

    def test_readouts(self):
        async def scenario(client, server, wait):
            await wait(client.get(server.url))
            self.assertEqual(json.loads(client.metrics("json")).keys(), client.stats().keys())
            self.assertIn("# TYPE", client.metrics())
            self.assertIn("=", client.metrics("text"))
            with self.assertRaisesRegex(conpool.UsageError, "xml"):
                client.metrics("xml")
            events = client.events()
            self.assertIn("connection.opened", [event["event"] for event in events])
            self.assertEqual(
                [event["sequence"] for event in events], list(range(1, len(events) + 1))
            )
            self.assertEqual((events.next, events.lost), (len(events) + 1, 0))
            client.event("deploy.started", "version 7", level="warning")
            more = client.events(since=events.next)
            self.assertEqual(len(more), 1)
            self.assertEqual(more[0]["event"], "app.deploy.started")
            self.assertEqual((more[0]["text"], more[0]["level"]), ("version 7", "warning"))
            self.assertEqual(len(client.events(limit=2)), 2)
            self.assertIn("version 7", client.event_log())
            self.assertEqual(len(client.event_log("jsonl").splitlines()), len(events) + 1)
            json.loads(client.event_log("trace"))
            client.event("debugged", level="debug")
            self.assertEqual(len(client.events()), len(events) + 1)
            for name, level in (
                ("no spaces", "info"),
                ("", "info"),
                ("x" * 33, "info"),
                ("fine", "loud"),
            ):
                with self.assertRaises(conpool.UsageError):
                    client.event(name, level=level)

        self.each(scenario)

    def test_events_that_were_overwritten(self):
        async def scenario(client, server, wait):
            before = client.events().next - 1
            for i in range(40):
                client.event("e", str(i))
            events = client.events(since=1)
            self.assertEqual(events.lost + len(events), before + 40)
            self.assertGreater(events.lost, 0)
            self.assertEqual(events[-1]["text"], "39")

        self.each(scenario, events_capacity=16)

    def test_timeouts(self):
        def answer(head, connection):
            path = head.split(b" ")[1]
            if path == b"/body":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
            self.hold.wait(support.LONG_S)
            return None

        async def scenario(client, server, wait):
            for options in (
                {"timeout": 0.1},
                {"timeout": conpool.Timeout(read=0.1)},
                {"total_timeout": 0.1},
                {"first_byte_timeout": timedelta(seconds=0.1)},
                {"first_byte_timeout": "100ms"},
            ):
                with self.assertRaises(conpool.ReadTimeout) as caught:
                    await wait(client.get(server.url, **options))
                self.assertIsInstance(caught.exception, TimeoutError)
                self.assertEqual(caught.exception.phase, "receive")
                self.assertFalse(caught.exception.safe_to_retry)
            with self.assertRaises(conpool.ReadTimeout):
                await wait(client.get(server.url + "/body", timeout=0.1))

        self.hold = threading.Event()
        try:
            self.each(scenario, answer)
        finally:
            self.hold.set()

    def test_a_full_pool(self):
        def answer(head, connection):
            if head.startswith(b"GET /hold"):
                self.held.set()
                self.hold.wait(support.LONG_S)
            return reply()

        self.hold, self.held = threading.Event(), threading.Event()
        with (
            RawServer(answer) as server,
            conpool.Client(limits=conpool.Limits(max_connections=1)) as client,
        ):
            holder = threading.Thread(target=client.get, args=(server.url + "/hold",))
            holder.start()
            self.held.wait(support.LONG_S)
            with self.assertRaises(conpool.PoolTimeout) as caught:
                client.get(server.url, timeout=conpool.Timeout(pool=0.1))
            self.assertEqual(caught.exception.name, "E_QUEUE_TIMEOUT")
            self.assertTrue(caught.exception.safe_to_retry)
            with self.assertRaises(conpool.LimitError):
                client.get(server.url, pool_exhausted="fail")
            self.hold.set()
            holder.join()

    def test_errors(self):
        def answer(head, connection):
            connection.reset()

        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # bound and not listening: refuses
            refusing = f"http://127.0.0.1:{bound.getsockname()[1]}/"

            async def scenario(client, server, wait):
                with self.assertRaises(conpool.ConnectError) as caught:
                    await wait(client.get(refusing))
                error = caught.exception
                self.assertIsInstance(error, ConnectionError)
                self.assertEqual(
                    (error.name, error.status),
                    ("E_CONNECT_REFUSED", conpool.STATUSES["E_CONNECT_REFUSED"]),
                )
                self.assertEqual(
                    (error.phase, error.proof, error.os_errno), ("connect", "never_sent", 111)
                )
                self.assertTrue(error.safe_to_retry)
                self.assertEqual(
                    [(a.status, a.phase, a.os_errno) for a in error.attempts],
                    [("E_CONNECT_REFUSED", "connect", 111)],
                )
                self.assertIn("ECONNREFUSED", str(error))
                self.assertIn("attempts:", error.report)
                self.assertEqual((error.request.method, error.request.url), ("GET", refusing))
                copy = pickle.loads(pickle.dumps(error))
                self.assertEqual(
                    (type(copy), copy.attempts, str(copy)),
                    (type(error), error.attempts, str(error)),
                )
                with self.assertRaises(
                    (conpool.ReadError, conpool.WriteError, conpool.RemoteProtocolError)
                ) as caught:
                    await wait(client.post(server.url, content=b"x"))
                self.assertFalse(caught.exception.safe_to_retry)
                with self.assertRaises(conpool.DNSError):
                    await wait(client.get("http://no-such-name.invalid/"))
                for url in ("ftp://x/", "http://a b/", "http://:80/", "nothing", "http://x:99999/"):
                    with self.assertRaises(conpool.InvalidURL):
                        await wait(client.get(url))
                with self.assertRaises(ValueError):
                    await wait(client.get(server.url, headers={"bad name": "x"}))
                with self.assertRaisesRegex(conpool.UsageError, "transfer-encoding"):
                    await wait(client.get(server.url, headers={"transfer-encoding": "x"}))

            self.each(scenario, answer)

    def test_a_reset_is_an_error_of_the_network(self):
        """Before the response, in its header, and in its body; a mere end is none."""

        def answer(head, connection):
            sent, _, end = head.split(b" ")[1][1:].partition(b"/")
            connection.send(SENT[sent])
            if end == b"reset":
                connection.reset()

        SENT = {
            b"nothing": b"",
            b"head": b"HTTP/1.1 200 OK\r\nContent-Le",
            b"body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        }

        async def scenario(client, server, wait):
            for sent in SENT:
                for method in ("GET", "POST"):
                    with self.assertRaises(conpool.ConnectionLost) as caught:
                        await wait(client.request(method, f"{server.url}/{sent.decode()}/reset"))
                    error = caught.exception
                    self.assertIsInstance(error, ConnectionError)
                    self.assertIsInstance(error, conpool.ReadError)
                    self.assertIsInstance(error, conpool.RemoteProtocolError)
                    self.assertEqual(error.os_errno, errno.ECONNRESET)
                    self.assertEqual(type(pickle.loads(pickle.dumps(error))), type(error))
                with self.assertRaises(conpool.RemoteProtocolError) as caught:
                    await wait(client.get(f"{server.url}/{sent.decode()}/close"))
                self.assertNotIsInstance(caught.exception, ConnectionError)

        self.each(scenario, answer, breaker_mode="off")

    def test_program_errors_of_options(self):
        with self.assertRaisesRegex(conpool.UsageError, "connect_timeout"):
            conpool.Client(connect_timeot=3)
        with self.assertRaisesRegex(conpool.UsageError, "pool_max"):
            conpool.Client(pool_max="many")
        with self.assertRaisesRegex(conpool.UsageError, "pool_max"):
            conpool.Client(pool_max=-1)
        with conpool.Client() as client, self.assertRaises(conpool.UsageError) as caught:
            client.get("http://127.0.0.1:1/", loop_drive="caller")
        self.assertEqual(caught.exception.name, "E_OPTION_SCOPE")


if __name__ == "__main__":
    support.main()
