"""cargo test of bindings/rust/integrations, which needs crates of crates.io.

usage: integrations_test.py LIBRARY TARGET_DIR

Skipped where cargo neither has these crates already nor can fetch them.
"""

import os
import pathlib
import sys
import unittest

import crates
from processes import Skipped, main

LIBRARY_DIR = TARGET = ""
PLACE = crates.WORKSPACE / "integrations"
OLDEST = (1, 71)


class Integrations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("CONPOOL_SANITIZED"):
            raise Skipped("cargo's programs do not load a sanitizer's library")
        cls.cargo = crates.newest(LIBRARY_DIR, TARGET)
        if cls.cargo.version() < OLDEST:
            raise Skipped(f"no cargo of at least {'.'.join(map(str, OLDEST))} is installed")
        fetch = ("fetch", "--locked", "--target", cls.cargo.host())
        code = cls.cargo.run(*fetch, "--offline", cwd=PLACE)[1]
        if code != 0:
            output, code = cls.cargo.run(*fetch, cwd=PLACE, CARGO_NET_OFFLINE="false", CARGO_NET_RETRY=1,
                                         CARGO_HTTP_TIMEOUT=20)
            if code != 0:
                said = [line for line in output.splitlines() if line.startswith("error")] or [output.strip()]
                raise Skipped(f"cargo does not have what the integrations need: {said[0]}")

    def clean(self, *arguments, **options):
        output, code = self.cargo.run(*arguments, cwd=PLACE, **options)
        print(output)
        self.assertEqual(code, 0, output)
        self.assertNotIn("warning", output)
        return output

    def test_with_all_features(self):
        self.assertIn("test result: ok", self.clean("test", "--locked", "--offline", "--all-features"))

    def test_package(self):
        # The tests share their servers with those of conpool, and could not be built in a package.
        listed = self.clean("package", "--offline", "--allow-dirty", "--list").split()
        self.assertIn("src/lib.rs", listed)
        self.assertEqual([name for name in listed if name.startswith("tests/")], [])

    def test_each_feature_alone(self):
        for feature in ("http", "tokio", "tower", "log"):
            self.clean("check", "--locked", "--offline", "--features", feature)
        self.clean("doc", "--locked", "--offline", "--all-features", "--no-deps", RUSTDOCFLAGS="-D warnings")

    def test_lints(self):
        if not (self.cargo.has("clippy") and self.cargo.has("fmt")):
            self.skipTest("this cargo has no clippy and rustfmt")
        self.clean("fmt", "--check")
        self.clean("clippy", "--locked", "--offline", "--all-features", "--all-targets", "--", "-D", "warnings")


if __name__ == "__main__":
    LIBRARY_DIR, TARGET = pathlib.Path(sys.argv[1]).resolve().parent, sys.argv[2]
    del sys.argv[1:]
    main()
