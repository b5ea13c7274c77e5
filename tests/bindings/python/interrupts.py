"""Ctrl-C at a random moment of each kind of call, many times in one process.

usage: interrupts.py COUNT [KIND…]

Each round begins a call that would not end by itself, or that is repeated, and sends SIGINT within
a few milliseconds. The round ends with KeyboardInterrupt; afterwards the client must work, and
descriptors must be back at their number.
Prints one JSON line for each kind.
"""

import asyncio
import gc
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

import support
import conpool
import processes
from conpool import _engine
from support import RawServer, echo

SPREAD_S = 0.004
# Numbers are looked at: an interrupt inside an Event's own code would leave it locked.
LOOK_S = 0.0002
ENOUGH_S = 60  # after which an interrupt that nobody saw is sent again


class Interrupter:
    """Sends SIGINT to the process a random while after each round's begin."""

    def __init__(self, storm):
        self.storm, self.asked, self.answered, self.sent, self.lost = storm, 0, 0, 0, 0
        self.over, self.stopped, self.reported = threading.Event(), False, 0
        sys.unraisablehook = self.report
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        chance = random.Random(20240817)
        while not self.stopped:
            if self.answered == self.asked:
                time.sleep(LOOK_S)
                continue
            delay = chance.random() * SPREAD_S
            while not self.over.wait(delay):
                reported = self.reported
                for _ in range(chance.randrange(1, 4) if self.storm else 1):
                    os.kill(os.getpid(), signal.SIGINT)
                    self.sent += 1
                    if self.storm:
                        time.sleep(chance.random() * 0.0005)  # random moments are the test
                # Raised inside a destructor in Python it is reported and lost: the next one is the
                # first that is seen. A second one might leave ops behind.
                deadline = time.monotonic() + ENOUGH_S
                while self.reported == reported and time.monotonic() < deadline:
                    if self.over.wait(LOOK_S):
                        break
                else:
                    self.lost += 1
            self.answered = self.asked

    def report(self, unraisable):
        if unraisable.exc_type is KeyboardInterrupt:
            self.reported += 1
        else:
            sys.__unraisablehook__(unraisable)

    def during(self, call):
        """Calls until the interrupt comes, and answers when no other one is under way."""
        phase = "before"
        while phase != "done":
            try:
                if phase == "call":
                    self.over.clear()
                    self.asked += 1
                    call()
                    while True:
                        time.sleep(1)  # until it is interrupted
                self.over.set()
                while self.answered != self.asked:
                    time.sleep(LOOK_S)
                for _ in range(100):  # one that came just now is raised here
                    pass
                phase = "call" if phase == "before" else "done"
            except (KeyboardInterrupt, asyncio.CancelledError):
                # asyncio.run() forgets an interrupt that comes just when it begins.
                phase = "settle"
            except (conpool.HTTPError, RuntimeError) as error:
                # A second interrupt may end what the first one was cleaning up, asyncio's loop too.
                if not self.storm:
                    raise AssertionError(f"ended before the interrupt: {error!r}") from error
                phase = "settle"

    def stop(self):
        """Ends the thread, whatever it still sends meanwhile."""
        self.stopped = True
        while self.thread.is_alive():
            try:
                self.over.set()
                self.thread.join()
                for _ in range(100):  # one that came just now is raised here
                    pass
            except KeyboardInterrupt:
                pass


