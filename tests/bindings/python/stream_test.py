"""Streamed responses and uploads: order, back-pressure, ends in the middle."""

import asyncio
import contextlib
import gc
import sys
import threading
import time
from unittest import mock

import conpool
import support
from support import RawServer, echo, reply

PART = bytes(range(256)) * 256


class Streams(support.Case):
    def chunked(self, count):
        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(count):
                connection.send(b"%x\r\n%s\r\n" % (len(PART), PART))
            return b"0\r\nX-End: 1\r\n\r\n"

        return RawServer(answer)

    def test_pieces(self):
        with self.chunked(20) as server, conpool.Client() as client:
            with client.stream("GET", server.url) as response:
                self.assertEqual(response.status_code, 200)
                with self.assertRaises(conpool.StreamError):
                    response.content
                self.assertEqual(b"".join(response.iter_bytes()), PART * 20)
                self.assertEqual(response.trailers["x-end"], "1")
                self.assertIn("total", response.timings)
                with self.assertRaises(conpool.StreamError):
                    list(response.iter_bytes())
            with client.stream("GET", server.url) as response:
                sizes = [len(piece) for piece in response.iter_bytes(100_000)]
                self.assertEqual(set(sizes[:-1]), {100_000})
                self.assertEqual(sum(sizes), len(PART) * 20)
            with client.stream("GET", server.url) as response:
                self.assertEqual(response.read(), PART * 20)
                self.assertEqual(response.content, PART * 20)
                self.assertEqual(b"".join(response.iter_bytes(7)), PART * 20)

    def test_pieces_with_await(self):
        async def scenario(server):
            async with conpool.AsyncClient() as client:
                async with client.stream("GET", server.url) as response:
                    self.assertEqual(
                        b"".join([piece async for piece in response.aiter_bytes()]), PART * 20
                    )
                    self.assertEqual(response.trailers["x-end"], "1")
                    with self.assertRaises(conpool.StreamError):
                        await response.aread()
                async with client.stream("GET", server.url) as response:
                    with self.assertRaises(conpool.StreamError):
                        response.read()
                    sizes = [len(piece) async for piece in response.aiter_bytes(100_000)]
                    self.assertEqual((set(sizes[:-1]), sum(sizes)), ({100_000}, len(PART) * 20))
                async with client.stream("GET", server.url) as response:
                    self.assertEqual(await response.aread(), PART * 20)
                    self.assertEqual(response.content, PART * 20)
                response = await client.stream("GET", server.url)
                self.assertEqual(await response.aread(), PART * 20)

        with self.chunked(20) as server:
            self.run_async(scenario(server))

    def test_text_and_lines(self):
        text = "a\r\n\ncaf\u00e9\n" + "\u4e2d" * 5000 + "\nlast"
        expected = ["a", "", "caf\u00e9", "\u4e2d" * 5000, "last"]

        def answer(head, connection):
            data = text.encode()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
            for i in range(0, len(data), 1001):  # cuts characters in two
                connection.send(data[i : i + 1001])
            return b""

        async def scenario(server):
            async with conpool.AsyncClient() as client:
                async with client.stream("GET", server.url) as response:
                    self.assertEqual([line async for line in response.aiter_lines()], expected)
                async with client.stream("GET", server.url) as response:
                    self.assertEqual("".join([one async for one in response.aiter_text()]), text)

        with RawServer(answer) as server:
            with conpool.Client() as client:
                with client.stream("GET", server.url) as response:
                    self.assertEqual(list(response.iter_lines()), expected)
                with client.stream("GET", server.url) as response:
                    self.assertEqual("".join(response.iter_text()), text)
                self.assertEqual(list(client.get(server.url).iter_lines()), expected)
            self.run_async(scenario(server))

    def test_lines_in_any_cut(self):
        from conpool._models import Lines, through

        text = "a\r\nbc\n\n\r\nd"
        for size in range(1, len(text) + 1):
            pieces = [text[i : i + size] for i in range(0, len(text), size)]
            self.assertEqual(list(through(pieces, Lines())), ["a", "bc", "", "", "d"])

    def test_large_pieces_of_small_ones(self):
        """What is held is not copied for each: all of it would be, a quarter of a million times."""
        from conpool._models import Resize

        size = 16 << 20
        stage, piece, start = Resize(size), b"x" * 64, time.process_time()
        for _ in range(size // len(piece)):
            made = stage.feed(piece)
            self.assertLess(time.process_time() - start, 30)  # and it takes half a second
        self.assertEqual([len(one) for one in made], [size])

    def test_text_with_and_without_a_mark_of_its_order(self):
        from conpool._models import Decode, through

        for name in ("utf-16", "utf-32"):
            whole = ["a\u00e9\U0001f600".encode(name + order) for order in ("", "-le", "-be")]
            for data in (b"", *whole, *(one[:-1] for one in whole), *(one[:1] for one in whole)):
                for size in range(1, len(data) + 2):
                    pieces = [data[i : i + size] for i in range(0, len(data), size)]
                    made = "".join(through(pieces, Decode(name)))
                    self.assertEqual(made, data.decode(name, "replace"), (name, data, size))

    def endless(self):
        """A server that sends until it is stopped, and counts what it could send."""
        self.sent = 0

        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.send(b"%x\r\n%s\r\n" % (len(PART), PART))
                self.sent += len(PART)

        return RawServer(answer)

    def test_a_slow_reader_holds_the_server_back(self):
        """Its server stands still while another one, whose response is read, sends much more."""
        with self.endless() as server, self.chunked(2000) as other, conpool.Client() as client:
            with client.stream("GET", server.url) as response:
                pieces = response.iter_bytes()
                next(pieces)
                with client.stream("GET", other.url) as read:
                    self.assertEqual(sum(map(len, read.iter_bytes())), len(PART) * 2000)
                self.assertLess(self.sent, 32 << 20)
                self.assertTrue(next(pieces))

    def test_a_slow_coroutine_holds_the_server_back(self):
        async def scenario(server, other):
            async with conpool.AsyncClient() as client:
                async with client.stream("GET", server.url) as response:
                    pieces = response.aiter_bytes()
                    got = await pieces.__anext__()
                    async with client.stream("GET", other.url) as read:
                        sizes = [len(piece) async for piece in read.aiter_bytes()]
                        self.assertEqual(sum(sizes), len(PART) * 2000)
                    self.assertLess(self.sent, 32 << 20)
                    # What was held comes in order.
                    async for piece in pieces:
                        got += piece
                        if len(got) > len(PART) * 100:
                            break
                    self.assertEqual(got[: len(PART) * 100], PART * 100)
                    await pieces.aclose()

        with self.endless() as server, self.chunked(2000) as other:
            self.run_async(scenario(server, other))

    def test_left_in_the_middle(self):
        with self.endless() as server:
            with conpool.Client() as client:
                with client.stream("GET", server.url) as response:
                    for _ in response.iter_bytes():
                        break
                self.assertTrue(response.is_closed)
                with self.assertRaises(conpool.StreamError):
                    response.read()
                response = client.open_stream("GET", server.url)
                response.close()
                response.close()

            async def scenario():
                async with conpool.AsyncClient() as client:
                    with self.assertRaises(ZeroDivisionError):
                        async with client.stream("GET", server.url) as response:
                            async for _ in response.aiter_bytes():
                                raise ZeroDivisionError
                    response = await client.open_stream("GET", server.url)
                    await response.aclose()

            self.run_async(scenario())

    def test_dropped_without_a_close(self):
        with self.endless() as server, conpool.Client() as client:
            response = client.open_stream("GET", server.url)
            pieces = response.iter_bytes()
            next(pieces)
            del pieces, response
            gc.collect()

    def test_the_client_is_closed_under_it(self):
        with self.endless() as server:
            client = conpool.Client()
            response = client.open_stream("GET", server.url)
            client.close()
            with self.assertRaises(conpool.ClosedError):
                response.read()

            async def scenario():
                client = conpool.AsyncClient()
                response = await client.open_stream("GET", server.url)
                await client.aclose()
                with self.assertRaises(conpool.ClosedError):
                    await response.aread()

            self.run_async(scenario())

    def test_cut_off(self):
        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

        async def scenario(server):
            async with conpool.AsyncClient() as client:
                with self.assertRaises(conpool.RemoteProtocolError) as caught:
                    async with client.stream("GET", server.url) as response:
                        await response.aread()
                self.assertEqual(caught.exception.request.url, server.url)

        with RawServer(answer) as server:
            with conpool.Client() as client:
                got = []
                with self.assertRaises(conpool.RemoteProtocolError) as caught:
                    with client.stream("GET", server.url) as response:
                        got.extend(response.iter_bytes())
                self.assertEqual(
                    (caught.exception.name, caught.exception.proof),
                    ("E_HTTP_TRUNCATED", "maybe_processed"),
                )
            self.run_async(scenario(server))

    def test_uploads_wait_for_the_server(self):
        """One that reads nothing gets no more while another, which reads, takes all of its own."""
        began, go = threading.Event(), threading.Event()

        def late(head, connection):
            began.set()
            go.wait(support.LONG_S)
            return length(head, connection)

        def length(head, connection):
            return reply(b"%d" % len(connection.body(head)))

        def pieces(taken):
            for _ in range(300):
                taken.append(1)
                yield PART

        async def scenario(url, other):
            async with conpool.AsyncClient() as client:
                taken = []
                held = asyncio.ensure_future(client.post(url, content=pieces(taken)))
                await asyncio.get_running_loop().run_in_executor(None, began.wait, support.LONG_S)
                response = await client.post(other, content=pieces([]))
                self.assertEqual(response.text, str(len(PART) * 300))
                self.assertLess(len(taken), 300)
                go.set()
                self.assertEqual((await held).text, str(len(PART) * 300))

        with RawServer(late) as server, RawServer(length) as other:
            with conpool.Client() as client:
                taken, answers = [], []
                upload = threading.Thread(
                    target=lambda: answers.append(client.post(server.url, content=pieces(taken)))
                )
                upload.start()
                began.wait(support.LONG_S)
                response = client.post(other.url, content=pieces([]))
                self.assertEqual(response.text, str(len(PART) * 300))
                self.assertLess(len(taken), 300)
                go.set()
                upload.join(support.LONG_S)
                self.assertEqual(answers[0].text, str(len(PART) * 300))
            began.clear()
            go.clear()
            self.run_async(scenario(server.url, other.url))

    def test_both_ways_at_once(self):
        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while size := int(connection.file.readline(), 16):
                connection.send(b"%x\r\n%s\r\n" % (size, connection.file.read(size)))
                connection.file.readline()
            connection.file.readline()
            return b"0\r\n\r\n"

        async def scenario(server):
            async with conpool.AsyncClient() as client:
                said = asyncio.Queue()

                async def pieces():
                    while (piece := await said.get()) is not None:
                        yield piece

                async with client.stream("POST", server.url, content=pieces()) as response:
                    answers = response.aiter_bytes()
                    for i in range(20):
                        await said.put(b"%d" % i)
                        self.assertEqual(await answers.__anext__(), b"%d" % i)
                    await said.put(None)
                    self.assertEqual([one async for one in answers], [])

        with RawServer(answer) as server:
            self.run_async(scenario(server))

    def test_the_response_comes_while_the_body_is_sent(self):
        """More than the library holds for a reader: what came is taken, up to a limit."""

        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while (size := int(connection.file.readline(), 16)) != 0:
                connection.send(b"%x\r\n%s\r\n" % (size, connection.file.read(size)))
                connection.file.readline()
            connection.file.readline()
            return b"0\r\n\r\n"

        pieces = [PART] * 320
        with RawServer(answer) as server, conpool.Client(timeout=20) as client:
            with client.stream("POST", server.url, content=pieces) as response:
                self.assertEqual(response.read(), PART * 320)
            with mock.patch.object(conpool._engine, "EARLY_BYTES", 1 << 20):
                with self.assertRaisesRegex(conpool.StreamError, "before all of the body"):
                    client.open_stream("POST", server.url, content=pieces)

    def test_a_source_that_hangs_is_let_go(self):
        def answer(head, connection):
            return reply(b"enough", lines=b"Connection: close\r\n")

        async def scenario(server):
            async def hangs():
                yield b"a"
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    ended.append(1)
                    raise

            ended = []
            async with conpool.AsyncClient() as client:
                self.assertEqual((await client.post(server.url, content=hangs())).text, "enough")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            self.assertEqual(ended, [1])

        with RawServer(answer) as server:
            self.run_async(scenario(server))

    def test_ended_after_its_loop(self):
        """A response whose body is still being sent, and whose loop is closed already."""

        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.body(head)

        async def hangs():
            yield b"a"
            await asyncio.Event().wait()

        noise = []
        with RawServer(answer) as server, mock.patch.object(sys, "unraisablehook", noise.append):
            for ending in ("aclose", "drop"):
                with self.subTest(ending), contextlib.closing(asyncio.new_event_loop()) as other:
                    client, loop = conpool.AsyncClient(), asyncio.new_event_loop()
                    asked = client.open_stream("POST", server.url, content=hangs())
                    response = loop.run_until_complete(asked)
                    sender = response._exchange._sender
                    sender._log_destroy_pending = False  # asyncio's word about such a task
                    loop.close()
                    self.assertFalse(sender.done())
                    if ending == "aclose":
                        other.run_until_complete(response.aclose())
                    del response, sender, asked
                    gc.collect()
                    other.run_until_complete(client.aclose())
        self.assertEqual([one.exc_value for one in noise], [])

    def test_a_sync_client_refuses_an_async_source(self):
        async def source():
            yield b"a"

        with (
            RawServer(echo) as server,
            conpool.Client() as client,
            self.assertRaisesRegex(conpool.UsageError, "AsyncClient"),
        ):
            client.post(server.url, content=source())


if __name__ == "__main__":
    support.main()
