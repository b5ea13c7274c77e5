"""The pooler program for its tests: found on the command line, run, its result looked at."""

import contextlib
import pathlib
import socket
import subprocess
import sys
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
