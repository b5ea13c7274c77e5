"""Many at once: coroutines, event loops, threads on one client, cancellation at random."""

import asyncio
import gc
import random
import threading
import time

import conpool
import support
from support import RawServer, echo, line_server, reply

SEED = 20240817


class AsyncServer:
    """An HTTP/1.1 server in the test's own event loop: cheap enough for thousands of requests."""

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.seen = 0
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.seen += 1
                target = head.split(b" ")[1]
                if target.startswith(b"/slow"):
                    await asyncio.sleep(0.05)
                writer.write(reply(target))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def in_a_thread():
    """An AsyncServer on a loop of its own; (url, stop)."""
    ready, stop = threading.Event(), []

    async def run():
        async with AsyncServer() as server:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.extend([server.url, lambda: loop.call_soon_threadsafe(over.set)])
            ready.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait(support.LONG_S)
    return stop[0], lambda: (stop[1](), thread.join(support.LONG_S))


class Many(support.Case):
    def test_ten_thousand_at_once(self):
        async def scenario():
            options = {
                "endpoint_max_waiters": 20_000,
                "endpoint_max_connections": 64,
                "queue_timeout": 120,
            }
            async with conpool.AsyncClient(total_timeout=120, **options) as client:
                responses = await asyncio.gather(*(client.get(f"{url}/{i}") for i in range(10_000)))
                self.assertEqual(
                    [response.content for response in responses],
                    [b"/%d" % i for i in range(10_000)],
                )
                self.assertLessEqual(len({response.connection.id for response in responses}), 64)

        url, stop = in_a_thread()
        try:
            asyncio.run(scenario())
        finally:
            stop()

    def test_too_many_waiters_are_refused(self):
        async def scenario():
            async with conpool.AsyncClient(
                endpoint_max_waiters=10, endpoint_max_connections=2
            ) as client:
                found = await asyncio.gather(
                    *(client.get(f"{url}/slow") for _ in range(40)), return_exceptions=True
                )
                refused = [one for one in found if isinstance(one, conpool.LimitError)]
                self.assertEqual({one.name for one in refused}, {"E_WAITERS_LIMIT"})
                self.assertEqual(
                    len(refused) + sum(isinstance(one, conpool.Response) for one in found), 40
                )

        url, stop = in_a_thread()
        try:
            self.run_async(scenario())
        finally:
            stop()

    def test_cancelled_at_random(self):
        """Each task ends once, as cancelled or with its own answer, and nothing is left behind."""
        chance = random.Random(SEED)

        async def one(client, url, way, i):
            if way == 0:
                response = await client.get(f"{url}/slow/{i}")
                return response.content == b"/slow/%d" % i
            if way == 1:
                async with client.stream("GET", f"{url}/{i}") as response:
                    await asyncio.sleep(0)
                    return await response.aread() == b"/%d" % i
            if way == 2:

                async def pieces():
                    for _ in range(5):
                        await asyncio.sleep(0.001)
                        yield b"x" * 100

                return (await client.post(url, content=pieces())).status_code == 200
            async with client.connect("127.0.0.1", lines.port) as connection:
                await connection.sendall(b"%d\n" % i)
                return await connection.recv() == b"+%d\n" % i

        async def scenario(url, echo_url):
            options = {"endpoint_max_waiters": 5000, "breaker_mode": "off", "queue_timeout": 60}
            async with conpool.AsyncClient(**options) as client:
                counts = {True: 0, "cancelled": 0}
                for _ in range(5):
                    ways = [chance.randrange(4) for _ in range(200)]
                    tasks = [
                        asyncio.ensure_future(one(client, echo_url if way == 2 else url, way, i))
                        for i, way in enumerate(ways)
                    ]
                    for task in chance.sample(tasks, 100):
                        await asyncio.sleep(chance.random() * 0.002)
                        task.cancel()
                    for found in await asyncio.gather(*tasks, return_exceptions=True):
                        if isinstance(found, asyncio.CancelledError):
                            counts["cancelled"] += 1
                        else:
                            self.assertIs(found, True)
                            counts[True] += 1
                self.assertEqual(sum(counts.values()), 1000)
                self.assertGreater(counts["cancelled"], 50)
                self.assertGreater(counts[True], 500)
                # Ops that were cancelled end by themselves.
                queue = client._queue()
                deadline = time.monotonic() + support.LONG_S
                while queue._inboxes and time.monotonic() < deadline:
                    await asyncio.sleep(0.01)
                self.assertEqual(queue._inboxes, {})
                self.assertEqual((await client.get(url + "/after")).content, b"/after")

        url, stop = in_a_thread()
        try:
            with line_server() as lines, RawServer(echo) as echoes:
                self.run_async(scenario(url, echoes.url))
        finally:
            stop()

    def test_one_client_in_many_loops(self):
        url, stop = in_a_thread()
        try:
            client = conpool.AsyncClient()
            for i in range(5):  # one after the other
                self.assertEqual(asyncio.run(client.get(f"{url}/{i}")).content, b"/%d" % i)
            self.assertEqual(len(client._queues), 1)
            found = []

            async def several(k):
                answers = await asyncio.gather(*(client.get(f"{url}/{k}/{i}") for i in range(50)))
                found.extend(answer.content for answer in answers)

            threads = [
                threading.Thread(target=lambda k=k: asyncio.run(several(k))) for k in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(support.LONG_S)
            self.assertEqual(
                sorted(found), sorted(b"/%d/%d" % (k, i) for k in range(4) for i in range(50))
            )
            asyncio.run(client.aclose())
            self.assertTrue(client.is_closed)
        finally:
            stop()

    def test_eight_threads(self):
        url, stop = in_a_thread()
        wrong = []

        def work(client, k):
            for i in range(250):
                response = client.get(f"{url}/{k}/{i}")
                if response.content != b"/%d/%d" % (k, i):
                    wrong.append(response)

        try:
            with conpool.Client() as client:
                threads = [threading.Thread(target=work, args=(client, k)) for k in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(support.LONG_S)
                self.assertEqual(wrong, [])
                self.assertFalse(any(thread.is_alive() for thread in threads))
        finally:
            stop()

    def test_closed_while_threads_use_it(self):
        """Every call ends with an answer or with ClosedError."""
        url, stop = in_a_thread()
        ends = []

        def work(client):
            try:
                while True:
                    client.get(url + "/slow")
                    client.stats()
                    with client.stream("GET", url) as response:
                        response.read()
            except Exception as error:
                ends.append(error)

        try:
            for _ in range(10):
                client = conpool.Client()
                threads = [threading.Thread(target=work, args=(client,)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                time.sleep(0.01)
                client.close()
                for thread in threads:
                    thread.join(support.LONG_S)
                    self.assertFalse(thread.is_alive())
            self.assertEqual([one for one in ends if not isinstance(one, conpool.ClosedError)], [])
            self.assertEqual(len(ends), 40)
        finally:
            stop()

    def test_closing_waits_for_what_runs(self):
        def answer(head, connection):
            started.set()
            go.wait(support.LONG_S)
            return reply(b"late")

        for asynchronous in (False, True):
            started, go, answers = threading.Event(), threading.Event(), []
            with RawServer(answer) as server:
                if asynchronous:

                    async def scenario():
                        client = conpool.AsyncClient()
                        task = asyncio.ensure_future(client.get(server.url))
                        await asyncio.get_running_loop().run_in_executor(None, started.wait)
                        asyncio.get_running_loop().call_later(0.05, go.set)
                        await client.aclose(drain=support.LONG_S)
                        answers.append(await task)

                    self.run_async(scenario())
                else:
                    client = conpool.Client()
                    thread = threading.Thread(target=lambda: answers.append(client.get(server.url)))
                    thread.start()
                    started.wait(support.LONG_S)
                    threading.Timer(0.05, go.set).start()
                    client.close(drain=support.LONG_S)
                    thread.join(support.LONG_S)
            self.assertEqual(answers[0].content, b"late")

    def test_ops_in_flight_when_the_loop_ends(self):
        """The queue is dropped with ops in flight; what they borrowed outlives them."""

        def answer(head, connection):
            self.hold.wait(support.LONG_S)
            return reply()

        self.hold = threading.Event()
        with RawServer(answer) as server:
            client = conpool.AsyncClient()

            async def leave():
                tasks = [
                    asyncio.ensure_future(client.post(server.url, content=b"x" * 10_000_000))
                    for _ in range(5)
                ]
                await asyncio.sleep(0.05)
                loop = asyncio.get_running_loop()
                return tasks, loop

            loop = asyncio.new_event_loop()
            tasks, _ = loop.run_until_complete(leave())
            for task in tasks:
                task._log_destroy_pending = False
            loop.close()
            del tasks, loop
            gc.collect()
            asyncio.run(client.aclose())
            self.hold.set()

    def test_a_program_that_drives_the_loop_itself(self):
        with line_server() as server, RawServer(echo) as http:
            with conpool.Client(loop_drive="caller") as client:
                self.assertEqual(client.get(http.url + "/a").text, "GET /a HTTP/1.1")
                with client.connect("127.0.0.1", server.port) as connection:
                    connection.sendall(b"x\n")
                    self.assertEqual(connection.recv(), b"+x\n")
                with client.stream("GET", http.url + "/b") as response:
                    self.assertEqual(response.read(), b"GET /b HTTP/1.1")

            async def scenario():
                async with conpool.AsyncClient(loop_drive="caller") as client:
                    answers = await asyncio.gather(
                        *(client.get(f"{http.url}/{i}") for i in range(50))
                    )
                    self.assertEqual(
                        [a.text for a in answers], [f"GET /{i} HTTP/1.1" for i in range(50)]
                    )

            self.run_async(scenario())

    def test_a_second_thread_cannot_drive_the_loop_too(self):
        def answer(head, connection):
            started.set()
            go.wait(support.LONG_S)
            return reply(b"x")

        started, go, answers = threading.Event(), threading.Event(), []
        with RawServer(answer) as server, conpool.Client(loop_drive="caller") as client:
            first = threading.Thread(target=lambda: answers.append(client.get(server.url)))
            first.start()
            started.wait(support.LONG_S)
            with self.assertRaises(conpool.UsageError) as caught:
                client.post(server.url, content=b"x" * 100_000)
            self.assertEqual(caught.exception.name, "E_BUSY")
            go.set()
            first.join(support.LONG_S)
            self.assertEqual(client._pool.keep, {})

    def test_the_simulated_world(self):
        """A minute of virtual time passes in less: nothing in the binding keeps time of its own."""
        with conpool.Client(loop_world="simulated") as client:
            self.assertEqual(client.get("http://anything.test/").status_code, 200)


if __name__ == "__main__":
    support.main()
