"""The tests of the integrations once more, with the releases of httpx and requests that the index has now.

They are installed into an environment of their own; skipped when the index does not answer.
"""

import os
import subprocess
import sys
import tempfile
import unittest

import common
import environments

PACKAGES = ("httpx[http2]", "requests")
INTEGRATIONS = ("_integration.py", "httpx.py", "requests.py")


class CurrentReleases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory(prefix="conpool-current-")
        cls.addClassCleanup(place.cleanup)
        cls.python = environments.environment(place.name)
        environments.install(cls.python, "--upgrade", *PACKAGES)

    def check(self, name):
        path = os.path.join(common.HERE, name)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([self.python, path], capture_output=True, text=True, timeout=300, env=environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        sys.stderr.write(done.stderr)

    def test_httpx(self):
        self.check("httpx_test.py")

    def test_httpx_transport(self):
        self.check("httpx_transport_test.py")

    def test_requests(self):
        self.check("requests_test.py")

    def test_types(self):
        """mypy --strict, with the types that httpx and requests have."""
        environments.install(self.python, "mypy", "types-requests")
        files = [os.path.join(common.support.PACKAGE, "src", "conpool", name) for name in INTEGRATIONS]
        command = [self.python, "-m", "mypy", "--strict", "--cache-dir", os.devnull, *files]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=common.support.PACKAGE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    common.support.main()
