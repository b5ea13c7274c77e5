#!/usr/bin/env python3
"""Checks docs/features.md: every row is there, and every test it names exists in the tree.

check_features.py [ROOT]        prints each violation, exits 1 when there is one
check_features.py --write       names in each row all tests of the tree that carry its id
check_features.py --self-test
"""
import re
import sys
import tempfile
from pathlib import Path

ROWS = ([f"R{n}" for n in range(1, 11)] + [f"S{n}" for n in range(1, 7)] + [f"C{n}" for n in range(1, 9)] +
        [f"D{n}" for n in range(1, 4)] + [f"ST-{n:02}" for n in range(1, 25)])
ROW = re.compile(r"^\| ([RSCD]\d+|ST-\d\d) \|(.*)\|$")
QUOTED = re.compile(r"`([^`]+)`")
# GoogleTest's Suite.Name, or Python's file.py: Class.test_name or file.py alone.
GTEST_NAME = re.compile(r"^[A-Za-z_]\w*\.\w+$")
GTEST = re.compile(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)
CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
METHOD = re.compile(r"^    def (test_\w+)", re.MULTILINE)


def existing_tests(root):
    """The names of all tests: "Suite.Name" of GoogleTest, "Class.test_name" of Python, and script files."""
    names = set()
    for file in (root / "tests").rglob("*"):
        if file.suffix in (".cc", ".cpp"):
            names.update(".".join(found) for found in GTEST.findall(file.read_text(encoding="utf-8")))
        elif file.suffix == ".py":
            names.add(file.name)
            current = None
            for line in file.read_text(encoding="utf-8").splitlines():
                if found := CLASS.match(line):
                    current = found.group(1)
                elif current and (found := METHOD.match(line)):
                    names.add(f"{current}.{found.group(1)}")
    return names


def carries(name, row):
    """Whether a test's name has the row's id: R1_… or …_R1_…, ST_01."""
    word = row.replace("-", "_")
    return re.search(rf"(?:^|[._]){word}(?:_|$)", name) is not None


def is_test_name(text):
    return GTEST_NAME.match(text) is not None and not text.endswith((".md", ".h", ".def", ".cc"))


def violations(root):
    document = root / "docs" / "features.md"
    if not document.is_file():
        return [f"{document}: missing"]
    found, rows, existing = [], {}, existing_tests(root)
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("|"):
            continue
        cells = line.strip("|").split("|")
        names = [text for text in QUOTED.findall(cells[-1]) if is_test_name(text)]
        found += [f"docs/features.md:{number}: no test {name} in the tree" for name in names if name not in existing]
        found += [f"docs/features.md:{number}: {place} does not exist" for place in QUOTED.findall(cells[-1])
                  if place.startswith("tests/") and not (root / place).exists()]
        if row := ROW.match(line):
            if row.group(1) in rows:
                found.append(f"docs/features.md:{number}: a second row {row.group(1)}")
            rows[row.group(1)] = names
    for row in ROWS:
        if row not in rows:
            found.append(f"docs/features.md: no row {row}")
        elif not any(carries(name, row) for name in rows[row]):
            found.append(f"docs/features.md: row {row} names no test that carries its id")
    return found


def write(root):
    document = root / "docs" / "features.md"
    existing, lines = sorted(existing_tests(root)), []
    for line in document.read_text(encoding="utf-8").splitlines():
        if row := ROW.match(line):
            names = ", ".join(f"`{name}`" for name in existing if carries(name, row.group(1)))
            line = "|".join(line.strip("|").split("|")[:-1])
            line = f"|{line}| {names} |"
        lines.append(line)
    document.write_text("\n".join(lines) + "\n", encoding="utf-8")


def self_test():
    tests = "".join(f"TEST(T, {row.replace('-', '_')}_Works) {{}}\n" for row in ROWS)
    script = "class P(Base):\n    def test_it(self):\n        pass\n"
    table = "".join(f"| {row} | words | `T.{row.replace('-', '_')}_Works` |\n" for row in ROWS)

    def findings(document, cc=tests):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, text in {"docs/features.md": document, "tests/t.cc": cc, "tests/p.py": script}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            return violations(root)

    cases = [("complete", table, tests, 0),
             ("another table", table + "| feature | `P.test_it`, `p.py` |\n", tests, 0),
             ("unknown test", table + "| feature | `P.test_other` |\n", tests, 1),
             ("unknown folder", table + "| feature | `tests/none` |\n", tests, 1),
             ("missing row", table.replace("| S3 |", "| X3 |"), tests, 1),
             ("row without its test", table.replace("`T.C4_Works`", "`T.C5_Works`"), tests, 1),
             ("second row", table + "| R1 | words | `T.R1_Works` |\n", tests, 1),
             ("removed test", table, tests.replace("ST_16_Works", "Works"), 1)]
    wrong = []
    for what, document, cc, count in cases:
        found = findings(document, cc)
        if len(found) != count:
            wrong.append(f"{what}: expected {count} findings, got {found}")
    return wrong


def main():
    if sys.argv[1:] == ["--write"]:
        write(Path(__file__).resolve().parents[2])
        return 0
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
