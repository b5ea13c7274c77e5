"""cargo test of bindings/rust/integrations, which needs crates of crates.io.

usage: integrations_test.py LIBRARY TARGET_DIR

Without the network it runs where cargo has the crates already; with CONPOOL_TEST_ONLINE=1 cargo may fetch them.
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
    def setUp(self):
        if os.environ.get("CONPOOL_SANITIZED"):
            self.skipTest("cargo's programs do not load a sanitizer's library")
        self.cargo = crates.newest(LIBRARY_DIR, TARGET)
        if self.cargo.version() < OLDEST:
            self.skipTest(f"no cargo of at least {'.'.join(map(str, OLDEST))} is installed")
        # The lock file may be of a form that this cargo does not read, and crates may be absent.
        output, code = self.cargo.run("fetch", "--locked", "--target", self.cargo.host(), *self.offline(), cwd=PLACE,
                                      **self.net())
        if code != 0:
            raise Skipped(f"cargo does not have what the integrations need: {output.strip().splitlines()[0]}")

    def online(self):
        return os.environ.get("CONPOOL_TEST_ONLINE", "") not in ("", "0")

    def offline(self):
        return [] if self.online() else ["--offline"]

    def net(self):
        return {"CARGO_NET_OFFLINE": "false" if self.online() else "true"}

    def clean(self, *arguments, **options):
        output, code = self.cargo.run(*arguments, cwd=PLACE, **self.net(), **options)
        print(output)
        self.assertEqual(code, 0, output)
        self.assertNotIn("warning", output)
        return output

    def test_with_all_features(self):
        self.assertIn("test result: ok", self.clean("test", "--locked", *self.offline(), "--all-features"))

    def test_each_feature_alone(self):
        for feature in ("http", "tokio", "tower", "log"):
            self.clean("check", "--locked", *self.offline(), "--features", feature)
        self.clean("doc", "--locked", *self.offline(), "--all-features", "--no-deps", RUSTDOCFLAGS="-D warnings")

    def test_lints(self):
        if not (self.cargo.has("clippy") and self.cargo.has("fmt")):
            self.skipTest("this cargo has no clippy and rustfmt")
        self.clean("fmt", "--check")
        self.clean("clippy", "--locked", *self.offline(), "--all-features", "--all-targets", "--", "-D", "warnings")


if __name__ == "__main__":
    LIBRARY_DIR, TARGET = pathlib.Path(sys.argv[1]).resolve().parent, sys.argv[2]
    del sys.argv[1:]
    main()
