"""rustfmt, clippy, rustdoc and packaging of the Rust crates, without a warning.

usage: tools_test.py LIBRARY TARGET_DIR
"""

import os
import pathlib
import shutil
import sys
import tempfile
import unittest

import crates
import installed
from processes import main

LIBRARY_DIR = TARGET = ""
# Lints that clippy took back from its defaults, as they ask for what does not compile or for no better code.
WRONG_LINTS = ("-A", "clippy::needless-collect", "-A", "clippy::redundant-clone")


class Tools(unittest.TestCase):
    def clean(self, cargo, *arguments, **options):
        output, code = cargo.run(*arguments, **options)
        self.assertEqual(code, 0, output)
        self.assertNotIn("warning", output)
        return output

    def test_format_and_lints(self):
        cargo = crates.newest(LIBRARY_DIR, TARGET, "fmt", "clippy")
        self.clean(cargo, "fmt", "--all", "--check")
        self.clean(cargo, "clippy", "--offline", "--workspace", "--all-targets", "--", "-D", "warnings",
                   *(WRONG_LINTS if cargo.version() < (1, 71) else ()))

    def test_the_crate_is_thin(self):
        """At most 2,500 lines of code in the safe crate: without blank lines and comments, with everything else."""
        files = (crates.WORKSPACE / "conpool" / "src").glob("*.rs")
        lines = [line.strip() for file in files for line in file.read_text().splitlines()]
        self.assertLessEqual(len([line for line in lines if line and not line.startswith("//")]), 2500)

    def test_documentation(self):
        cargo = crates.oldest(LIBRARY_DIR, TARGET)
        self.clean(cargo, "doc", "--offline", "--workspace", "--no-deps", RUSTDOCFLAGS="-D warnings")
        # As docs.rs builds it: without the library.
        with tempfile.TemporaryDirectory(prefix="conpool-doc-") as empty:
            self.clean(cargo, "doc", "--offline", "-p", "conpool-sys", "--no-deps", DOCS_RS=1, CONPOOL_LIB_DIR=empty)

    def test_packages(self):
        cargo = crates.oldest(LIBRARY_DIR, TARGET)
        listed = self.clean(cargo, "package", "--offline", "--allow-dirty", "--list", "-p", "conpool-sys").split()
        self.assertEqual(sorted(set(listed) - {".cargo_vcs_info.json", "Cargo.lock"}),
                         ["Cargo.toml", "Cargo.toml.orig", "README.md", "build.rs", "src/constants.rs", "src/lib.rs",
                          "tests/abi.rs"])
        listed = self.clean(cargo, "package", "--offline", "--allow-dirty", "--list", "-p", "conpool").split()
        self.assertIn("README.md", listed)
        self.assertIn("src/lib.rs", listed)
        self.clean(cargo, "package", "--offline", "--allow-dirty", "-p", "conpool-sys")

    def test_packages_build_together(self):
        cargo = crates.newest(LIBRARY_DIR, TARGET)
        if cargo.version() < (1, 90):
            self.skipTest("no cargo from 1.90 on, which packages crates that need each other")
        self.clean(cargo, "package", "--offline", "--allow-dirty", "--workspace")

    def test_a_library_that_is_not_there(self):
        cargo = crates.oldest(LIBRARY_DIR, TARGET)
        with tempfile.TemporaryDirectory(prefix="conpool-none-") as empty:
            environment = {"CARGO_TARGET_DIR": pathlib.Path(empty) / "target", "PKG_CONFIG_PATH": empty,
                           "PKG_CONFIG_LIBDIR": empty}
            output, code = cargo.run("build", "--offline", "-p", "conpool-sys", unset=["CONPOOL_LIB_DIR"],
                                     **environment)
            self.assertNotEqual(code, 0)
            self.assertIn("set CONPOOL_LIB_DIR to the directory of libconpool.so", output)
            environment["PKG_CONFIG"] = pathlib.Path(empty) / "no-pkg-config"
            output, code = cargo.run("build", "--offline", "-p", "conpool-sys", unset=["CONPOOL_LIB_DIR"],
                                     **environment)
            self.assertNotEqual(code, 0)
            self.assertIn("does not run", output)

    def test_an_installed_library_by_pkg_config(self):
        if shutil.which("pkg-config") is None:
            self.skipTest("pkg-config is not installed")
        if os.environ.get("CONPOOL_SANITIZED"):
            self.skipTest("a program does not load a sanitizer's library by itself")
        cargo = crates.oldest(LIBRARY_DIR, TARGET)
        with tempfile.TemporaryDirectory(prefix="conpool-pc-") as place:
            place = pathlib.Path(place)
            there = installed.Installed(LIBRARY_DIR.parent, place / "stage")
            output, code = cargo.run("test", "--offline", "-p", "conpool-sys", unset=["CONPOOL_LIB_DIR"],
                                     CARGO_TARGET_DIR=place / "target", LD_LIBRARY_PATH=there.libdir,
                                     **there.pkg_config())
            self.assertEqual(code, 0, output)
            self.assertIn("the_library_answers ... ok", output)


if __name__ == "__main__":
    LIBRARY_DIR, TARGET = pathlib.Path(sys.argv[1]).resolve().parent, sys.argv[2]
    del sys.argv[1:]
    main()
