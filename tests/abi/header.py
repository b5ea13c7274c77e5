"""Reads include/conpool/conpool.h: its functions with their comments, and its code without comments."""

import re
import sys


class Function:
    def __init__(self, name, result, parameters, comment):
        self.name = name
        self.result = result            # "conpool_status"
        self.parameters = parameters    # ["conpool_pool* pool", ...]; [] for (void)
        self.comment = comment          # "" when there is none right above


def without_comments(text):
    """The code alone, line by line as before."""
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)


def functions(text):
    """Every function declared, in order. A declaration begins with CONPOOL_API and ends with a semicolon."""
    found = []
    for match in re.finditer(r"(/\*(?:(?!\*/).)*\*/\s*)?^CONPOOL_API\s+([^;{}]*?)\s*;", text, re.S | re.M):
        declaration = " ".join(match.group(2).split())
        parts = re.fullmatch(r"(.*?[\s*])(conpool_\w+)\((.*)\) CONPOOL_NOEXCEPT", declaration)
        if parts is None:
            raise ValueError(f"not a declaration that this reads: {declaration}")
        parameters = [] if parts.group(3) == "void" else [p.strip() for p in parts.group(3).split(",")]
        comment = (match.group(1) or "").strip()
        # A section's heading belongs to the section.
        if comment.startswith("/* ----"):
            comment = ""
        found.append(Function(parts.group(2), parts.group(1).strip(), parameters, comment))
    return found


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as header:
        for function in functions(header.read()):
            print(function.name)
