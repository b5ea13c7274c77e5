"""The binding calls every exported function, or the reason why not is listed here."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile

import support
import conpool
from conpool import _ffi
from support import RawServer, line_server

NOT_CALLED = {
    "conpool_perform": "Ctrl-C could not end it: requests are started and waited for in slices",
    "conpool_queue_wake": "closing a queue wakes its thread, and nothing else needs to",
    "conpool_response_free": "a response belongs to its event and goes with it",
    "conpool_version_string": "the version is read as a number, and from conpool_describe",
    "conpool_response_header": "all lines are read once, in their order, and looked up in Python",
}
# Called by the interpreter when the last reference goes, so that no interrupt can come in between.
DESTRUCTORS = {f"conpool_{kind}_free" for kind in _ffi._KINDS} | {
    "conpool_event_dispose",
    "conpool_connection_release",
}
# Called once, before functions can be counted.
AT_IMPORT = {"conpool_version", "conpool_describe"}


def answer(head, connection):
    body = connection.body(head)
    return (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
        b"%x\r\n%s\r\n0\r\nX-T: u\r\n\r\n" % (len(body) + 1, body + b".")
    )


def scenario():
    """A little of everything."""

    def lookup(name, family):
        if name == "bad.test":
            raise LookupError(name)
        return ["127.0.0.1"] if family == 4 else []

    with (
        RawServer(answer) as server,
        line_server() as lines,
        conpool.Client(dns_backend="queue") as client,
    ):
        with conpool.Resolver(client, lookup):
            client.get(f"http://here.test:{server.port}/", timeout=5)
            try:
                client.get("http://bad.test/")
            except conpool.DNSError as error:
                assert error.attempts
        client.post(server.url, content=b"body", trailers={"x": "y"}, idempotent=True)
        client.post(server.url, content=[b"a", b"b"])
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
            file.flush()
            file.seek(0)
            client.put(server.url, content=file)
        endpoint = client.endpoint(server.url)
        client.get("/", endpoint=endpoint)
        with client.stream("GET", server.url) as response:
            assert response.read() == b"."
        client.preconnect(endpoint, 1)
        client.force_breaker(endpoint, "auto")
        client.explain(endpoint)
        client.stats()
        client.event_log()
        client.events()
        client.event("x", "y")
        with client.connect("127.0.0.1", lines.port) as connection:
            connection.sendall(b"a\n")
            assert connection.recv() == b"+a\n" and connection.facts
            connection.fileno()
        with client.connect("", addresses=f"127.0.0.1:{lines.port}") as connection:
            connection.shutdown_write()
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            try:
                client.get("http://127.0.0.1:%d/" % bound.getsockname()[1])
            except conpool.ConnectError as error:
                assert error.attempts
        for wrong in (
            lambda: conpool.Client(no_such_option=1),
            lambda: client.metrics("no such format"),
        ):
            try:
                wrong()
            except conpool.UsageError:
                pass

        async def with_await():
            async with conpool.AsyncClient() as asynchronous:
                task = asyncio.ensure_future(asynchronous.get(server.url))
                await asyncio.sleep(0)
                task.cancel()
                await asynchronous.get(server.url)

        asyncio.run(with_await())


class Calls(support.Case):
    def test_every_function(self):
        names = set(_ffi.FUNCTIONS)
        self.assertEqual(set(NOT_CALLED) - names, set())
        called = set()
        functions = dict(vars(_ffi.lib))
        for name, function in functions.items():

            def counted(*arguments, name=name, function=function):
                called.add(f"conpool_{name}")
                return function(*arguments)

            setattr(_ffi.lib, name, counted)
        try:
            scenario()
        finally:
            for name, function in functions.items():
                setattr(_ffi.lib, name, function)
        called |= AT_IMPORT | DESTRUCTORS
        self.assertEqual(sorted(names - called), sorted(NOT_CALLED))

    def test_destructors_are_what_frees(self):
        with open(
            os.path.join(support.PACKAGE, "src", "conpool", "_ffi.py"), encoding="utf-8"
        ) as file:
            text = file.read()
        freeing = {name for name in _ffi.FUNCTIONS if name.endswith("_free")}
        self.assertEqual(
            {f"conpool_{kind}_free" for kind in _ffi._KINDS}, freeing - set(NOT_CALLED)
        )
        self.assertIn("conpool_connection_release", text)

    def test_what_is_freed(self):
        """Nothing that the library gave is kept: a thousand of each leave the process as it was."""
        program = (
            f"import sys; sys.path.insert(0, {support.HERE!r})\n"
            "import calls_test, resource, gc\n"
            "def used():\n"
            "    gc.collect()\n"
            "    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
            "for _ in range(30): calls_test.scenario()\n"
            "before = used()\n"
            "for _ in range(60): calls_test.scenario()\n"
            "print(used() - before)\n"
        )
        if "LD_PRELOAD" in os.environ:
            self.skipTest("the sanitizer keeps what was freed for a while")
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=support.LONG_S
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(int(done.stdout), 8 << 20)


if __name__ == "__main__":
    support.main()
