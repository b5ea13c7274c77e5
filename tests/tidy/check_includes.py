#!/usr/bin/env python3
"""Checks the order of the rooms: includes run downwards only, never sideways (docs/architecture.md).

check_includes.py [ROOT]     prints each violation, exits 1 when there is one
check_includes.py --self-test
"""
import re
import sys
import tempfile
from pathlib import Path

# Lowest first. Rooms of one row never include each other.
ROWS = [
    ["base"],
    ["ops"],
    ["observe"],
    ["io"],
    ["fault"],
    ["resolver", "racer", "tls"],
    ["session"],
    ["http1", "h2", "raw"],
    ["dial", "policy"],
    ["pool"],
    ["client", "origin"],
    ["export"],
    ["capi"],
]
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}

# Headers of other projects, and the folders that may include them.
FOREIGN = [
    (re.compile(r"(uv\.h|uv/.*|ares(_\w+)?\.h)$"), ["src/io/"]),
    (re.compile(r"openssl/"), ["src/tls/", "src/origin/", "tests/"]),
    (re.compile(r"nghttp2/"), ["src/h2/", "src/origin/", "tests/"]),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SUFFIXES = {".h", ".cc", ".c", ".def", ".hpp", ".cpp"}


def place_of(path):
    """The room of a file, by its path from the root; None for files outside the rooms."""
    parts = path.parts
    if parts[0] == "capi":
        return "capi"
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return None


def judge_room(room, header):
    """Why a file of `room` may not include this header of ours; None when it may."""
    target = header.split("/")[0]
    if "/" not in header:
        return "is not named from src/: write \"room/file.h\""
    if target == "conpool":
        return None
    if room == "cli":
        return None if target in ("cli", "origin") else "cli uses include/conpool and origin only"
    if target == "cli":
        return "nothing includes cli"
    if room not in ROW_OF:
        return f"{room} is no room: add it to the rows"
    if target not in ROW_OF:
        return f"{target} is no room"
    if target == room:
        return None
    if ROW_OF[target] == ROW_OF[room]:
        return f"sideways: {room} and {target} are rooms of one row"
    if ROW_OF[target] > ROW_OF[room]:
        return f"upwards: {target} is above {room}"
    return None


def judge(path, own, header):
    """Why the file at `path` may not include `header`; None when it may."""
    for pattern, folders in FOREIGN:
        if pattern.match(header) and not any(path.as_posix().startswith(f) for f in folders):
            return f"only {', '.join(folders)} may include it"
    room = place_of(path)
    if room is None or (not own and not header.startswith("conpool/")):
        return None
    return judge_room(room, header)


def violations(root):
    found = []
    for top in ("src", "capi", "include", "tests"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SUFFIXES or not file.is_file():
                continue
            path = file.relative_to(root)
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                header = match.group(1) or match.group(2)
                reason = judge(path, match.group(1) is not None, header)
                if reason:
                    found.append(f"{path}:{number}: includes {header}: {reason}")
    return found


GOOD_TREE = {
    "src/base/a.h": "#include <string>\n#include \"base/b.h\"\n",
    "src/io/uv/loop.cc": "#include <uv.h>\n#include <ares.h>\n#include \"io/loop.h\"\n",
    "src/tls/a.cc": "#include <openssl/ssl.h>\n#include \"io/stream.h\"\n#include \"base/a.h\"\n",
    "src/h2/a.cc": "#include <nghttp2/nghttp2.h>\n#include \"session/session.h\"\n",
    "src/ops/op.h": "#include \"conpool/conpool.h\"\n",
    "src/cli/main.cc": "#include <conpool/conpool.h>\n#include \"origin/origin.h\"\n",
    "capi/pool.cc": "#include \"pool/pool.h\"\n#include \"base/a.h\"\n",
    "tests/unit/tls/a.cc": "#include <openssl/ssl.h>\n#include \"tls/a.h\"\n",
}
BAD_LINES = {
    "src/base/bad.h": "#include \"io/loop.h\"",
    "src/racer/bad.h": "#include \"tls/tls.h\"",
    "src/resolver/bad.cc": "  #  include \"racer/racer.h\"",
    "src/dial/bad.cc": "#include \"policy/breaker.h\"",
    "src/pool/bad.cc": "#include \"origin/origin.h\"",
    "src/pool/worse.cc": "#include \"cli/main.h\"",
    "src/pool/local.cc": "#include \"pool.h\"",
    "src/pool/lost.cc": "#include \"attic/pool.h\"",
    "src/attic/new.cc": "#include \"base/a.h\"",
    "src/io_helpers/uv.cc": "#include <uv.h>",
    "src/pool/uv.cc": "#include <uv.h>",
    "src/resolver/ares.cc": "#include <ares_dns.h>",
    "src/pool/ssl.cc": "#include <openssl/ssl.h>",
    "src/tls/h2.cc": "#include <nghttp2/nghttp2.h>",
    "capi/uv.cc": "#include <uv.h>",
    "capi/cli.cc": "#include \"cli/main.h\"",
    "src/cli/pool.cc": "#include \"pool/pool.h\"",
    "tests/unit/pool/uv.cc": "#include \"uv.h\"",
}


def self_test():
    """Made-up trees: a clean one passes, and each bad line is found, alone, with its place."""
    def findings(files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            return violations(root)

    wrong = [f"the clean tree: {finding}" for finding in findings(GOOD_TREE)]
    for name, line in BAD_LINES.items():
        found = findings({**GOOD_TREE, name: f"// A comment.\n{line}\n"})
        if len(found) != 1 or not found[0].startswith(f"{name}:2: "):
            wrong.append(f"{name} with {line}: expected one finding there, got {found}")
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
