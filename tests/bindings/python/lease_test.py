"""Leased connections: bytes both ways, their ends, the lent descriptor, kinds of addresses."""

import asyncio
import os
import socket
import tempfile
import threading
import time
from unittest import mock

import support
import conpool
import processes
from support import line_server


class Leases(support.Case):
    def test_bytes_and_reuse(self):
        with line_server() as server, conpool.Client() as client:
            with client.connect("127.0.0.1", server.port) as connection:
                connection.sendall(b"hello\n")
                self.assertEqual(connection.recv(), b"+hello\n")
                connection.sendall(bytearray(b"again\n"))
                self.assertEqual(connection.recv(3), b"+ag")
                self.assertEqual(connection.recv(100), b"ain\n")
                self.assertEqual(connection.address, f"127.0.0.1:{server.port}")
                facts = connection.facts
                self.assertEqual((facts["reused"], len(facts["attempts"])), (False, 1))
            with client.connect(f"tcp://127.0.0.1:{server.port}") as connection:
                self.assertTrue(connection.facts["reused"])
            self.assertEqual(server.accepted, 1)
            with self.assertRaises(ZeroDivisionError), client.connect("127.0.0.1", server.port):
                raise ZeroDivisionError
            with client.connect("127.0.0.1", server.port) as connection:
                self.assertFalse(connection.facts["reused"])  # after the exception it was closed
            endpoint = client.endpoint("127.0.0.1", server.port)
            with client.connect(endpoint, queue_timeout=1) as connection:
                self.assertTrue(connection.facts["reused"])

    def test_with_await(self):
        async def scenario(server):
            async with conpool.AsyncClient() as client:
                async with client.connect("127.0.0.1", server.port) as connection:
                    await connection.sendall(b"hello\n")
                    self.assertEqual(await connection.recv(), b"+hello\n")
                connection = await client.connect("127.0.0.1", server.port)
                self.assertTrue(connection.facts["reused"])
                reading = asyncio.ensure_future(connection.recv())
                await asyncio.sleep(0)
                await connection.sendall(b"a\n")
                self.assertEqual(await reading, b"+a\n")
                await connection.shutdown_write()
                self.assertEqual(await connection.recv(), b"")
                connection.close()
                with self.assertRaises(conpool.ClosedError):
                    await connection.recv()
                with self.assertRaises(ZeroDivisionError):
                    async with client.connect("127.0.0.1", server.port):
                        raise ZeroDivisionError
                with self.assertRaises(conpool.ConnectError):
                    await client.connect("127.0.0.1", 1)

        with line_server() as server:
            self.run_async(scenario(server))

    def test_the_end_of_the_stream(self):
        with line_server() as server, conpool.Client() as client:
            with client.connect("127.0.0.1", server.port) as connection:
                connection.sendall(b"last\n")
                connection.shutdown_write()
                self.assertEqual(connection.recv(), b"+last\n")
                self.assertEqual(connection.recv(), b"")
            with client.connect("127.0.0.1", server.port) as connection:
                self.assertFalse(connection.facts["reused"])

    def test_sizes_below_none(self):
        async def scenario(port):
            async with conpool.AsyncClient() as client:
                async with client.connect("127.0.0.1", port) as connection:
                    await connection.sendall(b"line\n")
                    for _ in range(2):  # the second time something is kept
                        with self.assertRaisesRegex(conpool.UsageError, "size .* not -1$"):
                            await connection.recv(-1)
                        reading = asyncio.ensure_future(connection.recv(1))
                        self.assertIn(await reading, (b"+", b"l"))

        with line_server() as server:
            self.run_async(scenario(server.port))
            with conpool.Client() as client:
                with client.connect("127.0.0.1", server.port) as connection:
                    connection.sendall(b"line\n")
                    for expected in (b"+", b"l"):
                        with self.assertRaisesRegex(conpool.UsageError, "size .* not -1$"):
                            connection.recv(-1)
                        self.assertEqual(connection.recv(1), expected)

    def test_what_a_cancelled_read_brought(self):
        def serve(connection):
            go.wait(support.LONG_S)
            connection.send(b"+first\n")
            lines(connection)

        async def scenario(server):
            async with conpool.AsyncClient() as client:
                async with client.connect("127.0.0.1", server.port) as connection:
                    reading = asyncio.ensure_future(connection.recv())
                    await asyncio.sleep(0)
                    (inbox,) = client._queue()._inboxes.values()
                    go.set()
                    while not inbox.events:  # they come, while the task does not go on
                        client._queue().drain()
                    reading.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await reading
                    self.assertEqual(await connection.recv(2), b"+f")
                    self.assertEqual(await connection.recv(), b"irst\n")
                    # Nothing has come when this one is cancelled.
                    for _ in range(3):
                        reading = asyncio.ensure_future(connection.recv())
                        await asyncio.sleep(0)
                        reading.cancel()
                    await connection.sendall(b"second\n")
                    self.assertEqual(await connection.recv(), b"+second\n")

        go, server = threading.Event(), line_server()
        lines, server.serve = server.serve, serve
        with server:
            self.run_async(scenario(server))

    def test_no_line_is_lost_by_limits(self):
        """Reads with a limit as short as the time between two lines."""

        def serve(connection):
            for number in range(1000):
                connection.send(b"%06d\n" % number)
                time.sleep(0.0005)  # as long as the reader's limit: that is what is tested
            connection.close()

        async def scenario(port):
            got = b""
            async with conpool.AsyncClient() as client:
                connection = await client.connect("127.0.0.1", port)
                while not got.endswith(b"000999\n"):
                    try:
                        got += await asyncio.wait_for(connection.recv(), 0.0005)
                    except asyncio.TimeoutError:
                        pass
                connection.close()
            return got

        server = line_server()
        server.serve = serve
        with server:
            got = self.run_async(scenario(server.port))
        self.assertEqual(got, b"".join(b"%06d\n" % number for number in range(1000)))

    def test_what_an_interrupted_read_brought(self):
        def interrupted(operation, event):
            wait(operation, event)
            raise KeyboardInterrupt

        from conpool import _engine

        wait = _engine.wait
        with line_server() as server, conpool.Client() as client:
            for take in ("recv", "lend", "release"):
                connection = client.connect("127.0.0.1", server.port)
                connection.sendall(b"line\n")
                with mock.patch.object(_engine, "wait", interrupted):
                    with self.assertRaises(KeyboardInterrupt):
                        connection.recv()
                if take == "recv":
                    self.assertEqual(connection.recv(2), b"+l")
                    self.assertEqual(connection.recv(), b"ine\n")
                    connection.close()
                elif take == "lend":
                    self.assertEqual(connection.lend().received, b"+line\n")
                    connection.close()
                else:
                    connection.release()  # what it has not read is nobody else's
                    with client.connect("127.0.0.1", server.port) as another:
                        self.assertFalse(another.facts["reused"])

    def test_what_is_no_bytes(self):
        async def scenario(port):
            async with conpool.AsyncClient() as client:
                async with client.connect("127.0.0.1", port) as connection:
                    with self.assertRaises(TypeError):
                        await connection.sendall(5)

        with line_server() as server, conpool.Client() as client:
            with client.connect("127.0.0.1", server.port) as connection:
                for data in (5, [65], "text", None):
                    with self.assertRaises(TypeError):
                        connection.sendall(data)
            self.run_async(scenario(server.port))

    def test_big_writes(self):
        data = os.urandom(1 << 20).replace(b"\n", b"x") + b"\n"
        with line_server() as server, conpool.Client() as client:
            with client.connect("127.0.0.1", server.port) as connection:
                writer = threading.Thread(target=connection.sendall, args=(data,))
                writer.start()
                got = b""
                while len(got) < len(data) + 1:
                    got += connection.recv()
                writer.join()
                self.assertEqual(got, b"+" + data)

    def test_lent_descriptor(self):
        with line_server() as server, conpool.Client() as client:
            with client.connect("127.0.0.1", server.port) as connection:
                fd = connection.fileno()
                self.assertEqual(connection.fileno(), fd)
                os.write(fd, b"by hand\n")
                self.assertEqual(os.read(fd, 100), b"+by hand\n")
                self.assertEqual(connection.received, b"")
                with self.assertRaises(conpool.UsageError):
                    connection.recv()
                with self.assertRaises(conpool.StreamError):
                    connection.lend()
            with self.assertRaises(OSError):
                os.fstat(fd)
            with client.connect("127.0.0.1", server.port) as connection:
                self.assertTrue(connection.facts["reused"])
                lent = connection.lend(blocking=False)
                self.assertFalse(os.get_blocking(lent.fd))
            self.assertEqual(server.accepted, 1)

    def test_bytes_that_came_before_the_loan(self):
        with line_server() as server, conpool.Client() as client:
            with client.connect("127.0.0.1", server.port) as connection:
                connection.sendall(b"a\n")
                self.assertEqual(connection.recv(1), b"+")
                got = connection.lend().received
                while len(got) < 2:
                    got += os.read(connection.fileno(), 2)
                self.assertEqual(got, b"a\n")

    def test_lend_is_refused_while_it_reads(self):
        with line_server() as server:

            async def scenario():
                async with conpool.AsyncClient() as client:
                    async with client.connect("127.0.0.1", server.port) as connection:
                        reading = asyncio.ensure_future(connection.recv())
                        await asyncio.sleep(0)
                        with self.assertRaisesRegex(conpool.UsageError, "lending"):
                            connection.lend()
                        reading.cancel()
                        with self.assertRaises(asyncio.CancelledError):
                            await reading

            self.run_async(scenario())

    def test_places(self):
        with tempfile.TemporaryDirectory() as place, line_server(unix=f"{place}/s") as server:
            with conpool.Client() as client, client.connect(f"unix:{place}/s") as connection:
                connection.sendall(b"x\n")
                self.assertEqual(connection.recv(), b"+x\n")
                self.assertEqual(connection.address, f"unix:{place}/s")
            self.assertEqual(server.accepted, 1)
            os.rename(f"{place}/s", f"{place}/stra\u00dfe")  # which is no host name
            with conpool.Client() as client:
                with client.connect(f"unix:{place}/stra\u00dfe") as connection:
                    connection.sendall(b"x\n")
                    self.assertEqual(connection.recv(), b"+x\n")
        with socket.socket() as bound, line_server() as server, conpool.Client() as client:
            bound.bind(("127.0.0.1", 0))
            refusing = bound.getsockname()[1]
            with client.connect("127.0.0.1", [refusing, server.port]) as connection:
                self.assertEqual(connection.address, f"127.0.0.1:{server.port}")
            addresses = [f"127.0.0.1:{refusing}", f"127.0.0.1:{server.port}"]
            with client.connect("db.test", addresses=addresses) as connection:
                self.assertEqual(connection.address, f"127.0.0.1:{server.port}")
            with client.connect("", addresses=",".join(addresses)) as connection:
                connection.sendall(b"y\n")
                self.assertEqual(connection.recv(), b"+y\n")

    def test_requests_to_addresses(self):
        with (
            support.RawServer(lambda *_: support.reply(b"hi")) as server,
            conpool.Client() as client,
        ):
            at = client.endpoint("http://shop.test", addresses=[f"127.0.0.1:{server.port}"])
            response = client.get("/x", endpoint=at)
            self.assertEqual(response.content, b"hi")
            self.assertEqual(response.connection.address, f"127.0.0.1:{server.port}")
            self.assertEqual(len(response.connection.attempts), 1)
            host, place = "http://b\u00fccher.test", f"127.0.0.1:{server.port}"
            client.get("/", endpoint=client.endpoint(host, addresses=[place]))
            self.assertIn(b"\r\nhost: xn--bcher-kva.test\r\n", server.heads[-1].lower())
            with self.assertRaises(conpool.UsageError):
                client.endpoint("ftp://shop.test", addresses=["127.0.0.1:1"])

    def test_wrong_places(self):
        with conpool.Client() as client:
            for arguments in (
                ("http://127.0.0.1:1",),
                ("",),
                ("a b", 1),
                ("127.0.0.1", 70000),
                ("127.0.0.1", -1),
                ("127.0.0.1", []),
                ("tcp://127.0.0.1",),
                ("\u3002\u3002", 1),
            ):
                with self.assertRaises(conpool.UsageError, msg=arguments):
                    client.connect(*arguments)
            with self.assertRaises(conpool.UsageError):
                client.connect("", addresses=["not an address"])
            with self.assertRaises(conpool.ConnectError) as caught:
                client.connect("127.0.0.1", 1)
            self.assertEqual(caught.exception.attempts[0].target, "tcp:127.0.0.1:1")

    def test_one_thread_closes_what_another_reads(self):
        for ending in ("close", "release"):
            with line_server() as server, conpool.Client() as client:
                connection = client.connect("127.0.0.1", server.port)
                raised = []

                def read():
                    try:
                        connection.recv()
                    except conpool.HTTPError as error:
                        raised.append(error)

                reader = threading.Thread(target=read)
                reader.start()
                while not any(event["event"] == "connection.opened" for event in client.events()):
                    pass
                getattr(connection, ending)()
                reader.join(support.LONG_S)
                self.assertFalse(reader.is_alive())
                self.assertIsInstance(raised[0], (conpool.CancelledError, conpool.ClosedError))

    def test_one_task_closes_what_another_reads_or_writes(self):
        """The lease ends there and then, and the peer sees it, while the other task still waits."""

        def serve(connection):
            try:
                if doing == "recv":
                    connection.file.read()
                else:
                    over.wait(support.LONG_S)  # nothing is read: the other side cannot go on
                    while connection.peer.recv(1 << 20):
                        pass
            except OSError:
                pass
            finally:
                connection.close()
                ended.set()

        async def scenario(port):
            async with conpool.AsyncClient() as client:
                async with client.connect("127.0.0.1", port) as connection:
                    what = (b"x" * (64 << 20),) if doing == "sendall" else ()
                    waiting = asyncio.ensure_future(getattr(connection, doing)(*what))
                    await asyncio.sleep(0)
                    self.assertFalse(waiting.done())
                    if ending != "leave":
                        getattr(connection, ending)()
                over.set()
                loop = asyncio.get_running_loop()
                # It could not end there if the closing waited for the task, which waits for it.
                self.assertTrue(await loop.run_in_executor(None, ended.wait, support.LONG_S / 4))
                with self.assertRaises((conpool.CancelledError, conpool.ClosedError)):
                    await asyncio.wait_for(waiting, support.LONG_S / 4)
                self.assertEqual(client.stats()["pool"]["figures"]["leases.active"], 0)

        for doing in ("recv", "sendall"):
            for ending in ("close", "release", "leave"):
                with self.subTest(doing=doing, ending=ending):
                    ended, over = threading.Event(), threading.Event()
                    server = line_server()
                    server.serve = serve
                    with server:
                        self.run_async(scenario(server.port))

    def test_a_cancelled_acquire_costs_no_connection(self):
        async def scenario(server):
            async with conpool.AsyncClient(
                endpoint_max_connections=1, events_level="debug"
            ) as client:
                first = await client.connect("127.0.0.1", server.port)
                waiting = asyncio.ensure_future(
                    client.connect("127.0.0.1", server.port).__aenter__()
                )
                await asyncio.sleep(0)
                # Cancelled when the lease is on its way already, and the loop has not seen it.
                first.release()
                processes.poll_until(lambda: leased(client) == 2, "the second lease")
                waiting.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiting
                async with client.connect("127.0.0.1", server.port) as connection:
                    await connection.sendall(b"x\n")
                    self.assertEqual(await connection.recv(), b"+x\n")
            return server.accepted

        def leased(client):
            return [event["event"] for event in client.events()].count("connection.leased")

        with line_server() as server:
            self.assertEqual(self.run_async(scenario(server)), 1)


