"""The README's examples as they are printed."""

import re

from programs import ROOT, write_if_new


def block(language):
    """The README's only block of a language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)
    if len(found) != 1:
        raise AssertionError(f"README.md has {len(found)} blocks of {language}")
    return found[0]


def written(language, path):
    """The block in a file of its own."""
    write_if_new(path, block(language))
    return path
