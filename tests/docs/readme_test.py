"""The README's Python and Rust examples work as they are printed, with a real HTTPS server and its CA.

usage: readme_test.py  (the environment is that of programs.py)
"""

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

    def test_length(self):
        for language in ("python", "rust"):
            self.assertLessEqual(readme_blocks.block(language).count("\n"), LINES, language)


if __name__ == "__main__":
    main()
