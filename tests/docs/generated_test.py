"""The check of the generated pages tells each stale one, and their sources' mistakes are told, too."""

import contextlib
import io
import pathlib
import shutil
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tidy"))

import generate_docs  # noqa: E402

SOURCES = ["src/base/options.def", "src/base/status.def", "src/observe/events.def", "src/observe/counters.def"]
# A change of each source, and the pages that it makes stale.
CHANGES = {
    "src/base/options.def": ("the pool and its loop", "the loop", "options.md"),
    "src/base/status.def": ("no option has this name", "another text", "errors.md"),
    "src/observe/events.def": ("a race began", "another text", "events.md"),
    "src/observe/counters.def": ("leases granted", "another text", "events.md"),
    "docs/cookbook/05-many.py": ("answered", "done", "cookbook.md"),
    "docs/guide/guide.c": ("\"accept\"", "\"other\"", "c.md"),
    "docs/guide/guide.cc": ("\"accept\"", "\"other\"", "cpp.md"),
    "docs/guide/guide.py": ("\"accept\"", "\"other\"", "python.md"),
    "docs/guide/guide.rs": ("\"accept\"", "\"other\"", "rust.md"),
    "docs/errors.md": ("# Status codes", "# Codes", "errors.md"),
}
MISTAKES = {
    "docs/cookbook/05-many.py": ("at most 8", "at most 9", "05-many: the languages say different things"),
    "docs/guide/guide.rs": ("// [many]", "// [much]", "guide.rs: part many: 0 marks"),
    "src/observe/events.def": ("EVENT(RaceWon, ", "EVENT(RaceWon ", "not a row of EVENT"),
}


class Generated(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="conpool-docs-")
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)
        for name in SOURCES:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        shutil.copytree(ROOT / "docs", self.root / "docs")
        patch = mock.patch.object(generate_docs, "ROOT", self.root)
        patch.start()
        self.addCleanup(patch.stop)

    def run_it(self, *arguments):
        """(exit code, what it said)"""
        said = io.StringIO()
        with mock.patch.object(sys, "argv", ["generate_docs.py", *arguments]), contextlib.redirect_stdout(said):
            code = generate_docs.main()
        return code, said.getvalue()

    def change(self, name, old, new):
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        self.assertIn(old, text, name)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def test_what_is_committed_is_not_stale(self):
        self.assertEqual(self.run_it("--check"), (0, ""))

    def test_each_stale_page_is_told_and_can_be_renewed(self):
        for name, (old, new, page) in CHANGES.items():
            with self.subTest(source=name):
                self.change(name, old, new)
                self.assertEqual(self.run_it("--check"), (1, f"docs/{page} is stale: run tests/tidy/generate_docs.py\n"))
                self.assertEqual(self.run_it(), (0, ""))
                self.assertEqual(self.run_it("--check"), (0, ""))

    def test_mistakes_are_told(self):
        for name, (old, new, said) in MISTAKES.items():
            with self.subTest(source=name):
                self.change(name, old, new)
                with self.assertRaisesRegex(SystemExit, said):
                    self.run_it("--check")
                self.change(name, new, old)


if __name__ == "__main__":
    unittest.main(verbosity=2)
