"""The README's Python and Rust examples work as they are printed, with a real HTTPS server and its CA.

usage: readme_test.py  (the environment is that of programs.py)
"""

import os
import pathlib
import re
import tempfile
import unittest

import programs
import readme_blocks
from certificates import Authority
from processes import main
from servers import Nginx

LINES = 6


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.close)
        nginx = Nginx(certificate=cls.authority.issue("localhost"))
        cls.url = f"https://localhost:{nginx.__enter__().port}/"
        cls.addClassCleanup(nginx.__exit__)

    def answers(self, command):
        self.assertEqual(programs.run(command, self.url, self.authority.certificate), "200 hello\n")

    def test_python(self):
        path = readme_blocks.written("python", programs.build_place() / "readme.py")
        self.answers(programs.python_command(path))

    def test_rust(self):
        self.answers(programs.rust_command("readme"))

    def test_without_its_ca(self):
        path = readme_blocks.written("python", programs.build_place() / "readme.py")
        command = programs.python_command(path)
        with Authority("another CA") as other, self.assertRaisesRegex(AssertionError, "TLSError"):
            programs.run(command, self.url, other.certificate)

    def test_the_commands_as_printed(self):
        programs.rust_command("readme")  # the same build of the crate serves here
        programs.python_command()
        text = (programs.ROOT / "README.md").read_text(encoding="utf-8")
        (commands,) = re.findall(r"^```sh\n([^`]*?cargo run[^`]*?)^```$", text, re.M)
        for name, value in (("URL", self.url), ("CA_FILE", str(self.authority.certificate))):
            commands = re.sub(rf"\b{name}\b", value, commands)
        with tempfile.TemporaryDirectory(prefix="conpool-docs-") as name:
            place = pathlib.Path(name)
            (place / "build/demo").mkdir(parents=True)
            (place / "build/demo/capi").symlink_to(programs.library().parent)
            (place / "bindings").symlink_to(programs.ROOT / "bindings")
            (place / "src").mkdir()
            readme_blocks.written("python", place / "get.py")
            readme_blocks.written("rust", place / "src/main.rs")
            (place / "Cargo.toml").write_text(
                '[package]\nname = "get"\nversion = "0.0.0"\nedition = "2021"\n[profile.dev]\ndebug = false\n'
                f'[dependencies]\nconpool = {{ path = "{programs.ROOT}/bindings/rust/conpool" }}\n')
            path = f"{os.path.dirname(os.environ['CONPOOL_CARGO'])}:{os.environ['PATH']}"
            target = programs.build_place() / "rust/target"
            environment = {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(target), "CARGO_NET_OFFLINE": "true",
                           "CARGO_TERM_QUIET": "true", "CARGO_INCREMENTAL": "0", "PYTHONDONTWRITEBYTECODE": "1"}
            said = programs.must(["sh", "-ec", commands], cwd=place, env=environment)
        self.assertEqual(said, "200 hello\n" * 2)

    def test_length(self):
        for language in ("python", "rust"):
            self.assertLessEqual(readme_blocks.block(language).count("\n"), LINES, language)


if __name__ == "__main__":
    main()
