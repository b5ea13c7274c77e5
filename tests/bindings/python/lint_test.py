"""The package under mypy --strict and ruff: those of this machine, or else those of the package index.

usage: lint_test.py mypy|ruff

Skipped where neither has them.
"""

import atexit
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import support

sys.path.insert(0, os.path.join(support.HERE, "integrations"))

import environments  # noqa: E402

# Their types are those of packages that are optional.
INTEGRATIONS = ("_integration.py", "httpx.py", "requests.py")


# Another release may format otherwise, and complain of more.
RELEASES = {"mypy": "mypy==2.4.1", "ruff": "ruff==0.17.5"}


def tool(name):
    """The tool on the path, or one that is installed into an environment of its own."""
    found = shutil.which(name)
    if found:
        return found
    place = tempfile.TemporaryDirectory(prefix="conpool-lint-")
    atexit.register(place.cleanup)
    environments.install(environments.environment(place.name), RELEASES[name])
    return os.path.join(place.name, "bin", name)


class Lint(unittest.TestCase):
    def check(self, *argv):
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        done = subprocess.run(
            argv, cwd=support.PACKAGE, env=environment, capture_output=True, text=True, timeout=300
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_mypy(self):
        command = tool("mypy")
        files = [
            path
            for path in sorted(glob.glob(os.path.join(support.PACKAGE, "src", "conpool", "*.py")))
            if os.path.basename(path) not in INTEGRATIONS
        ]
        self.check(command, "--strict", "--cache-dir", os.devnull, *files)

    def test_ruff(self):
        command = tool("ruff")
        self.check(command, "check", "--no-cache", "src")
        self.check(command, "format", "--no-cache", "--check", "src")


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *(f"Lint.test_{name}" for name in sys.argv[1:])]
    support.main()
