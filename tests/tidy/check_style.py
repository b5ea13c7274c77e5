#!/usr/bin/env python3
"""Checks what .clang-format cannot (docs/conventions.md): sizes, blanks, first lines, left-over marks.

check_style.py [ROOT]        prints each violation, exits 1 when there is one
check_style.py --self-test
"""
import re
import sys
import tempfile
from pathlib import Path

MAX_LINES = 899
MAX_COLUMNS = 100
WHOLE = {"include/conpool/conpool.h"}  # programs include one header, however much it declares
FOLDERS = ["src", "capi", "include", "bindings", "tests"]
C_SUFFIXES = {".h", ".cc", ".c", ".hpp", ".cpp"}
TEXT_SUFFIXES = C_SUFFIXES | {".def", ".py", ".sh", ".build", ".rs", ".toml", ".md", ".map"}
SKIPPED = {"target", "__pycache__", "corpus"}

MARK = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
PRINT = re.compile(r"(?<!\w)(?:std::)?(?:v?f?printf|puts|fputs|putchar|perror)\s*\(|std::(?:cout|cerr|clog)\b")
PRINTERS = ["src/cli/", "src/origin/main"]


def may_print(name):
    return not name.startswith("src/") or any(name.startswith(p) for p in PRINTERS)


def line_findings(name, number, line, is_c):
    where = f"{name}:{number}: "
    if is_c and len(line) > MAX_COLUMNS:
        yield where + f"{len(line)} columns; at most {MAX_COLUMNS}"
    if "\t" in line:
        yield where + "a tab; write spaces"
    if line != line.rstrip():
        yield where + "space at the end of the line"
    if MARK.search(line):
        yield where + "a left-over mark; finish it or open an issue"
    if is_c and not may_print(name) and PRINT.search(line.split("//")[0]):
        yield where + "the library prints nothing; emit an event"


def file_findings(name, text):
    suffix = Path(name).suffix
    is_c = suffix in C_SUFFIXES
    if not text:
        return
    lines = text.split("\n")
    if not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    elif text.endswith("\n\n"):
        yield f"{name}: an empty line at the end"
    if "\r" in text:
        yield f"{name}: a carriage return; lines end with a newline alone"
    if len(lines) - 1 > MAX_LINES and name not in WHOLE:
        yield f"{name}: {len(lines) - 1} lines; at most {MAX_LINES}"
    if (is_c or suffix == ".def") and not lines[0].startswith(("// ", "/*")):
        yield f"{name}:1: the first line is no comment that says what the file is for"
    if suffix in (".py", ".sh") and not lines[0].startswith(("#", '"""')):
        yield f"{name}:1: the first line is neither '#!' nor a comment"
    if suffix in (".h", ".hpp") and not name.startswith("include/conpool/"):
        if "#pragma once" not in lines:
            yield f"{name}: no #pragma once"
    for number, line in enumerate(lines, 1):
        yield from line_findings(name, number, line, is_c)


def violations(root):
    found = []
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            path = file.relative_to(root)
            if file.suffix not in TEXT_SUFFIXES or not file.is_file():
                continue
            if SKIPPED.intersection(path.parts):
                continue
            try:
                text = file.read_bytes().decode("utf-8")
            except UnicodeDecodeError as error:
                found.append(f"{path}: not UTF-8: {error}")
                continue
            found.extend(file_findings(path.as_posix(), text))
    return found


GOOD_FILES = {
    "src/base/a.h": "// A header.\n#pragma once\n",
    "src/base/a.cc": "// Sn" + "printf is fine.\nint n = snprintf(b, 1, \"\");  // printf()\n",
    "src/cli/main.cc": "// Prints.\nint n = printf(\"\");\n",
    "src/base/x.def": "// Rows.\n" + "X(" + "y" * 200 + ")\n",
    "include/conpool/conpool.h": "/* The header. */\n",
    "src/base/wide.cc": "// " + "\u00fc" * 97 + "\n",
    "tests/long.cc": "// Lines.\n" + "int a;\n" * (MAX_LINES - 1),
}
BAD_FILES = {
    "src/base/bad.h": "// No guard.\n",
    "src/base/first.cc": "#include <x>\n",
    "src/base/tab.cc": "// A.\n\tint a;\n",
    "src/base/space.cc": "// A.\nint a; \n",
    "src/base/eof.cc": "// A.\nint a;",
    "src/base/empty_end.cc": "// A.\n\n",
    "src/base/crlf.cc": "// A.\r" + "int a;\n",
    "src/base/wide.cc": "// " + "x" * 98 + "\n",
    "src/base/print.cc": "// A.\nint n = printf(\"\");\n",
    "src/base/cout.cc": "// A.\nvoid f() { std::cout << 1; }\n",
    "src/base/mark.cc": "// A.\n// TO" + "DO: later\n",
    "tests/long.cc": "// Lines.\n" + "int a;\n" * MAX_LINES,
    "tests/tool.py": "import sys\n",
    "src/base/rows.def": "X(y)\n",
}


def self_test():
    def findings(files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(text.encode("utf-8"))
            return violations(root)

    wrong = [f"the clean tree: {finding}" for finding in findings(GOOD_FILES)]
    for name, text in BAD_FILES.items():
        found = findings({**GOOD_FILES, name: text})
        if len(found) != 1 or not found[0].startswith(name + ":"):
            wrong.append(f"{name}: expected one finding there, got {found}")
    return wrong


def main():
    if sys.argv[1:] == ["--self-test"]:
        found = self_test()
    else:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
        found = violations(root)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
