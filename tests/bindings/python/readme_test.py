"""The README's examples run as printed: against an HTTPS server, and against Redis."""

import os
import re
import subprocess
import sys
import unittest

import support
from certificates import Authority
from servers import Nginx, Redis


def example(words):
    """The code of the README that has these words."""
    with open(os.path.join(support.PACKAGE, "README.md"), encoding="utf-8") as file:
        blocks = re.findall(r"^```python\n(.*?)^```$", file.read(), re.S | re.M)
    (found,) = [block for block in blocks if words in block]
    return found


class Readme(unittest.TestCase):
    def run_example(self, words, *arguments):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example(words), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=support.LONG_S,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_https(self):
        with Authority() as authority, Nginx(certificate=authority.issue("localhost")) as nginx:
            out = self.run_example(
                "Fetches a URL", f"https://localhost:{nginx.port}/", authority.certificate
            )
        self.assertEqual(out, "200 HTTP/2 hello\n\n")

    def test_redis(self):
        with Redis() as redis:
            self.assertEqual(self.run_example("Asks a Redis", redis.port), "b'+PONG\\r\\n'\n" * 2)

    def test_every_example_is_run(self):
        with open(os.path.join(support.PACKAGE, "README.md"), encoding="utf-8") as file:
            self.assertEqual(file.read().count("```python"), 2)

    def test_names_it_tells_of_exist(self):
        import conpool

        with open(os.path.join(support.PACKAGE, "README.md"), encoding="utf-8") as file:
            names = set(re.findall(r"`([A-Z][A-Za-z]*[a-z])`", file.read()))
        ours = names - {"TimeoutError", "ConnectionError", "ResourceWarning", "None"}
        self.assertGreater(len(ours), 10)
        self.assertEqual([name for name in ours if not hasattr(conpool, name)], [])


if __name__ == "__main__":
    support.main()
