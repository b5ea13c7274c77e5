"""The C programs of these tests: where the build put them, run to their end or steered line by line."""

import json
import os
import pathlib
import subprocess
import sys

# Tests import this module first, then those of tests/support.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from processes import Skipped, start, stop  # noqa: E402

TIMEOUT_S = 120  # a hang shows as a failure, a slow machine does not
ROUNDS = int(os.environ.get("CONPOOL_ROUNDS", "0"))  # 0: as many as a routine run takes


def program(name):
    """The path that the build gives in CONPOOL_PROGRAMS, a list separated by colons."""
    for path in os.environ.get("CONPOOL_PROGRAMS", "").split(":"):
        if os.path.basename(path) == name:
            return path
    raise Skipped(f"{name} is not built")


def run(name, *arguments, timeout=TIMEOUT_S, code=0):
    """What a program printed: one object per line of JSON."""
    done = subprocess.run([program(name), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout)
    if done.returncode != code:
        raise AssertionError(f"{name} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


class Lease:
    """An acquire that was started, and its lease once wait() found that it was granted."""

    def __init__(self, client, number):
        self.client, self.number = client, number

    def wait(self):
        """The result; a dict with status, facts and reused, or the error's parts."""
        return self.client.ask("wait", self.number)

    def write(self, data):
        return self.client.ask("write", self.number, data.hex())

    def fill(self, size):
        return self.client.ask("fill", self.number, size)

    def read(self, size_max=0):
        answer = self.client.ask("read", self.number, size_max)
        answer["data"] = bytes.fromhex(answer["data"])
        return answer

    def read_until(self, end):
        """The bytes up to and with `end`; what came before an error or the end of the stream otherwise."""
        data = b""
        while end not in data:
            answer = self.read()
            if answer["status"] != "OK" or answer["eof"]:
                break
            data += answer["data"]
        return data

    def release(self, how="reusable"):
        return self.client.ask("release", self.number, how)


class Client:
    """A pool in a process of its own, steered by lines; options have their dots written as "__"."""

    PROGRAM = "steered"

    def __init__(self, **options):
        self.process = start([program(self.PROGRAM), *self.pairs(options)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, bufsize=1)
        self.numbers = 0

    @staticmethod
    def pairs(options):
        return [f"{name.replace('__', '.')}={value}" for name, value in options.items()]

    def ask(self, *fields):
        self.process.stdin.write("\t".join(map(str, fields)) + "\n")
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.PROGRAM} ended with {self.process.wait(TIMEOUT_S)} at {fields}")
        return json.loads(line)

    def number(self):
        self.numbers += 1
        return self.numbers % 256

    def endpoint(self, url, **options):
        number = self.number()
        answer = self.ask("endpoint", number, url, *self.pairs(options))
        if answer["status"] != "OK":
            raise AssertionError(answer)
        return number

    def addresses(self, scheme, addresses, **options):
        number = self.number()
        answer = self.ask("addresses", number, scheme, ",".join(addresses), *self.pairs(options))
        if answer["status"] != "OK":
            raise AssertionError(answer)
        return number

    def start(self, endpoint):
        lease = Lease(self, self.number())
        answer = self.ask("start", lease.number, endpoint)
        if answer["status"] != "OK":
            raise AssertionError(answer)
        return lease

    def acquire(self, endpoint):
        """(lease, result)."""
        lease = self.start(endpoint)
        return lease, lease.wait()

    def lease(self, endpoint):
        """(lease, result) of an acquire that must succeed."""
        lease, result = self.acquire(endpoint)
        if result["status"] != "OK":
            raise AssertionError(result["report"])
        return lease, result

    def refused(self, endpoint):
        """The result of an acquire that must fail."""
        lease, result = self.acquire(endpoint)
        if result["status"] == "OK":
            lease.release("broken")
            raise AssertionError(f"a lease where none may be: {result}")
        return result

    def metrics(self):
        """All figures: {name: text}."""
        return dict(line.rsplit("=", 1) for line in self.ask("metrics")["text"].splitlines() if "=" in line)

    def figure(self, name):
        """One of the pool's own figures."""
        return int(self.metrics()["pool." + name])

    def explain(self, endpoint):
        return self.ask("explain", endpoint)["text"]

    def close(self):
        """Ends the program; its descriptors before the pool and after it."""
        try:
            self.process.stdin.close()
            rest = self.process.stdout.read()
            code = self.process.wait(TIMEOUT_S)
        finally:
            stop(self.process)
        if code != 0:
            raise AssertionError(f"{self.PROGRAM} ended with {code}")
        return json.loads(rest.splitlines()[-1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            stop(self.process)
            return
        end = self.close()
        if end["fds_after"] != end["fds_before"]:
            raise AssertionError(f"descriptors are left open: {end}")
