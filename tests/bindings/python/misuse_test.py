"""Wrong use ends in an exception or in a clean end, never in a crash or a hang.

CONPOOL_MISUSE_RUNS says how often each test runs, and each kind of call is interrupted: once, and
twenty times, if it is not set.
"""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from unittest import mock

import support
import conpool
from conpool import _engine, _ffi
from support import RawServer, echo, line_server

RUNS = int(os.environ.get("CONPOOL_MISUSE_RUNS", "1"))
INTERRUPTS = RUNS if RUNS > 1 else 20


def script(text, *arguments, **options):
    """Runs a program; (exit status, stdout, stderr)."""
    prelude = f"import sys; sys.path.insert(0, {support.HERE!r}); import support, conpool\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(text), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=support.LONG_S,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


class Misuse(support.Case):
    def run(self, result=None):
        result = result or self.defaultTestResult()
        for _ in range(RUNS):
            super().run(result)
            if not result.wasSuccessful():
                break
        return result


class Closed(Misuse):
    def test_twice(self):
        client = conpool.Client()
        client.close()
        client.close()
        client.close(drain=5)
        with client:
            pass

        async def scenario():
            client = conpool.AsyncClient()
            await client.aclose()
            await client.aclose()
            async with conpool.AsyncClient() as client:
                await client.aclose()

        self.run_async(scenario())
        with line_server() as server, conpool.Client() as client:
            connection = client.connect("127.0.0.1", server.port)
            connection.release()
            connection.release()
            connection.close()

    def test_use_after_close(self):
        with RawServer(echo) as server, line_server() as lines:
            client = conpool.Client()
            endpoint = client.endpoint(server.url)
            connection = client.connect("127.0.0.1", lines.port)
            client.close()
            calls = {
                "get": lambda: client.get(server.url),
                "get at": lambda: client.get("/", endpoint=endpoint),
                "post": lambda: client.post(server.url, content=iter([b""])),
                "stream": lambda: client.open_stream("GET", server.url),
                "connect": lambda: client.connect("127.0.0.1", lines.port),
                "endpoint": lambda: client.endpoint("tcp://a:1"),
                "preconnect": lambda: client.preconnect(endpoint),
                "stats": client.stats,
                "metrics": client.metrics,
                "events": client.events,
                "log": client.event_log,
                "event": lambda: client.event("x"),
                "explain": lambda: client.explain(server.url),
                "breaker": lambda: client.force_breaker(endpoint, "open"),
                "recv": connection.recv,
                "sendall": lambda: connection.sendall(b"x"),
                "lend": connection.lend,
                "facts of an open connection": lambda: connection.shutdown_write(),
            }
            for name, call in calls.items():
                with self.subTest(name), self.assertRaises(conpool.ClosedError) as caught:
                    call()
                self.assertIsInstance(caught.exception, RuntimeError)
                self.assertIn("closed", str(caught.exception))
            connection.close()
            for call in (
                connection.recv,
                connection.lend,
                connection.fileno,
                lambda: connection.facts,
            ):
                with self.assertRaisesRegex(conpool.ClosedError, "closed"):
                    call()
            self.assertIn("closed", repr(connection))

    def test_use_after_close_with_await(self):
        async def scenario():
            client = conpool.AsyncClient()
            await client.get(server.url)
            await client.aclose()
            for call in (
                lambda: client.get(server.url),
                lambda: client.post(server.url, content=[b"x"]),
                lambda: client.open_stream("GET", server.url),
                lambda: client.connect("127.0.0.1", server.port),
                lambda: client.preconnect(server.url),
            ):
                with self.assertRaises(conpool.ClosedError):
                    await call()

        with RawServer(echo) as server:
            self.run_async(scenario())

    def test_the_exchange_is_closed_while_it_is_read(self):
        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
            hold.wait(support.LONG_S)

        hold = threading.Event()
        with RawServer(answer) as server, conpool.Client() as client:
            response = client.open_stream("GET", server.url)
            pieces = response.iter_bytes()
            next(pieces)
            reads, queue_next = threading.Event(), _engine.lib.queue_next

            def seen(*arguments):
                reads.set()
                return queue_next(*arguments)

            def close():
                reads.wait(support.LONG_S)
                response.close()

            with mock.patch.object(_engine.lib, "queue_next", seen):
                closer = threading.Thread(target=close)
                closer.start()
                with self.assertRaises(conpool.ClosedError):
                    next(pieces)
                closer.join(support.LONG_S)
            hold.set()

    def test_a_connection_whose_making_is_interrupted(self):
        reported = []
        with line_server() as server, conpool.Client() as client:
            with mock.patch.object(sys, "unraisablehook", reported.append):
                with mock.patch.object(
                    _engine.lib, "connection_address", side_effect=ZeroDivisionError
                ):
                    with self.assertRaises(ZeroDivisionError):
                        client.connect("127.0.0.1", server.port)
                gc.collect()
        self.assertEqual(reported, [])

    def test_queues_dropped_with_ops_in_flight(self):
        """Streams let go in the middle of both bodies: the library lets go of the pieces first."""

        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            connection.file.read()

        def pieces():
            yield b"x" * 1_000_000

        shouted = []

        async def scenario(server):
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: shouted.append(context)
            )
            async with conpool.AsyncClient(breaker_mode="off") as client:
                for _ in range(20):
                    response = await client.open_stream("POST", server.url, content=pieces())
                    del response
                    tasks = [
                        asyncio.ensure_future(client.post(server.url, content=b"x" * 100_000))
                        for _ in range(3)
                    ]
                    await asyncio.sleep(0)
                    for task in tasks:
                        task.cancel()
                    queue = client._queue()
                    client._queues.clear()
                    queue.close()

        with RawServer(answer) as server, conpool.Client(breaker_mode="off") as client:
            for _ in range(20):
                response = client.open_stream("GET", server.url)
                self.assertEqual(next(response.iter_bytes()), b"x")
                del response
            self.run_async(scenario(server))
            gc.collect()
        self.assertEqual(shouted, [])

    def test_a_dropped_stream_is_cancelled(self):
        def answer(head, connection):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            connection.file.read()
            ended.set()

        async def scenario(server):
            async with conpool.AsyncClient() as client:
                response = await client.open_stream("GET", server.url)
                del response
                over = await asyncio.get_running_loop().run_in_executor(
                    None, ended.wait, support.LONG_S
                )
                self.assertTrue(over)

        ended = threading.Event()
        with RawServer(answer) as server:
            self.run_async(scenario(server))

    def test_half_made(self):
        for options in ({"pool_max": "x"}, {"no_such": 1}, {"pool_max": object()}):
            with self.assertRaises((conpool.UsageError, TypeError)):
                conpool.Client(**options)
            with self.assertRaises((conpool.UsageError, TypeError)):
                conpool.AsyncClient(**options)
        gc.collect()

    def test_events_of_unknown_kind_are_disposed_of(self):
        """A queue that is dropped with what nobody took."""
        with RawServer(echo) as server, conpool.Client() as client:
            call = client._prepare("GET", server.url)
            queue, op = _ffi.Owned("queue"), _ffi.Number()
            self.assertEqual(_ffi.lib.queue_new(client._pool, _ffi.out(queue)), 0)
            self.assertEqual(call.start(queue, 7, _ffi.out(op)), 0)
            buffer = _ffi.events_buffer(4)
            self.assertEqual(_ffi.lib.queue_next(queue, buffer, 4, 10**10), 1)
            events = _ffi.events_of(buffer, 1)
            self.assertEqual((events[0].user_data, events[0].op), (7, op.value))
            del events
            self.assertEqual(call.start(queue, 8, _ffi.out(op)), 0)
            del queue


