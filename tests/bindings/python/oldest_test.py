"""The tests of this folder under the oldest Python that the package claims: one that is installed,
or else the one of an older Debian.

usage: oldest_test.py RESPONSE_TABLE_PROGRAM
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import debian_python
import support
from processes import Skipped

APART = ("lint_test.py", "oldest_test.py", "stub_test.py", "servers_test.py", "readme_test.py")


def claimed():
    """(3, 9), as pyproject.toml says."""
    with open(os.path.join(support.PACKAGE, "pyproject.toml"), encoding="utf-8") as file:
        return tuple(
            map(int, re.search(r'requires-python = ">=(\d+)\.(\d+)"', file.read()).groups())
        )


def installed(version):
    """Its path; None where there is none."""
    name = "python%d.%d" % version
    pyenv = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions")
    places = sorted(glob.glob(os.path.join(pyenv, "%d.%d.*" % version, "bin", "python")))
    for place in [shutil.which(name), *places]:
        # One on the path may be a shim that only says that it is not there.
        if (
            place
            and subprocess.run([place, "-c", ""], capture_output=True, timeout=60).returncode == 0
        ):
            return place
    return None


class Oldest(unittest.TestCase):
    table = ""

    def test_the_suite(self):
        if sys.version_info[:2] == claimed():
            raise Skipped("this is the oldest one already")
        python, environment = installed(claimed()), {}
        if python is None:
            self.assertEqual(claimed(), debian_python.VERSION)
            place = tempfile.TemporaryDirectory(prefix="conpool-python-")
            self.addCleanup(place.cleanup)
            python, environment = debian_python.unpacked(place.name)
        tests = [
            path
            for path in sorted(glob.glob(os.path.join(support.HERE, "*_test.py")))
            if os.path.basename(path) not in APART
        ]
        self.assertGreater(len(tests), 7)
        for path in tests:
            arguments = [self.table] if path.endswith("table_test.py") else []
            with self.subTest(os.path.basename(path)):
                done = subprocess.run(
                    [python, path, *arguments], env={**os.environ, **environment},
                    capture_output=True, text=True, timeout=120,
                )  # fmt: skip
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    Oldest.table = os.path.abspath(sys.argv.pop(1))
    support.main()
