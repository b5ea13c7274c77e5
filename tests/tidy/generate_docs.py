#!/usr/bin/env python3
"""Makes the pages of docs/ that repeat what a table or a program says.

options.md, errors.md and events.md come from the tables of src/base and src/observe, cookbook.md from the programs of
docs/cookbook; in the pages of the languages, the code after each mark `<!-- code: FILE PART -->` comes from that part
of a file of docs/guide.

generate_docs.py             writes them
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
EVENT = re.compile(rf"^EVENT\((\w+), {STRING}, (\w+), {STRING}, {STRING}, {STRING}\)$")
COUNTER = re.compile(rf"^COUNTER\((\w+), {STRING}, (\w+), (\w+), (\w+), {STRING}\)$")
HISTOGRAM = re.compile(rf"^HISTOGRAM\((\w+), {STRING}, (\w+), {STRING}\)$")
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

EVENTS_INTRO = """# Events and figures

A pool records what happens to it in a ring of `events.capacity` events, down to the level `events.level`.
`conpool_pool_events` and `conpool_pool_events_since` give them as JSON lines (`jsonl`), as lines to read (`text`) or as a
Chrome trace (`trace`); Python has `Client.events()` and `Client.event_log()`, Rust `Client::events`,
`Client::events_since` and `Client::follow`, C++ `Pool::events` and `Pool::events_since`.

Each JSON line has `sequence`, `time_ns` (CLOCK_MONOTONIC), `level` and `event`; where they apply `endpoint`,
`connection`, `op`, `status`, `errno`, `duration_ns` and `text`; and the values of its kind, which the tables name. New
kinds may appear in any version.
"""

FIGURES_INTRO = """## Figures

`conpool_pool_metrics` gives them as `text`, `json` or `openmetrics`. *Of* tells the narrowest thing that has the figure:
an address's figures are also summed for its endpoint, and an endpoint's for the pool. In OpenMetrics a figure
`requests.done` of the pool is `conpool_pool_requests_done_total`; gauges have no `_total`. Times are distributions.
"""

COOKBOOK_INTRO = """# Cookbook

Fifteen tasks, each as a whole program in C, Python and Rust. All three print the same lines: a test builds and runs every
one of them. The files are in [docs/cookbook](cookbook); what else there is to each call is on the pages of the languages,
[C](c.md), [Python](python.md) and [Rust](rust.md), and, for C++, on [C++](cpp.md). Error handling is as short as it can
be without hiding anything: a C program that fails prints the library's report and ends.
"""

LANGUAGES = {".c": ("C", "c"), ".py": ("Python", "python"), ".rs": ("Rust", "rust")}
BLOCKS = {".c": "c", ".cc": "cpp", ".py": "python", ".rs": "rust"}
GUIDES = ("c.md", "cpp.md", "python.md", "rust.md")
SENTENCE = re.compile(r"""(?:/\* |//! |\"{3})(.*?)\. usage: (.*?)(?: \*/|\"{3})?$""")
MARKED = re.compile(r"^<!-- code: (\S+) (\w+) -->\n```\w+\n.*?^```$", re.S | re.M)

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
            lines.append(f"## {title_of(heading)}\n")
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


def events_page():
    lines = [NOTE.format(source="src/observe/events.def and counters.def"), EVENTS_INTRO]
    current = None
    rows = rows_of(ROOT / "src/observe/events.def", EVENT, "EVENT")
    for heading, (_, name, level, first, second, text) in rows:
        if heading != current:
            current = heading
            lines += [f"## {title_of(heading)}\n", "| event | level | values | meaning |", "|---|---|---|---|"]
        values = ", ".join(code(text_of(value)) for value in (first, second) if text_of(value))
        lines.append(f"| `{text_of(name)}` | {level.lower()} | {values} | {cell(text_of(text))} |")
    lines += ["", FIGURES_INTRO]
    path = ROOT / "src/observe/counters.def"
    for heading, (_, name, kind, _, scope, text) in rows_of(path, COUNTER, "COUNTER"):
        if heading != current:
            current = heading
            lines += [f"## Figures: {re.split('[:.,]', heading)[0]}\n", "| figure | kind | of | meaning |", "|---|---|---|---|"]
        lines.append(f"| `{text_of(name)}` | {kind.lower()} | {scope.lower()} | {cell(text_of(text))} |")
    lines += ["## Figures: times\n", "| figure | of | meaning |", "|---|---|---|"]
    for _, (_, name, scope, text) in rows_of(path, HISTOGRAM, "HISTOGRAM"):
        lines.append(f"| `{text_of(name)}` | {scope.lower()} | {cell(text_of(text))} |")
    return join(lines)


def title_of(heading):
    return heading[0].upper() + heading[1:]


def cookbook_page():
    lines = [NOTE.format(source="docs/cookbook"), COOKBOOK_INTRO]
    folder = ROOT / "docs/cookbook"
    for number, stem in enumerate(sorted({path.stem for path in folder.iterdir()}), 1):
        texts = {suffix: (folder / (stem + suffix)).read_text(encoding="utf-8") for suffix in LANGUAGES}
        said = {SENTENCE.match(text.split("\n", 1)[0]).groups() for text in texts.values()}
        if len(said) != 1:
            sys.exit(f"docs/cookbook/{stem}: the languages say different things: {sorted(said)}")
        sentence, usage = said.pop()
        lines += [f"## {number}. {sentence}\n", f"`{usage}`"]
        for suffix, (language, block) in LANGUAGES.items():
            lines += ["", f"**{language}**\n", f"```{block}", texts[suffix].rstrip("\n"), "```"]
    return join(lines)


def part_of(name, part):
    """The lines of a file between the mark [part] and [end], which are comments of their own."""
    lines = (ROOT / "docs/guide" / name).read_text(encoding="utf-8").splitlines()
    marks = [number for number, line in enumerate(lines) if re.fullmatch(rf"\W+\[{part}\]\W*", line)]
    if len(marks) != 1:
        sys.exit(f"docs/guide/{name}: part {part}: {len(marks)} marks")
    end = next(n for n in range(marks[0], len(lines)) if re.fullmatch(r"\W+\[end\]\W*", lines[n]))
    return "\n".join(lines[marks[0] + 1:end]).strip("\n")


def guide_page(name):
    """A page with its marked blocks renewed."""
    def renewed(match):
        file, part = match.groups()
        block = BLOCKS[Path(file).suffix]
        return f"<!-- code: {file} {part} -->\n```{block}\n{part_of(file, part)}\n```"

    return MARKED.sub(renewed, (ROOT / "docs" / name).read_text(encoding="utf-8"))


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
    pages = {"options.md": options_page(), "errors.md": errors_page(), "events.md": events_page(),
             "cookbook.md": cookbook_page(), **{name: guide_page(name) for name in GUIDES}}
    for name, page in pages.items():
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
