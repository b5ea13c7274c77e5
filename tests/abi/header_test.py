"""The C header: compiles in every mode, includes next to nothing, and keeps to the rules of a stable ABI."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

import header

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(ROOT, "include/conpool/conpool.h")
with open(PATH, encoding="utf-8") as opened:
    TEXT = opened.read()
CODE = header.without_comments(TEXT)
FUNCTIONS = header.functions(TEXT)
WARNINGS = ["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wundef"]
SCALARS = {"void", "char", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "int32_t", "int64_t", "size_t"}


def compiles(command, source):
    """The compiler's complaints, or "" when there are none; None when it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "use" + (".c" if command[0] in ("gcc", "clang") else ".cc"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        try:
            done = subprocess.run([*command, *WARNINGS, "-I", os.path.join(ROOT, "include"), "-c", path, "-o",
                                   os.path.join(folder, "use.o")], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stderr if done.returncode else ""


class Compile(unittest.TestCase):
    # Every function's address is taken, so that each declaration is really looked at.
    SOURCE = ("#include <conpool/conpool.h>\n#include <conpool/conpool.h>\n"
              + "typedef void (*any_function)(void);\nextern const any_function all[];\n"
              + "const any_function all[] = {\n"
              + "".join(f"    (any_function){f.name},\n" for f in FUNCTIONS) + "};\n")

    def check(self, compilers, standards):
        for compiler in compilers:
            for standard in standards:
                with self.subTest(compiler=compiler, standard=standard):
                    complaints = compiles([compiler, f"-std={standard}"], self.SOURCE)
                    if complaints is None:
                        self.skipTest(f"{compiler} is not installed")
                    self.assertEqual(complaints, "")

    def test_c(self):
        self.check(["gcc", "clang"], ["c99", "c11", "c17"])

    def test_cpp(self):
        self.check(["g++", "clang++"], ["c++11", "c++17", "c++20"])

    def test_a_wrong_header_would_be_noticed(self):
        self.assertIn("error", compiles(["gcc", "-std=c99"], "typedef struct { int a; ; } t;\n"))


class Rules(unittest.TestCase):
    def test_includes(self):
        self.assertEqual(re.findall(r"#\s*include\s*(\S+)", CODE), ["<stddef.h>", "<stdint.h>"])

    def test_functions_are_found(self):
        self.assertEqual(len(FUNCTIONS), len(re.findall(r"^CONPOOL_API", CODE, re.M)))
        self.assertGreater(len(FUNCTIONS), 50)
        self.assertEqual(len({f.name for f in FUNCTIONS}), len(FUNCTIONS))

    def test_every_function_has_a_comment(self):
        self.assertEqual([f.name for f in FUNCTIONS if not f.comment], [])

    def test_names(self):
        for function in FUNCTIONS:
            self.assertRegex(function.name, r"^conpool(_[a-z0-9]+)+$")
        for macro in re.findall(r"#\s*define\s+(\w+)", CODE):
            self.assertRegex(macro, r"^CONPOOL_")
        for constant in re.findall(r"^\s+(\w+)\s*=", CODE, re.M):
            self.assertRegex(constant, r"^CONPOOL_")
        for name in re.findall(r"typedef\s+[^;{}]*?(\w+)\s*;|}\s*(\w+)\s*;", CODE):
            self.assertRegex("".join(name), r"^conpool_\w*(?<!_t)$")

    def test_no_type_whose_size_may_vary(self):
        for word in ("bool", "_Bool", "long", "short", "int", "unsigned", "ssize_t", "off_t", "time_t", "double",
                     "float", "wchar_t", "va_list", "inline", "static"):
            self.assertIsNone(re.search(rf"\b{word}\b", CODE), f"'{word}' in the header")

    def test_no_enum_types(self):
        # Constants only: an anonymous enum that nothing is declared with.
        self.assertEqual(re.findall(r"enum\s+\w+", CODE), [])
        self.assertIsNone(re.search(r"enum\s*{[^}]*}\s*\w", CODE))

    def test_no_varargs_bit_fields_or_callbacks(self):
        self.assertNotIn("...", CODE)
        self.assertIsNone(re.search(r"\w+\s*:\s*\d+\s*[;,]", CODE))
        self.assertIsNone(re.search(r"\(\s*\*", CODE))

    def test_macros_are_not_needed_to_call(self):
        self.assertEqual(re.findall(r"#\s*define\s+(\w+)\(", CODE), [])

    def test_parameters_and_results(self):
        types = set(re.findall(r"typedef\s+(?:struct\s+)?\w+\s+(conpool_\w+)\s*;", CODE)) | {"conpool_event"}
        for function in FUNCTIONS:
            for text in [function.result + " result", *function.parameters]:
                base = re.sub(r"\bconst\b|\*", " ", text.rsplit(" ", 1)[0] if "*" not in text else text).split()[0]
                self.assertIn(base, SCALARS | types, f"{function.name}: {text}")
            # A handle of the caller's is a T **out, an error may always be left out.
            for parameter in function.parameters:
                if parameter.startswith("conpool_error**"):
                    self.assertEqual(parameter, "conpool_error** error", function.name)

    def test_structs(self):
        self.assertEqual(re.findall(r"struct\s+(\w+)\s*{", CODE), ["conpool_event"])

    def test_free_functions(self):
        names = {f.name for f in FUNCTIONS}
        for handle in re.findall(r"typedef struct (conpool_\w+) \1;", CODE):
            freed = handle + ("_release" if handle == "conpool_connection" else "_free")
            self.assertIn(freed, names)

    def test_says_which_threads(self):
        missing = [f.name for f in FUNCTIONS
                   if not re.search(r"[Aa]ny thread|[Oo]ne at a time", " ".join(f.comment.replace("*", " ").split()))
                   and not f.name.startswith(("conpool_error_", "conpool_lookup_", "conpool_config_"))]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
