#!/usr/bin/env python3
"""Gives Doxygen the plain comments of conpool.h and conpool.hpp as comments of its own, line for line.

usage: doxygen_filter.py HEADER
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATUSES = ROOT / "src/base/status.def"
COMMENT = re.compile(r"/\*.*?\*/", re.S)
FUNCTIONS = set((ROOT / "capi/symbols.txt").read_text(encoding="utf-8").split())
PARAMETERS = re.compile(r"^([a-z][a-z_]*(?:, [a-z][a-z_]*)*)  +(\S.*)$")
TRAILING = re.compile(r"^(\s*[^/\s].*?[;,{]\s+)// (.*)$")


def escaped(text):
    """Text that Doxygen takes for nothing but text, and names of functions for links."""
    text = re.sub(r"([\\@<>&#%])", r"\\\1", text)
    return re.sub(r"\bconpool_\w+\b(?!\()", lambda name: name.group() + "()" * (name.group() in FUNCTIONS), text)


def lines_inside(comment):
    """The lines of a C comment without what makes it one; as many as it has."""
    return [re.sub(r"^\s*\* ?", "", line).rstrip() for line in comment[2:-2].split("\n")]


def documented(lines):
    """The text of a function's comment: parameters and results as such."""
    made, listed = [], False
    for line in lines:
        parameters = PARAMETERS.match(line)
        if parameters:
            listed = True
            made.append(f"@param {parameters[1].replace(', ', ',')} {escaped(parameters[2])}")
        elif listed and line.startswith("  "):
            entry = re.match(r'\s+"\w+":', line)  # one of several values
            made.append(("@n " if entry else "") + escaped(line.strip()))
        else:
            listed = False
            text = escaped(line.strip())
            made.append(re.sub(r"^Returns ", "@return ", text) if not made or not made[-1] else text)
    return made


def section(lines, number):
    """A heading of the file, which begins a group; the text below it describes the group."""
    begin = f"/** @defgroup section{number:02} {escaped(lines[1])}"
    return ["/** @} */" if number > 1 else "", begin, *map(escaped, lines[2:-1]), "@{ */"]


def verbatim(lines, name):
    """The comment that begins a file: read as it stands."""
    return [f"/** @file {name}", "@verbatim", *lines[2:-1], "@endverbatim */"]


def c_header(text, name):
    """conpool.h."""
    sections, pieces, end = 0, [], 0
    for match in COMMENT.finditer(text):
        pieces.append(text[end:match.start()])
        end = match.end()
        before = text[text.rfind("\n", 0, match.start()) + 1:match.start()]
        lines = lines_inside(match.group())
        if match.start() == 0:
            made = verbatim(lines, name)
        elif lines[0].startswith(" ---"):
            sections += 1
            made = section(lines, sections)
        elif before.lstrip().startswith("#"):
            made = [match.group()]
        elif before.strip():
            made = ["/**< " + escaped(lines[0].strip()), *map(escaped, lines[1:])]
            made[-1] += " */"
        else:
            made = documented(lines)
            made[0] = "/** " + made[0]
            made[-1] += " */"
        pieces.append("\n".join(made))
    made = "".join(pieces) + text[end:]
    return with_statuses(made.replace("\n\n#ifdef __cplusplus\n}", "\n/** @} */\n#ifdef __cplusplus\n}", 1))


def with_statuses(text):
    """Beside each status code its text in the table."""
    table = STATUSES.read_text(encoding="utf-8")
    for name, meaning in re.findall(r'^STATUS\((\w+), -?\d+, \w+, (".*")\)$', table, re.M):
        beside = f" /**< {escaped(json.loads(meaning))} */"
        text = re.sub(rf"^  CONPOOL_{name} = -?\d+,?$", lambda line, beside=beside: line.group() + beside, text,
                      count=1, flags=re.M)
    return text


def cpp_header(text, name):
    """conpool.hpp and its parts."""
    lines, made = text.split("\n"), []
    top = next(number for number, line in enumerate(lines) if not line.startswith("//"))
    for number, line in enumerate(lines):
        if number < top:
            body = line[2:].removeprefix(" ")
            begin = f"/** @file {name} @verbatim " if number == 0 else ""
            made.append(begin + body + (" @endverbatim */" if number == top - 1 else ""))
        elif re.match(r"\s*// ---", line):
            made.append(line)
        elif match := re.match(r"(\s*)// ?(.*)$", line):
            made.append(f"{match[1]}/// {escaped(match[2])}")
        elif match := TRAILING.match(line):
            made.append(f"{match[1]}///< {escaped(match[2])}")
        else:
            made.append(line)
    return "\n".join(made)


def main():
    path = Path(sys.argv[1])
    text = path.read_text(encoding="utf-8")
    sys.stdout.write((c_header if path.suffix == ".h" else cpp_header)(text, path.name))


if __name__ == "__main__":
    main()
