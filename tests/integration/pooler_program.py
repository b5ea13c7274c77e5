"""The pooler program for its tests: found on the command line, run, its result looked at."""

import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import threading
import unittest

# Tests import this module first, then those of tests/support.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

TIMEOUT_S = 60  # far above what any verb needs: a hang shows as a failure, a slow machine does not


@contextlib.contextmanager
def black_hole():
    """A port of 127.0.0.1 that answers no SYN: its queue of connections is full and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def closed_port():
    """A port of 127.0.0.1 that refuses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def take_program():
    """The path that the build passes as the first argument; unittest gets the rest."""
    return sys.argv.pop(1)


class Running:
    """A child whose stdout and stderr (pipes, as text) are read while it runs: tests wait for its lines."""

    def __init__(self, process):
        self.process = process
        self.changed = threading.Condition()
        self.lines = {"out": [], "err": []}
        self.readers = [threading.Thread(target=self._read, args=(name, stream), daemon=True)
                        for name, stream in (("out", process.stdout), ("err", process.stderr))]
        self.open = len(self.readers)
        for reader in self.readers:
            reader.start()

    def _read(self, name, stream):
        for line in stream:
            with self.changed:
                self.lines[name].append(line)
                self.changed.notify_all()
        with self.changed:
            self.open -= 1
            self.changed.notify_all()

    def text(self, name):
        return "".join(self.lines[name])

    def wait_for(self, matches, name="err", count=1, timeout=TIMEOUT_S):
        """The first `count` lines that match, once there are so many. A regular expression, or a function."""
        hits, seen = [], 0
        test = matches if callable(matches) else re.compile(matches).search
        with self.changed:
            def enough():
                nonlocal seen
                hits.extend(line for line in self.lines[name][seen:] if test(line))
                seen = len(self.lines[name])
                return len(hits) >= count

            self.changed.wait_for(lambda: enough() or self.open == 0, timeout)
            if not enough():
                why = "it ended" if self.open == 0 else f"not within {timeout} s"
                raise TimeoutError(f"{len(hits)} of {count} lines with {matches}: {why}\n{self.text('out')}{self.text('err')}")
        return hits[:count]

    def end(self, timeout=TIMEOUT_S):
        """(exit code, stdout, stderr), once it has ended."""
        code = self.process.wait(timeout)
        for reader in self.readers:
            reader.join(timeout)
        return code, self.text("out"), self.text("err")


class PoolerTest(unittest.TestCase):
    program = None
    maxDiff = None

    def pooler(self, *arguments, code=0, timeout=TIMEOUT_S):
        """(stdout, stderr) of a run that must end with this code."""
        done = subprocess.run([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout)
        self.assertEqual(done.returncode, code, f"{arguments}:\n{done.stdout}\n{done.stderr}")
        return done.stdout, done.stderr

    def refused(self, *arguments, words=()):
        """The one line in which pooler says what is wrong with its arguments."""
        out, err = self.pooler(*arguments, code=2)
        self.assertEqual(out, "", arguments)
        self.assertTrue(err.startswith("pooler: ") and err.count("\n") == 1, f"{arguments}: {err!r}")
        for word in words:
            self.assertIn(word, err, arguments)
        return err
