"""The built library equals its golden lists: exported symbols, layout, dependencies, dynamic flags.

usage: library_test.py LIBRARY LAYOUT_PROGRAM [unittest arguments]
With CONPOOL_SANITIZED=1 the list of dependencies is not compared: a sanitizer adds its own.
"""

import os
import re
import subprocess
import sys
import unittest

import header

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBRARY, LAYOUT = "", ""
NODE = "CONPOOL_0"


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


def golden(name):
    with open(os.path.join(ROOT, "capi", name), encoding="utf-8") as file:
        return [line for line in file.read().splitlines() if line and not line.startswith("#")]


def exported():
    """(name, version) of every dynamic symbol that the library defines, the version node itself left out."""
    rows = [line.split() for line in output("nm", "-D", "--defined-only", LIBRARY).splitlines()]
    return {tuple((row[-1] + "@").replace("@@", "@").split("@")[:2]) for row in rows if row[-2] != "A"}


class Library(unittest.TestCase):
    def test_exported_symbols_equal_the_golden_list(self):
        self.assertEqual(sorted(name for name, _ in exported()), golden("symbols.txt"))

    def test_golden_list_equals_the_header(self):
        with open(os.path.join(ROOT, "include/conpool/conpool.h"), encoding="utf-8") as file:
            declared = sorted(f.name for f in header.functions(file.read()))
        self.assertEqual(declared, golden("symbols.txt"))

    def test_symbols_have_the_version_node(self):
        self.assertEqual({version for _, version in exported()}, {NODE})

    def test_layout(self):
        self.assertEqual(output(LAYOUT).splitlines(), golden("layout.txt"))

    def test_soname(self):
        self.assertEqual(re.findall(r"\(SONAME\)\s+Library soname: \[(.*)\]", output("readelf", "-d", LIBRARY)),
                         ["libconpool.so.0"])

    def test_dependencies(self):
        if os.environ.get("CONPOOL_SANITIZED"):
            self.skipTest("built with a sanitizer")
        needed = re.findall(r"\(NEEDED\)\s+Shared library: \[(.*)\]", output("readelf", "-d", LIBRARY))
        # The dynamic loader itself, whose name is the machine's, serves thread-local variables.
        self.assertEqual(sorted(n for n in needed if not n.startswith("ld-linux")), golden("needed.txt"))

    def test_dynamic_flags(self):
        dynamic = output("readelf", "-d", LIBRARY)
        self.assertRegex(dynamic, r"\(FLAGS\).*BIND_NOW")
        flags = re.search(r"\(FLAGS_1\)\s+Flags:(.*)", dynamic).group(1).split()
        self.assertIn("NOW", flags)
        self.assertIn("NODELETE", flags)  # loop threads do not survive an unmapping
        self.assertNotIn("TEXTREL", dynamic)

    def test_segments(self):
        segments = output("readelf", "-lW", LIBRARY)
        self.assertIn("GNU_RELRO", segments)
        stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
        self.assertEqual(stack.split()[-2], "RW", "the stack must not be executable")


if __name__ == "__main__":
    LIBRARY, LAYOUT = sys.argv[1:3]
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[3:]])
