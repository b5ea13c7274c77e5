"""An older, a newer, an incomplete and a wrong library: refused with a sentence, or survived."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

import support
from processes import need

SOURCE = os.path.join(support.HERE, "stub.c")
SRC = os.path.join(support.PACKAGE, "src")


class Stub(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.compiler = need("gcc")
        cls.place = tempfile.TemporaryDirectory(prefix="conpool-stub-")
        cls.addClassCleanup(cls.place.cleanup)
        from conpool import _ffi

        cls.names = list(_ffi.FUNCTIONS)
        with open(SOURCE, encoding="utf-8") as file:
            cls.defined = set(re.findall(r"^\S.*?\b(conpool_\w+)\(", file.read(), re.M))

    def build(self, *flags, without=()):
        """A stub of its own for each case: a library is loaded once under one path."""
        name = re.sub(r"\W", "", "".join([*flags, *without])) or "plain"
        path = os.path.join(self.place.name, name)
        os.makedirs(path)
        functions = [one for one in self.names if one not in self.defined | set(without)]
        with open(os.path.join(path, "stub_functions.h"), "w", encoding="utf-8") as file:
            file.write("".join(f"FUNCTION({one})\n" for one in functions))
        library = os.path.join(path, "libstub.so")
        subprocess.run(
            [self.compiler, "-shared", "-fPIC", "-w", "-I", path, *flags, SOURCE, "-o", library],
            check=True,
            timeout=60,
        )
        return library

    def run_with(self, library, program):
        # The stub is not built with the sanitizer of the tree.
        environment = {**os.environ, "CONPOOL_LIBRARY": library, "PYTHONPATH": SRC}
        environment.pop("LD_PRELOAD", None)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr.strip().splitlines()[-1:] or [""]

    def refused(self, library, *words):
        status, _, (line,) = self.run_with(library, "import conpool")
        self.assertEqual(status, 1)
        self.assertTrue(line.startswith("ImportError: conpool: "), line)
        for word in words:
            self.assertIn(word, line)

    def test_older(self):
        self.refused(
            self.build("-DSTUB_VERSION=0x000009"), "is version 0.0.9", "needs 0.1.0 or newer"
        )

    def test_another_major(self):
        self.refused(self.build("-DSTUB_VERSION=0x010000"), "is version 1.0.0", "below 1.0.0")

    def test_not_conpool(self):
        self.refused(
            self.build("-DSTUB_NO_VERSION"), "is not the library conpool", "conpool_version"
        )

    def test_incomplete(self):
        self.refused(
            self.build(without=["conpool_body_write"]),
            "has no function conpool_body_write",
            "version 0.1.0",
        )

    def test_no_library(self):
        self.refused(
            "/nowhere/libconpool.so",
            "cannot be loaded",
            "/nowhere/libconpool.so",
            "CONPOOL_LIBRARY",
        )
        with open(os.path.join(self.place.name, "text"), "w", encoding="utf-8") as file:
            file.write("not a library")
        self.refused(file.name, "cannot be loaded")

    def test_newer(self):
        """Its options are keywords, its codes have their class, its events are disposed of."""
        library = self.build("-DSTUB_VERSION=0x000900")
        status, out, error = self.run_with(
            library,
            """
import conpool, ctypes, os
print(sorted(conpool.OPTIONS))
with conpool.Client(brand_new="x") as client:
    try:
        client.get("http://x/")
    except conpool.DNSError as error:
        print("get", type(error).__name__, error.status, error.name, error)
    try:
        client.open_stream("GET", "http://x/")
    except conpool.TransportError as error:
        print("stream", type(error).__name__, error.status, error)
print(ctypes.CDLL(os.environ["CONPOOL_LIBRARY"]).conpool_stub_disposed())
""",
        )
        self.assertEqual(status, 0, error)
        self.assertEqual(
            out.splitlines(),
            [
                "['brand_new', 'pool_max']",
                "get DNSError -398 UNKNOWN unknown status (status -398)",
                "stream TransportError -4321 unknown status (status -4321)",
                "2",
            ],
        )


if __name__ == "__main__":
    support.main()
