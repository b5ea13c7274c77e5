#!/usr/bin/env python3
"""Makes docs/options.md and docs/errors.md from src/base/options.def and src/base/status.def.

generate_docs.py             writes both
generate_docs.py --check     exits 1 when one of them is stale
"""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STRING = r'("(?:[^"\\]|\\.)*")'
OPTION = re.compile(
    rf"^OPTION\((\w+), {STRING}, (\w+), {STRING}, {STRING}, {STRING}, (\w+), (\w+), {STRING}, {STRING}\)$")
STATUS = re.compile(rf"^STATUS\((\w+), (-?\d+), (\w+), {STRING}\)$")
HEADING = re.compile(r"^// --- (.*)$")
NOTE = "<!-- Made by tests/tidy/generate_docs.py; edit {source} instead. -->\n"

TYPES = {"DURATION": "duration", "COUNT": "number", "SIZE": "size", "BOOL": "true or false",
         "CHOICE": "choice", "TEXT": "text", "LIST": "list", "BYTES": "bytes"}
PLACES = {"POOL": "pool", "ENDPOINT": "pool, endpoint", "REQUEST": "pool, endpoint, request"}

OPTIONS_INTRO = """# Options

Options are set by name, as text. Unknown names, values of another type, values out of range and
options set in a place that may not set them are refused, each with an error that says what would
be right.

- **duration**: a number and a unit, `ns`, `us`, `ms`, `s`, `min` or `h`: `250ms`, `1.5s`. Only 0 needs
  no unit.
- **number**: a whole number.
- **size**: bytes, or a whole number and a unit, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`.
- **list**: items separated by commas; spaces around an item do not count.
- **bytes**: text with the escapes `\\r`, `\\n`, `\\t`, `\\\\`, `\\0` and `\\xHH`. The range counts the
  decoded bytes.

*Set on* tells where an option may be set; a wider place gives the default for the narrower ones.
Endpoints with different values of options that can be set on an endpoint never share a connection;
options that can be set on a request never divide them. *Live* options may be changed while the pool
runs.
"""

ERRORS_INTRO = """# Status codes

Functions return 0 or a negative code. Classes are blocks of one hundred: a code that a program does
not know, because the library is newer, still tells its class. Names of codes carry the prefix
`CONPOOL_`. The error object beside a code has the details: what failed, in which phase, every attempt
that was made, and what became of the request.
"""

CLASSES = {
    "NONE": ("No error", ""),
    "USAGE": ("Usage", "The call itself is wrong: an argument, an option, a name, or the moment. "
                       "Repeating it does not help."),
    "SYSTEM": ("System", "The machine or the library failed, not the network."),
    "DNS": ("Names", "The name could not be resolved. Nothing was sent to the peer."),
    "CONNECT": ("Connections", "A connection could not be made, or it ended. The error tells whether "
                               "something was sent before."),
    "TLS": ("TLS", "The connection was made, but TLS was refused or broke."),
    "HTTP": ("HTTP", "The peer or its answer broke the protocol."),
    "LIMIT": ("Limits", "A limit of the pool was reached. Less load or a higher limit helps."),
    "BREAKER": ("Breaker", "The endpoint is given a rest after failures."),
    "ENDED": ("Ended", "The caller ended it: by cancel, by deadline, or by closing the pool."),
}


def text_of(literal):
    return json.loads(literal)


def cell(text):
    return text.replace("|", "\\|")


def code(text):
    return f"`{cell(text)}`" if text else "*empty*"


def rows_of(path, pattern, macro):
    """(heading, fields) of each row; a row that the pattern does not know is an error."""
    heading = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = HEADING.match(line)
        if match:
            heading = match.group(1)
        if not line.startswith(macro + "("):
            continue
        match = pattern.match(line)
        if not match:
            sys.exit(f"{path}:{number}: not a row of {macro}: {line}")
        yield heading, match.groups()


def range_of(kind, least, most):
    if kind == "BOOL":
        return ""
    if kind == "CHOICE":
        return ", ".join(code(choice) for choice in least.split("|"))
    unit = " bytes" if kind in ("TEXT", "LIST", "BYTES") else ""
    return f"{least} to {most}{unit}"


def options_page():
    lines = [NOTE.format(source="src/base/options.def"), OPTIONS_INTRO]
    current = None
    for heading, fields in rows_of(ROOT / "src/base/options.def", OPTION, "OPTION"):
        _, name, kind, default, least, most, scope, live, since, text = fields
        name, default, least, most, since, text = map(
            text_of, (name, default, least, most, since, text))
        if heading != current:
            current = heading
            title = heading[0].upper() + heading[1:]
            lines.append(f"## {title}\n")
            lines.append("| name | type | default | range | set on | live | since | meaning |")
            lines.append("|---|---|---|---|---|---|---|---|")
        lines.append(f"| `{name}` | {TYPES[kind]} | {code(default)} | {range_of(kind, least, most)} "
                     f"| {PLACES[scope]} | {'yes' if live == 'LIVE' else 'no'} | {since} "
                     f"| {cell(text)} |")
    return join(lines)


def errors_page():
    lines = [NOTE.format(source="src/base/status.def"), ERRORS_INTRO]
    current = None
    for _, (name, value, group, text) in rows_of(ROOT / "src/base/status.def", STATUS, "STATUS"):
        if group != current:
            current = group
            title, meaning = CLASSES[group]
            lines.append(f"## {title}\n")
            if meaning:
                lines.append(meaning + "\n")
            lines.append("| code | value | text |")
            lines.append("|---|---|---|")
        lines.append(f"| `{name}` | {value} | {cell(text_of(text))} |")
    return join(lines)


def join(lines):
    """Lines as a page: one empty line before each heading and at no end."""
    page = []
    for line in lines:
        if line.startswith("## ") and page and page[-1] != "":
            page.append("")
        page.extend(line.split("\n"))
    return "\n".join(page).rstrip("\n") + "\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = 0
    for name, page in (("options.md", options_page()), ("errors.md", errors_page())):
        path = ROOT / "docs" / name
        if path.is_file() and path.read_text(encoding="utf-8") == page:
            continue
        if check:
            print(f"docs/{name} is stale: run tests/tidy/generate_docs.py")
            stale = 1
        else:
            path.write_text(page, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
