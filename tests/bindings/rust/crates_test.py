"""cargo test of the Rust crates on the oldest cargo here, with real servers; and what they call of the library.

usage: crates_test.py LIBRARY TARGET_DIR

With CONPOOL_SANITIZED=address the library is one for the address sanitizer: threads and misuse run on it.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import crates
import calls
from certificates import Authority
from processes import Skipped, main
from servers import Nghttpd, Nginx, Redis

LIBRARY_DIR = TARGET = ""
SANITIZER = os.environ.get("CONPOOL_SANITIZED", "")

# Functions that no test needs to call, and why.
NOT_CALLED = {
    "conpool_perform": "answers E_BUSY for a request that it has started, where another thread drives the loop",
    "conpool_lookup_free": "frees a lookup whose answer the library refused, which the crate's answers never are",
}


@contextlib.contextmanager
def servers():
    """What tests/servers.rs asks for; what cannot be had here is left out."""
    with contextlib.ExitStack() as stack:
        try:
            authority = stack.enter_context(Authority())
            certificate = authority.issue("localhost")
        except Skipped as reason:
            print(f"without servers: {reason}")
            yield {}
            return
        found = {"CONPOOL_TEST_CA": authority.certificate}
        for name, make in (("CONPOOL_TEST_HTTP1", lambda: Nginx(certificate=certificate, versions="http1")),
                           ("CONPOOL_TEST_HTTP2", lambda: Nginx(certificate=certificate)),
                           ("CONPOOL_TEST_ECHO", lambda: Nghttpd("--echo-upload", certificate=certificate))):
            try:
                found[name] = f"https://localhost:{stack.enter_context(make()).port}/"
            except Skipped as reason:
                print(f"without {name}: {reason}")
        yield found


def runner(**environment):
    """Makes cargo start the test programs, and nothing else, with these variables."""
    words = ["env", *(f"{name}={value}" for name, value in environment.items())]
    return {"CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER": " ".join(words)}


class Crates(unittest.TestCase):
    def setUp(self):
        self.cargo = crates.oldest(LIBRARY_DIR, TARGET)
        print(f"with {self.cargo.program} {'.'.join(map(str, self.cargo.version()))}")

    def cargo_test(self, *arguments, **environment):
        output, code = self.cargo.run("test", "--offline", *arguments, **environment)
        print(output)
        self.assertEqual(code, 0, output)
        return output

    def test_cargo_test(self):
        if SANITIZER:
            self.skipTest("the address sanitizer runs the tests of threads and misuse")
        self.assertNotIn("warning", self.cargo_test("--no-run"))
        with tempfile.TemporaryDirectory(prefix="conpool-rust-") as place, servers() as found:
            place = pathlib.Path(place)
            library = calls.build(place)
            counted = runner(LD_PRELOAD=library, CONPOOL_CALLS=place / "called") if library else {}
            self.assertIn("test result: ok", self.cargo_test(**found, **counted))
            if library:
                missing = set(calls.symbols()) - calls.called(place / "called")
                self.assertEqual(missing - NOT_CALLED.keys(), set(), "never called, and no reason is listed")
                self.assertEqual(NOT_CALLED.keys() - missing, set(), "listed as never called, and called")

    def test_examples_of_the_readme(self):
        if SANITIZER:
            self.skipTest("the address sanitizer runs the tests of threads and misuse")
        readme = (crates.WORKSPACE / "conpool" / "README.md").read_text()
        for name in ("get", "lease"):
            example = (crates.WORKSPACE / "conpool" / "examples" / f"{name}.rs").read_text()
            self.assertIn(f"```rust,no_run\n{example}```\n", readme)
        with Authority() as authority:
            certificate = authority.issue("localhost")
            with Nginx(certificate=certificate) as nginx:
                url = f"https://localhost:{nginx.port}/"
                self.assertEqual(self.example("get", url, authority.certificate), "200 HTTP/2\nhello\n\n")
            with Nginx() as nginx:
                lines = self.example("futures", f"http://127.0.0.1:{nginx.port}/").splitlines()
                self.assertEqual(lines, ["200 6 bytes"] * 10 + ["6 bytes came first"])
        with Redis() as redis:
            self.assertEqual(self.example("lease", f"tcp://127.0.0.1:{redis.port}"), "+PONG\n")

    def example(self, name, *arguments):
        output, code = self.cargo.run("run", "--quiet", "--offline", "-p", "conpool", "--example", name, "--", *arguments)
        self.assertEqual(code, 0, output)
        return output

    def test_under_the_address_sanitizer(self):
        if SANITIZER != "address":
            self.skipTest("the library has no address sanitizer")
        found = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        library = os.path.realpath(found.stdout.strip())
        # Its allocator does not survive a fork of a process with threads: a lock of it may be held then.
        forks = "use_after_fork,fork_while_threads_work"
        self.cargo_test("-p", "conpool", "--test", "misuse", "--test", "threads", CONPOOL_MISUSE_WITHOUT=forks,
                        **runner(LD_PRELOAD=library, ASAN_OPTIONS="detect_leaks=0"))


if __name__ == "__main__":
    LIBRARY_DIR, TARGET = pathlib.Path(sys.argv[1]).resolve().parent, sys.argv[2]
    del sys.argv[1:]
    main()
