"""Doxygen makes the reference of the headers without a warning, and every function has its comment there.

usage: reference_test.py DOXYFILE  (Meson's, whose output goes elsewhere here)
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from processes import main, need  # noqa: E402

DOXYFILE = ""
HEADERS = sorted((ROOT / "include/conpool").rglob("*.h*"))
# What the page of a function has to say, and the parameters that it has to explain.
SAMPLES = {
    "conpool_pool_new": ("Creates a pool.", ["config", "out"]),
    "conpool_request_start": ("Starts the request.", ["config", "how", "queue", "out_op"]),
    "conpool_connection_lend": ("Lends the connection's descriptor", ["blocking", "out_fd", "out_read"]),
    "conpool_error_retry_after": ("nanoseconds from the failure to the next trial", []),
    "conpool_describe": ("The library's own tables as JSON text", ["what", "out"]),
}


def text_of(element):
    return " ".join("".join(element.itertext()).split()) if element is not None else ""


def without_comments(text):
    """The code of each line."""
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment.group().count("\n"), text, flags=re.S)
    return [line.split("//")[0].rstrip() for line in text.split("\n")]


class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        doxygen = need("doxygen")
        place = tempfile.TemporaryDirectory(prefix="conpool-reference-")
        cls.addClassCleanup(place.cleanup)
        cls.place = pathlib.Path(place.name)
        settings = pathlib.Path(DOXYFILE).read_text(encoding="utf-8")
        settings += f'\nOUTPUT_DIRECTORY = "{cls.place}"\nGENERATE_XML = YES\n'
        cls.done = subprocess.run([doxygen, "-"], input=settings, capture_output=True, text=True, timeout=170)
        cls.members, cls.html = {}, {}
        for path in (cls.place / "xml").glob("*.xml"):
            for member in ElementTree.parse(path).iter("memberdef"):
                cls.members.setdefault(member.findtext("name"), member)

    def test_no_warning(self):
        self.assertEqual((self.done.returncode, self.done.stdout + self.done.stderr), (0, ""))

    def test_every_function_has_its_comment(self):
        for name in (ROOT / "capi/symbols.txt").read_text().split():
            member = self.members[name]
            self.assertEqual(member.get("kind"), "function", name)
            self.assertGreater(len(text_of(member.find("briefdescription"))), 0, name)

    def test_every_constant_has_its_comment(self):
        header = (ROOT / "include/conpool/conpool.h").read_text(encoding="utf-8")
        header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
        constants = re.findall(r"^  (CONPOOL_\w+) =", header, re.M)
        self.assertGreater(len(constants), 100)
        values = {value.findtext("name"): value for path in (self.place / "xml").glob("*.xml")
                  for value in ElementTree.parse(path).iter("enumvalue")}
        bare = [name for name in constants if not text_of(values[name])[len(name):].strip(" =-0123456789")]
        # The names of these say it all.
        self.assertEqual([name for name in bare if not name.startswith(
            ("CONPOOL_PHASE_", "CONPOOL_LEVEL_", "CONPOOL_CLASS_", "CONPOOL_EVENT_NONE"))], [])

    def test_samples(self):
        for name, (said, parameters) in SAMPLES.items():
            with self.subTest(function=name):
                member = self.members[name]
                everything = text_of(member.find("briefdescription")) + text_of(member.find("detaileddescription"))
                self.assertIn(said, everything)
                explained = [one.text for one in member.iter("parametername")]
                self.assertEqual(explained, parameters)

    def test_pages(self):
        pages = {path.name: path.read_text(encoding="utf-8") for path in (self.place / "html").glob("*.html")}
        for name in SAMPLES:
            self.assertTrue(any(f">{name}<" in page or f"{name} </td>" in page for page in pages.values()), name)
        self.assertIn("Pools", pages["modules.html"])
        self.assertIn("classconpool_1_1Pool.html", pages)

    def test_the_filter_changes_comments_alone(self):
        for header in HEADERS:
            argv = [sys.executable, ROOT / "docs/doxygen_filter.py", header]
            made = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
            self.assertEqual(without_comments(made), without_comments(header.read_text(encoding="utf-8")), header)


if __name__ == "__main__":
    DOXYFILE = sys.argv.pop(1)
    main()
