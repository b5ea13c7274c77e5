"""docs/c.md, cpp.md, python.md and rust.md: one template, and code that runs and does the same in each language."""

import os
import pathlib
import re
import shutil
import tempfile
import unittest

import local
import programs
from processes import Skipped, main, need

PAGES = {"c.md": ("C", ".c"), "cpp.md": ("C++", ".cc"), "python.md": ("Python", ".py"), "rust.md": ("Rust", ".rs")}
HEADINGS = ["Install and link", "A request", "Options", "Streaming", "A connection for another protocol", "Errors",
            "Many at once", "Threads and forks", "Events, metrics and logging", "What it does not do",
            "Limits and versions"]
PARTS = ["request", "options", "streaming", "connection", "errors", "many", "threads", "events"]
# As `meson install` would write it for the build tree.
PACKAGE = f"""Name: conpool
Description: for the test
Version: 0.1.0
Libs: -L{programs.library().parent} -lconpool
Cflags: -I{programs.ROOT}/include
"""


def page(name):
    return (programs.ROOT / "docs" / name).read_text(encoding="utf-8")


class Pages(unittest.TestCase):
    def test_one_template(self):
        for name in PAGES:
            with self.subTest(page=name):
                self.assertEqual(re.findall(r"^## (.*)$", page(name), re.M), HEADINGS)

    def test_all_code_is_of_the_guide(self):
        # tests/tidy/generate_docs.py fills the blocks after these marks, and its check tells stale ones.
        for name, (_, suffix) in PAGES.items():
            with self.subTest(page=name):
                marked = re.findall(r"^<!-- code: guide(\.\w+) (\w+) -->\n```\w+$", page(name), re.M)
                self.assertEqual(marked, [(suffix, part) for part in PARTS])
                blocks = re.findall(r"^```(?:c|cpp|python|rust)$", page(name), re.M)
                self.assertEqual(len(blocks), len(PARTS))

    def test_links_lead_somewhere(self):
        for name in [*PAGES, "cookbook.md", "events.md"]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page(name)):
                self.assertTrue((programs.ROOT / "docs" / target).exists(), f"{name}: {target}")


@unittest.skipIf(programs.sanitized(), "the command of the page says nothing of sanitizers")
class Commands(unittest.TestCase):
    def test_command_that_links(self):
        need("pkg-config")
        for name, source in (("c.md", "guide.c"), ("cpp.md", "guide.cc")):
            with self.subTest(page=name), tempfile.TemporaryDirectory(prefix="conpool-docs-") as place:
                (command,) = re.findall(r"^```sh\n(.*)\n```$", page(name), re.M)
                shutil.copy(programs.GUIDE / source, pathlib.Path(place) / f"app{pathlib.Path(source).suffix}")
                pathlib.Path(place, "conpool.pc").write_text(PACKAGE)
                programs.must(["sh", "-c", command], cwd=place, env={**os.environ, "PKG_CONFIG_PATH": place})
                self.assertTrue(os.access(os.path.join(place, "app"), os.X_OK))


class Programs(unittest.TestCase):
    maxDiff = None

    def test_same_in_each_language(self):
        with local.Site() as site, local.Echo() as echo, local.Refusing() as refusing:
            refused = f"http://127.0.0.1:{refusing.ports[0]}/"
            expected = ["200 hello", "E_UNKNOWN_OPTION", "1000000 bytes", "HELLO", "E_CONNECT_REFUSED",
                        "no connection", "while connecting", "nothing was sent",
                        f"tried tcp:127.0.0.1:{refusing.ports[0]}", "32 answers", "8 answers", "recorded", "counted"]
            for language, suffix in PAGES.values():
                with self.subTest(language=language):
                    try:
                        command = self.command(programs.GUIDE / f"guide{suffix}")
                    except Skipped as why:
                        print(f"skipped: {language}: {why}")
                        continue
                    said = programs.run(command, site.url(), echo.url("tcp"), refused)
                    self.assertEqual(said.splitlines(), expected)

    @staticmethod
    def command(source):
        if source.suffix == ".rs":
            return programs.rust_command("guide")
        if source.suffix == ".py":
            return programs.python_command(source)
        output = programs.build_place() / f"guide-{source.suffix[1:]}"
        return programs.compiled(source, output)


if __name__ == "__main__":
    main()
