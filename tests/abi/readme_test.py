"""The README's C examples are docs/examples/get.c and lease.c to the letter, have at most 20 lines of code, and work.

usage: readme_test.py LEASE_PROGRAM GET_PROGRAM
"""

import os
import re
import subprocess
import sys
import unittest

from peer import HttpServer, LineServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = ""
GET_PROGRAM = ""


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.examples = {}
        for name in ("get.c", "lease.c"):
            with open(os.path.join(ROOT, "docs/examples", name), encoding="utf-8") as file:
                cls.examples[name] = file.read()

    def test_block_equals_the_file(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            blocks = re.findall(r"^```c\n(.*?)^```$", file.read(), re.S | re.M)
        for name, example in self.examples.items():
            self.assertEqual(blocks.count(example), 1, f"README.md does not show docs/examples/{name} as it is")

    def test_length(self):
        for name, example in self.examples.items():
            code = [line for line in example.splitlines() if line and not line.startswith(("#include", "/*"))]
            self.assertLessEqual(len(code), 20, name)

    def test_get_works(self):
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"
        with HttpServer(reply) as server:
            url = f"http://127.0.0.1:{server.port}/path?query"
            done = subprocess.run([GET_PROGRAM, url], capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual((done.stdout, done.stderr, done.returncode), ("200\nhello\n", "", 0))
            self.assertEqual(server.requests, [b"GET /path?query HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port])

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
    PROGRAM, GET_PROGRAM = sys.argv[1:3]
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[3:]])
