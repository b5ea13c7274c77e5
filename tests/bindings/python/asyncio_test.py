"""Many at once: coroutines, event loops, threads on one client, cancellation at random."""

import asyncio
import gc
import random
import threading

import conpool
import support
from conpool._errors import read_text
from conpool._ffi import lib
from processes import poll_until
from support import RawServer, echo, line_server, reply

SEED = 20240817


class AsyncServer:
    """An HTTP/1.1 server in the test's own event loop: cheap enough for thousands of requests.

    /held is answered after `released`, /slow after a while.
    """

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.released = asyncio.Event()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ")[1]
                if target.startswith(b"/held"):
                    await self.released.wait()
                if target.startswith(b"/slow"):
                    # So that most of those that are cancelled at random are under way.
                    await asyncio.sleep(0.05)
                writer.write(reply(target))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class InAThread:
    """An AsyncServer on a loop of its own."""

    def __enter__(self):
        ready = threading.Event()
        self.thread = threading.Thread(target=asyncio.run, args=(self.run(ready),))
        self.thread.start()
        ready.wait(support.LONG_S)
        return self

    async def run(self, ready):
        async with AsyncServer() as server:
            self.url, self.server, self.over = server.url, server, asyncio.Event()
            self.loop = asyncio.get_running_loop()
            ready.set()
            await self.over.wait()

    def release(self):
        self.loop.call_soon_threadsafe(self.server.released.set)

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(support.LONG_S)


def open_when_it_closes(client, go):
    """Has `go` set when the client's pool is closing."""

    def wait(pool):
        poll_until(
            lambda: "pool.closing" in read_text(lib.pool_events, pool, b"text"), "the closing"
        )
        go.set()

    threading.Thread(target=wait, args=(client._pool,)).start()


class Many(support.Case):
    def test_ten_thousand_at_once(self):
        async def scenario():
            options = {
                "endpoint_max_waiters": 20_000,
                "endpoint_max_connections": 64,
                "queue_timeout": 120,
            }
            async with conpool.AsyncClient(total_timeout=120, **options) as client:
                calls = (client.get(f"{server.url}/{i}") for i in range(10_000))
                responses = await asyncio.gather(*calls)
                self.assertEqual(
                    [response.content for response in responses],
                    [b"/%d" % i for i in range(10_000)],
                )
                self.assertLessEqual(len({response.connection.id for response in responses}), 64)

        with InAThread() as server:
            asyncio.run(scenario())

    def test_too_many_waiters_are_refused(self):
        async def scenario():
            async with conpool.AsyncClient(
                endpoint_max_waiters=10, endpoint_max_connections=2
            ) as client:
                tasks = [asyncio.ensure_future(client.get(f"{server.url}/held")) for _ in range(40)]
                while sum(task.done() for task in tasks) < 28:  # the others run or wait
                    await asyncio.sleep(0)
                server.release()
                found = await asyncio.gather(*tasks, return_exceptions=True)
                refused = [one for one in found if isinstance(one, conpool.LimitError)]
                self.assertEqual({one.name for one in refused}, {"E_WAITERS_LIMIT"})
                self.assertEqual(len(refused), 28)
                self.assertEqual(sum(isinstance(one, conpool.Response) for one in found), 12)

        with InAThread() as server:
            self.run_async(scenario())

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
                        await asyncio.sleep(0.001)  # as /slow
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
                        await asyncio.sleep(chance.random() * 0.002)  # random moments are the test
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
                while queue._inboxes:
                    await asyncio.sleep(0)
                self.assertEqual((await client.get(url + "/after")).content, b"/after")

        with InAThread() as server, line_server() as lines, RawServer(echo) as echoes:
            self.run_async(scenario(server.url, echoes.url))

    def test_one_client_in_many_loops(self):
        with InAThread() as server:
            url = server.url
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

    def test_eight_threads(self):
        wrong = []

        def work(client, k):
            for i in range(250):
                response = client.get(f"{url}/{k}/{i}")
                if response.content != b"/%d/%d" % (k, i):
                    wrong.append(response)

        with InAThread() as server:
            url = server.url
            with conpool.Client() as client:
                threads = [threading.Thread(target=work, args=(client, k)) for k in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(support.LONG_S)
                self.assertEqual(wrong, [])
                self.assertFalse(any(thread.is_alive() for thread in threads))

    def test_closed_while_threads_use_it(self):
        """Every call ends with an answer or with ClosedError."""
        ends = []

        def work(client):
            try:
                while True:
                    client.get(url)
                    answered.release()
                    client.stats()
                    with client.stream("GET", url) as response:
                        response.read()
                    answered.release()
            except Exception as error:
                ends.append(error)

        with InAThread() as server:
            url = server.url
            for calls in range(0, 50, 5):  # after so many it is closed
                answered, client = threading.Semaphore(0), conpool.Client()
                threads = [threading.Thread(target=work, args=(client,)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for _ in range(calls):
                    answered.acquire(timeout=support.LONG_S)
                client.close()
                for thread in threads:
                    thread.join(support.LONG_S)
                    self.assertFalse(thread.is_alive())
            self.assertEqual([one for one in ends if not isinstance(one, conpool.ClosedError)], [])
            self.assertEqual(len(ends), 40)

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
                        open_when_it_closes(client, go)
                        await client.aclose(drain=support.LONG_S)
                        answers.append(await task)

                    self.run_async(scenario())
                else:
                    client = conpool.Client()
                    thread = threading.Thread(target=lambda: answers.append(client.get(server.url)))
                    thread.start()
                    started.wait(support.LONG_S)
                    open_when_it_closes(client, go)
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
                while len(server.heads) < 5:
                    await asyncio.sleep(0)
                return tasks

            loop = asyncio.new_event_loop()
            tasks = loop.run_until_complete(asyncio.wait_for(leave(), support.LONG_S))
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
