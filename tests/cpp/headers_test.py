"""conpool.hpp compiles in every mode without a warning, reaches every C function, and works built by clang.

usage: headers_test.py LIBRARY
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from processes import main  # noqa: E402

HEADERS = [ROOT / "include/conpool/conpool.hpp", *sorted((ROOT / "include/conpool/cpp").glob("*.hpp"))]
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", f"-I{ROOT}/include"]
MODES = {"plain": [], "no exceptions": ["-fno-exceptions", "-fno-rtti"]}
LIBRARY = ""

# Two files of one program; each uses what is inline, so that a definition that is not would collide.
USER = """
#include <conpool/conpool.hpp>
#include <conpool/conpool.hpp>
conpool::Task<int> %(name)s_task(conpool::Dispatcher& io, const conpool::Pool& pool) {
  conpool::Result<conpool::Response> got = co_await io.get(pool, "http://127.0.0.1:1/");
  co_return got ? got->status() : 0;
}
int %(name)s() {
  const conpool::Pool pool = conpool::Pool::create().value();
  conpool::Dispatcher io = conpool::Dispatcher::create(pool).value();
  const conpool::Endpoint endpoint = pool.endpoint("tcp://127.0.0.1:1").value();
  io.acquire(endpoint).then([](conpool::Result<conpool::Connection>) {});
  const conpool::Result<int> ran = io.run(%(name)s_task(io, pool));
  return ran && io.run() && conpool::describe("build") ? *ran : 1;
}
"""
RUN = """
#include <conpool/conpool.hpp>
conpool::Task<int> answer(int number);
int main() {
  const conpool::Pool pool = conpool::Pool::create().value();
  conpool::Dispatcher io = conpool::Dispatcher::create(pool).value();
  const conpool::Result<int> got = io.run(answer(42));
  return got && *got == 42 ? 0 : 1;
}
"""
MAIN = "int one(); int two(); int main() { return one() + two(); }\n"


def compilers():
    """By kind: the compilers of this machine."""
    found = {"g++": shutil.which("g++"), "clang++": shutil.which("clang++-14") or shutil.which("clang++")}
    return {kind: path for kind, path in found.items() if path}


class Headers(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="conpool-cpp-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)

    def compile(self, *argv):
        done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=280)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), argv)

    def test_each_header_stands_alone(self):
        compiler = next(iter(compilers().values()))
        for header in HEADERS:
            with self.subTest(header=header.name):
                self.compile(compiler, *FLAGS, "-fsyntax-only", "-x", "c++", "-include", header, "/dev/null")

    def test_programs_build_and_run_in_every_mode(self):
        for name in ("one", "two"):
            (self.place / f"{name}.cc").write_text(USER % {"name": name})
        (self.place / "main.cc").write_text(MAIN)
        for kind, compiler in compilers().items():
            for mode, flags in MODES.items():
                with self.subTest(compiler=kind, mode=mode):
                    program = self.place / "program"
                    sources = [self.place / f"{name}.cc" for name in ("one", "two", "main")]
                    if os.environ.get("CONPOOL_SANITIZED"):
                        self.compile(compiler, *FLAGS, *flags, "-c", sources[0], "-o", self.place / "one.o")
                        continue
                    folder = os.path.dirname(LIBRARY)
                    self.compile(compiler, *FLAGS, *flags, *sources, "-o", program, LIBRARY, f"-Wl,-rpath,{folder}")
                    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))

    @unittest.skipIf(os.environ.get("CONPOOL_SANITIZED"), "the library needs a sanitizer's programs")
    def test_files_of_both_modes_go_together(self):
        made = "conpool::Task<int> answer(int number) { co_return number; }\n"
        (self.place / "made.cc").write_text(f"#include <conpool/conpool.hpp>\n{made}")
        (self.place / "run.cc").write_text(RUN)
        modes = list(MODES.values())
        for kind, compiler in compilers().items():
            for one, other in (modes, modes[::-1]):
                with self.subTest(compiler=kind, run=other):
                    objects = [self.place / "made.o", self.place / "run.o"]
                    for flags, file in zip((one, other), objects):
                        self.compile(compiler, *FLAGS, *flags, "-c", file.with_suffix(".cc"), "-o", file)
                    program = self.place / "program"
                    folder = os.path.dirname(LIBRARY)
                    self.compile(compiler, *objects, "-o", program, LIBRARY, f"-Wl,-rpath,{folder}")
                    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_reaches_every_function(self):
        symbols = (ROOT / "capi/symbols.txt").read_text().split()
        text = "\n".join(header.read_text() for header in HEADERS)
        used = set(re.findall(r"\bconpool_\w+", text))
        self.assertEqual([name for name in symbols if name not in used], [])

    def test_reaches_no_function_that_is_not_exported(self):
        symbols = set((ROOT / "capi/symbols.txt").read_text().split())
        text = "\n".join(header.read_text() for header in HEADERS)
        called = set(re.findall(r"\b(conpool_\w+)\(", text))
        self.assertEqual(called - symbols, set())

    def test_every_class_is_documented(self):
        for header in HEADERS:
            lines = header.read_text().splitlines()
            self.assertTrue(lines[0].startswith("// conpool"), header)
            for number, line in enumerate(lines[1:], 1):
                if re.match(r"(class|struct) \w+( [^<]*)?\{$", line):
                    before = number - 1
                    while lines[before].startswith(("template", "inline")):
                        before -= 1
                    self.assertTrue(lines[before].startswith("//"), f"{header.name}:{number + 1}: {line}")


@unittest.skipUnless("clang++" in compilers(), "clang++ is not installed")
@unittest.skipIf(os.environ.get("CONPOOL_SANITIZED"), "the library is built with a sanitizer of another compiler")
class Clang(unittest.TestCase):
    def test_coroutines_built_by_clang(self):
        with tempfile.TemporaryDirectory(prefix="conpool-cpp-") as place:
            program = os.path.join(place, "coroutines")
            sources = [ROOT / "tests/cpp/coroutine_test.cc",
                       *(ROOT / f"tests/capi/{name}.cc" for name in ("support", "http_support", "json"))]
            argv = [compilers()["clang++"], "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror",
                    "-D_GNU_SOURCE", f"-I{ROOT}/include", *sources, "-o", program, LIBRARY,
                    f"-Wl,-rpath,{os.path.dirname(LIBRARY)}", "-lgtest_main", "-lgtest", "-pthread"]
            done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=280)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = subprocess.run([program], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stdout[-4000:])


if __name__ == "__main__":
    LIBRARY = sys.argv.pop(1)
    main()
