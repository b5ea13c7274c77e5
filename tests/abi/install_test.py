"""What `meson install` gives can be used: through pkg-config, and through CMake's find_package.

usage: install_test.py BUILD_TREE [unittest arguments]
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/support"))

from installed import Installed, meson  # noqa: E402
from peer import LineServer  # noqa: E402

EXAMPLE = os.path.join(ROOT, "docs/examples/lease.c")
BUILD = ""

CMAKE_LISTS = """
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(conpool {version} REQUIRED)
find_package(conpool {version} REQUIRED)
add_executable(lease "{example}")
target_link_libraries(lease PRIVATE conpool::conpool)
"""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Installation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("CONPOOL_SANITIZED"):
            raise unittest.SkipTest("built with a sanitizer")
        cls.folder = tempfile.TemporaryDirectory()
        # CONPOOL_INSTALL_TAGS: for a tree that was not built whole.
        installed = Installed(BUILD, os.path.join(cls.folder.name, "stage"), os.environ.get("CONPOOL_INSTALL_TAGS"))
        cls.prefix, cls.libdir = str(installed.prefix), str(installed.libdir)
        cls.pkg_config_env = {**os.environ, **installed.pkg_config()}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def check_program(self, program, **environment):
        with LineServer() as server:
            url = f"tcp://127.0.0.1:{server.port}"
            self.assertEqual(run(program, url, env={**os.environ, **environment}, timeout=60), "+PING\n")
        # The answer of a program whose peer is not there: the report, on any machine in any language.
        done = subprocess.run([program, url], env={**os.environ, **environment}, capture_output=True, text=True,
                              check=False, timeout=60)
        self.assertEqual(done.returncode, 4)
        self.assertIn("connection refused (ECONNREFUSED)", done.stdout)

    def test_pkg_config(self):
        flags = run("pkg-config", "--cflags", "--libs", "conpool", env=self.pkg_config_env).split()
        self.assertEqual([flag for flag in flags if flag.startswith("-l")], ["-lconpool"])
        program = os.path.join(self.folder.name, "by-pkg-config")
        run("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", EXAMPLE, *flags, "-o", program)
        self.check_program(program, LD_LIBRARY_PATH=self.libdir)

    def test_pkg_config_facts(self):
        what = ("--modversion", "--print-requires", "--print-requires-private")
        facts = run("pkg-config", *what, "conpool", env=self.pkg_config_env)
        version = json.loads(meson("introspect", "--projectinfo", BUILD))["version"]
        self.assertEqual(facts.split(), [version])

    def configure(self, version, prefix):
        source = tempfile.mkdtemp(dir=self.folder.name)
        with open(os.path.join(source, "CMakeLists.txt"), "w", encoding="utf-8") as lists:
            lists.write(CMAKE_LISTS.format(version=version, example=EXAMPLE))
        run("cmake", "-S", source, "-B", os.path.join(source, "build"), f"-DCMAKE_PREFIX_PATH={prefix}")
        return os.path.join(source, "build")

    def test_cmake(self):
        if shutil.which("cmake") is None:
            self.skipTest("cmake is not installed")
        tree = self.configure("0.1", self.prefix)
        run("cmake", "--build", tree)
        self.check_program(os.path.join(tree, "lease"))

    def test_cmake_of_a_moved_installation(self):
        if shutil.which("cmake") is None:
            self.skipTest("cmake is not installed")
        moved = os.path.join(self.folder.name, "moved")
        shutil.copytree(self.prefix, moved, symlinks=True)
        run("cmake", "--build", self.configure("", moved))

    def test_cmake_refuses_other_versions(self):
        if shutil.which("cmake") is None:
            self.skipTest("cmake is not installed")
        for version in ("1.0", "0.99"):
            with self.assertRaisesRegex(AssertionError, "version"):
                self.configure(version, self.prefix)

    def test_files(self):
        found = {os.path.relpath(os.path.join(folder, name), self.prefix)
                 for folder, _, names in os.walk(self.prefix) for name in names}
        libdir = os.path.relpath(self.libdir, self.prefix)
        for name in ("include/conpool/conpool.h", f"{libdir}/libconpool.so", f"{libdir}/libconpool.so.0",
                     f"{libdir}/pkgconfig/conpool.pc", f"{libdir}/cmake/conpool/conpoolConfig.cmake",
                     f"{libdir}/cmake/conpool/conpoolConfigVersion.cmake"):
            self.assertIn(name, found)
        # Nothing of the inside is installed: no static library, no other header.
        self.assertEqual([name for name in found if name.endswith(".a")], [])
        headers = ["conpool.h", "conpool.hpp", *(f"cpp/{name}" for name in os.listdir(f"{ROOT}/include/conpool/cpp"))]
        self.assertEqual({name for name in found if name.endswith((".h", ".hpp"))},
                         {f"include/conpool/{name}" for name in headers})


if __name__ == "__main__":
    BUILD = sys.argv[1]
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[2:]])