class Warned(support.Case):
    def tearDown(self):
        self.warnings.clear()
        super().tearDown()

    def test_what_is_left_open_is_named(self):
        with line_server() as server:
            client = conpool.Client(proxy="", pool_max=3)
            client._options["proxy"] = "http://user:secret@proxy"
            connection = client.connect("127.0.0.1", server.port)
            del connection
            self.assertRegex(
                str(self.warnings[-1].message), r"unclosed <Connection 127\.0\.0\.1:\d+>"
            )
            self.warnings.clear()  # a warning holds what it is about
            del client
            text = str(self.warnings[-1].message)
            self.assertEqual(text, "unclosed Client(proxy='***', pool_max=3)")
            self.assertTrue(all(one.category is ResourceWarning for one in self.warnings))

    def test_an_async_client_too(self):
        async def scenario(server):
            client = conpool.AsyncClient()
            connection = await client.connect("127.0.0.1", server.port)
            del connection
            self.warnings.clear()  # a warning holds what it is about
            queue = client._queue()
            del client
            while queue._queue is not None:  # it lets the loop go, too
                await asyncio.sleep(0)

        with line_server() as server:
            self.run_async(scenario(server))
        self.assertEqual(
            len([one for one in self.warnings if "unclosed AsyncClient" in str(one.message)]), 1
        )


if __name__ == "__main__":
    support.main()