class Kinds:
    """The calls. `held` never answers, `endless` never ends its answer, `good` answers at once."""

    OPTIONS = {
        "breaker_mode": "off",
        "total_timeout": 600,
        "balance_eject_after": 0,
        "balance_cooldown": 0,
    }

    def __init__(self, held, endless, good):
        self.held, self.endless, self.good = held, endless, good
        self.client = conpool.Client(**self.OPTIONS)
        self.aclient = conpool.AsyncClient(**self.OPTIONS)
        self.file = tempfile.TemporaryFile()
        self.file.write(b"x" * 4_000_000)
        self.file.flush()

    def get(self):
        self.client.get(self.held.url)

    def answered(self):
        while True:
            self.client.get(self.good.url)

    def post(self):
        self.client.post(self.held.url, content=b"x" * 4_000_000)

    def pieces(self):
        self.client.post(self.held.url, content=(b"x" * 65536 for _ in iter(int, 1)))

    def file_body(self):
        self.file.seek(0)
        self.client.put(self.held.url, content=self.file)

    def stream(self):
        with self.client.stream("GET", self.endless.url) as response:
            for _ in response.iter_bytes():
                pass

    def connect(self):
        at = self.client.endpoint("127.0.0.1", self.held.port, endpoint_max_connections=1)
        with self.client.connect(at), self.client.connect(at):
            pass

    def recv(self):
        with self.client.connect("127.0.0.1", self.held.port) as connection:
            connection.recv()

    def sendall(self):
        with self.client.connect("127.0.0.1", self.held.port) as connection:
            while True:
                connection.sendall(b"x" * 1_000_000)

    def lend(self):
        with self.client.connect("127.0.0.1", self.held.port) as connection:
            connection.fileno()
            connection.close()

    def preconnect(self):
        while True:
            self.client.preconnect(self.good.url, 2)

    def close(self):
        client, response = conpool.Client(), None
        try:
            response = client.open_stream("GET", self.endless.url)
            client.close(drain=600)
        finally:
            client.close()
            response = None

    def make(self):
        while True:
            conpool.Client(pool_max=2).close()

    def readouts(self):
        while True:
            self.client.stats()
            self.client.events(limit=5)
            self.client.event("e", "text")
            self.client.explain(self.good.url)

    def coroutine(self):
        asyncio.run(self.aclient.get(self.held.url))

    def async_stream(self):
        async def scenario():
            async with self.aclient.stream("GET", self.endless.url) as response:
                async for _ in response.aiter_bytes():
                    pass

        asyncio.run(scenario())

    def finish(self):
        self.client.close()
        asyncio.run(self.aclient.aclose())
        self.file.close()


NAMES = [
    name for name in vars(Kinds) if not name.startswith("_") and name not in ("OPTIONS", "finish")
]


def servers():
    def held(head, connection):
        hold.wait()

    def endless(head, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.send(b"400\r\n" + b"x" * 1024 + b"\r\n")

    hold = threading.Event()
    return RawServer(held), RawServer(endless), RawServer(echo), hold


def run(kind, count, storm):
    conpool.Client().close()  # the first pool of a process opens descriptors that stay
    gc.collect()
    before = support.open_fds()
    held, endless, good, hold = servers()
    began = time.monotonic()
    with held, endless, good:
        kinds = Kinds(held, endless, good)
        interrupter = Interrupter(storm)
        rounds = 0
        while rounds < count:
            try:
                while rounds < count:
                    rounds += 1
                    interrupter.during(getattr(kinds, kind))
            except KeyboardInterrupt:
                pass  # of a storm, between two steps of the harness
        interrupter.stop()
        if not storm and kinds.client._pool.keep:
            raise AssertionError("ops were left behind")
        if kinds.client.get(good.url).status_code != 200:
            raise AssertionError("the client does not work any more")
        if asyncio.run(kinds.aclient.get(good.url)).status_code != 200:
            raise AssertionError("the asynchronous client does not work any more")
        kinds.finish()
        hold.set()
    del kinds
    gc.collect()
    processes.poll_until(
        lambda: gc.collect() >= 0 and support.open_fds() <= before, "descriptors at baseline"
    )
    print(
        json.dumps(
            {
                "kind": kind,
                "storm": storm,
                "rounds": count,
                "sent": interrupter.sent,
                "lost": interrupter.lost,
                "seconds": round(time.monotonic() - began, 1),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    _engine.SLICE_NS = 2_000_000
    signal.signal(signal.SIGINT, signal.default_int_handler)
    storm = "--storm" in sys.argv
    arguments = [one for one in sys.argv[1:] if one != "--storm"]
    for one in arguments[1:] or NAMES:
        run(one, int(arguments[0]), storm)