class Forked(Misuse):
    def child(self, work):
        """What a forked child answers as JSON; it must end with status 0."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(read)
                os.write(write, json.dumps(work()).encode())
                gc.collect()
                os._exit(0)
            except BaseException as error:
                os.write(write, json.dumps(repr(error)).encode())
                os._exit(1)
        os.close(write)
        with os.fdopen(read) as file:
            told = json.loads(file.read())
        self.assertEqual(os.waitpid(pid, 0)[1], 0, told)
        return told

    def test_a_child_is_told(self):
        with RawServer(echo) as server, line_server() as lines, conpool.Client() as client:
            client.get(server.url)
            connection = client.connect("127.0.0.1", lines.port)
            response = client.open_stream("GET", server.url)

            def work():
                told = {}
                for name, call in (
                    ("get", lambda: client.get(server.url)),
                    ("stats", client.stats),
                    ("events", client.events),
                    ("connect", lambda: client.connect("127.0.0.1", 1)),
                    ("recv", connection.recv),
                    ("read", response.read),
                    ("facts", lambda: connection.facts),
                ):
                    try:
                        call()
                        told[name] = "nothing"
                    except conpool.UsageError as error:
                        told[name] = f"{error.name}: {error}"
                connection.close()
                client.close()
                with conpool.Client() as own:  # a client of the child's own works
                    told["own"] = own.get(server.url).status_code
                return told

            told = self.child(work)
            self.assertEqual(told.pop("own"), 200)
            for name, text in told.items():
                self.assertRegex(text, "^E_FORKED: .*make a new client after fork", name)
            self.assertEqual(response.read(), b"GET / HTTP/1.1")
            connection.sendall(b"parent\n")
            self.assertEqual(connection.recv(), b"+parent\n")
            connection.release()
            self.assertEqual(client.get(server.url).status_code, 200)

    def test_a_child_of_an_event_loop(self):
        async def scenario():
            async with conpool.AsyncClient() as client:
                await client.get(server.url)
                told = await asyncio.get_running_loop().run_in_executor(
                    None, self.child, work(client)
                )
                self.assertRegex(told, "^E_FORKED")
                self.assertEqual((await client.get(server.url)).status_code, 200)

        def work(client):
            def inner():
                try:
                    asyncio.run(client.get(server.url))
                except conpool.UsageError as error:
                    return error.name
                return "nothing"

            return inner

        with RawServer(echo) as server:
            self.run_async(scenario())

    def test_a_child_that_exits_as_usual(self):
        status, out, err = script("""
            import os
            server = support.RawServer(support.echo).__enter__()
            client = conpool.Client()
            client.get(server.url)
            if os.fork() == 0:
                sys.exit(0)
            print(os.wait()[1], client.get(server.url).status_code)
            client.close()
        """)
        self.assertEqual((status, out), (0, "0 200\n"), err)


HOLD = """
    import asyncio, threading, time
    def held(head, connection):
        seen.release()
        threading.Event().wait()
    seen = threading.Semaphore(0)
    server = support.RawServer(held).__enter__()
