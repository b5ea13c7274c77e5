"""The README's C example is docs/examples/lease.c to the letter, has at most 20 lines of code, and works.

usage: readme_test.py EXAMPLE_PROGRAM
"""

import os
import re
import subprocess
import sys
import unittest

from peer import LineServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = ""


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(ROOT, "docs/examples/lease.c"), encoding="utf-8") as file:
            cls.example = file.read()

    def test_block_equals_the_file(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            blocks = re.findall(r"^```c\n(.*?)^```$", file.read(), re.S | re.M)
        self.assertEqual(blocks.count(self.example), 1, "README.md does not show docs/examples/lease.c as it is")

    def test_length(self):
        code = [line for line in self.example.splitlines() if line and not line.startswith(("#include", "/*"))]
        self.assertLessEqual(len(code), 20)

    def test_it_works(self):
        with LineServer() as server:
            done = subprocess.run([PROGRAM, f"tcp://127.0.0.1:{server.port}"], capture_output=True, text=True,
                                  check=False, timeout=60)
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("+PING\n", "", 0))

    def test_what_goes_wrong(self):
        with LineServer() as server:
            url = f"tcp://127.0.0.1:{server.port}"
        # On failure the example leaves its pool to the end of the process, which is allowed.
        env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
        done = subprocess.run([PROGRAM, url], capture_output=True, text=True, check=False, timeout=60, env=env)
        self.assertEqual(done.returncode, 4)
        self.assertTrue(done.stdout.startswith("connection refused (ECONNREFUSED)\n"), done.stdout)
        done = subprocess.run([PROGRAM], capture_output=True, text=True, check=False, timeout=60, env=env)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    PROGRAM = sys.argv[1]
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[2:]])
