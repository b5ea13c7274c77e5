"""Counts the results of meson test runs: gtest cases one by one, every other test as one.

usage: summary.py BUILD_DIR... | summary.py --sum OUTPUT_FILE...

The second form adds up the closing lines of captured outputs. The last line printed is
"N passed, N failed" (with ", N skipped" when there were some); the exit code is 0 only when something
passed and nothing failed.
"""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text

    def ok(self):
        return self.failed == 0 and self.passed > 0


def gtest_cases(path):
    """{meson's test name: [(case name, "passed" | "failed" | "skipped")]} of a JUnit log."""
    cases = {}
    try:
        root = ElementTree.parse(path).getroot()
    except (FileNotFoundError, ElementTree.ParseError):
        return cases
    for suite in root.iter("testsuite"):
        # "PROJECT.PROJECT:SUITES / NAME.FIXTURE" is a gtest program's; "PROJECT" holds all others.
        match = re.match(r"[^.]+\.(.* / [^.]+)(?:\.(.*))?$", suite.get("name", ""))
        if not match:
            continue
        for case in suite.iter("testcase"):
            result = "passed"
            if case.find("failure") is not None or case.find("error") is not None:
                result = "failed"
            elif case.find("skipped") is not None or case.get("status") == "notrun":
                result = "skipped"
            name = f"{match.group(2) or ''}.{case.get('name')}"
            cases.setdefault(match.group(1), []).append((name, result))
    return cases


def skip_reason(record):
    for line in (record.get("stdout", "") + "\n" + record.get("stderr", "")).splitlines():
        if line.startswith("skipped: "):
            return line
    return "skipped"


def count_test(record, cases, count):
    """Adds one of meson's tests; prints what is worth a line."""
    name, result = record["name"], record["result"]
    if result == "SKIP":
        count.skipped += 1
        print(f"{name}: {skip_reason(record)}")
        return
    passed = result in ("OK", "EXPECTEDFAIL")
    if not cases:
        count.passed += passed
        count.failed += not passed
        if not passed:
            print(f"{name}: {result}")
        return
    failures = [case for case, outcome in cases if outcome == "failed"]
    count.passed += sum(outcome == "passed" for _, outcome in cases)
    count.skipped += sum(outcome == "skipped" for _, outcome in cases)
    count.failed += len(failures)
    for case in failures:
        print(f"{name}: {case} failed")
    if not passed and not failures:  # a crash, a leak or a race: no case is to blame
        count.failed += 1
        print(f"{name}: {result}")


def count_tree(tree, count):
    logs = pathlib.Path(tree) / "meson-logs"
    cases = gtest_cases(logs / "testlog.junit.xml")
    try:
        lines = (logs / "testlog.json").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    if not lines:
        count.failed += 1
        print(f"{tree}: no test ran")
    for line in lines:
        record = json.loads(line)
        count_test(record, cases.get(record["name"], []), count)


def count_output(path, count):
    lines = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    match = CLOSING.match(lines[-1]) if lines else None
    if not match:
        count.failed += 1
        print(f"{path}: no closing line")
        return
    passed, failed, skipped = (int(number or 0) for number in match.groups())
    count.passed += passed
    count.failed += failed
    count.skipped += skipped


def main(arguments):
    count = Count()
    counter = count_tree
    if arguments and arguments[0] == "--sum":
        counter = count_output
        arguments = arguments[1:]
    for argument in arguments:
        counter(argument, count)
    print(count.line())
    return 0 if count.ok() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