"""


class Exits(Misuse):
    def exits(self, text, status=0, stderr=""):
        found = script(textwrap.dedent(HOLD) + textwrap.dedent(text))
        self.assertEqual(found[0], status, found)
        self.assertRegex(found[2], f"(?s)^{stderr}$")

    def test_with_threads_in_requests(self):
        self.exits(
            """
            client = conpool.Client()
            for _ in range(5):
                post = lambda: client.post(server.url, content=b"x" * 1000000)
                threading.Thread(target=post, daemon=True).start()
            def stream():
                with client.stream("GET", server.url) as response:
                    response.read()
            threading.Thread(target=stream, daemon=True).start()
            connection = client.connect("127.0.0.1", server.port)
            connection.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
            threading.Thread(target=connection.recv, daemon=True).start()
            # Each has a thread of the server: CPython 3.11 itself crashes when one begins now.
            for _ in range(7):
                seen.acquire()
        """,
            stderr="(|.*)",
        )

    def test_with_tasks_in_requests(self):
        self.exits(
            """
            async def main():
                client = conpool.AsyncClient()
                tasks = [asyncio.ensure_future(client.get(server.url)) for _ in range(5)]
                wait = lambda: [seen.acquire() for _ in range(5)]
                await asyncio.get_running_loop().run_in_executor(None, wait)
                sys.exit(3)
            asyncio.run(main())
        """,
            status=3,
        )

    def test_with_a_loop_that_is_left(self):
        self.exits(
            """
            loop = asyncio.new_event_loop()
            client = conpool.AsyncClient()
            task = loop.create_task(client.post(server.url, content=b"x" * 5000000))
            loop.run_until_complete(loop.run_in_executor(None, seen.acquire))
        """,
            stderr=".*",
        )

    def test_with_clients_left_open(self):
        self.exits("""
            # No thread may begin now: CPython 3.11 itself crashes when one does while it ends.
            import socket
            listener = socket.create_server(("127.0.0.1", 0))
            clients = [conpool.Client() for _ in range(3)]
            aclient = conpool.AsyncClient()
            kept = clients[0].connect("127.0.0.1", listener.getsockname()[1])
            cycle = [clients]
            cycle.append(cycle)
        """)

    def test_by_an_exception(self):
        self.exits(
            """
            client = conpool.Client()
            response = client.open_stream("GET", support.RawServer(support.echo).__enter__().url)
            raise SystemExit(5)
        """,
            status=5,
        )

    def test_by_ctrl_c(self):
        status, out, err = script(
            textwrap.dedent(HOLD)
            + textwrap.dedent("""
            import signal, os
            signal.signal(signal.SIGINT, signal.default_int_handler)
            interrupt = lambda: (seen.acquire(), os.kill(os.getpid(), signal.SIGINT))
            threading.Thread(target=interrupt, daemon=True).start()
            client = conpool.Client()
            client.get(server.url)
        """)
        )
        self.assertEqual(status, -signal.SIGINT, err)
        self.assertIn("KeyboardInterrupt", err)

    def test_a_warning_at_the_exit_is_no_crash(self):
        status, out, err = script(
            "client = conpool.Client()", env={**os.environ, "PYTHONWARNINGS": "error"}
        )
        self.assertEqual(status, 0, err)


class Interrupts(support.Case):
    """Each kind of call, interrupted at random moments."""

    def interrupts(self, *arguments):
        done = subprocess.run(
            [sys.executable, os.path.join(support.HERE, "interrupts.py"), str(INTERRUPTS), *arguments],
            capture_output=True,
            text=True,
            timeout=30 + INTERRUPTS * 2,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_once_in_each_call(self):
        import interrupts

        found = self.interrupts()
        self.assertEqual([one["kind"] for one in found], interrupts.NAMES)
        for one in found:
            self.assertEqual(one["rounds"], INTERRUPTS)

    def test_several_in_each_call(self):
        self.interrupts(
            "--storm",
            "get",
            "post",
            "pieces",
            "stream",
            "connect",
            "recv",
            "sendall",
            "close",
            "coroutine",
        )

    def test_slices_are_short(self):
        self.assertLessEqual(_engine.SLICE_NS, 100_000_000)


if __name__ == "__main__":
    support.main()
