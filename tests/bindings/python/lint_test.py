"""The package under mypy --strict and ruff, skipped where they are not installed.

usage: lint_test.py mypy|ruff
"""

import glob
import importlib.util
import os
import shutil
import subprocess
import sys
import unittest

import support
from processes import Skipped

# Their types are those of packages that are optional.
INTEGRATIONS = ("_integration.py", "httpx.py", "requests.py")


def tool(name):
    """How a tool is called: the one on the path, or this interpreter's module."""
    found = shutil.which(name)
    if found:
        return [found]
    if importlib.util.find_spec(name) is not None:
        return [sys.executable, "-m", name]
    raise Skipped(f"{name} is not installed")


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
        self.check(*command, "--strict", "--cache-dir", os.devnull, *files)

    def test_ruff(self):
        command = tool("ruff")
        self.check(*command, "check", "--no-cache", "src")
        self.check(*command, "format", "--no-cache", "--check", "src")


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *(f"Lint.test_{name}" for name in sys.argv[1:])]
    support.main()
