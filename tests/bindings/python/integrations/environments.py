"""Virtual environments of tests, and what pip puts into them."""

import os
import pathlib
import subprocess
import sys

from processes import Skipped

INSTALL_S = 300


def without_conpool():
    """This process's environment without what leads to the tree's own library and package."""
    ours = ("CONPOOL_LIBRARY", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD")
    return {name: value for name, value in os.environ.items() if name not in ours}


def environment(place, python=sys.executable):
    """A new virtual environment's Python; Skipped where none can be made."""
    done = subprocess.run([python, "-m", "venv", place], capture_output=True, text=True, timeout=INSTALL_S,
                          env=without_conpool())
    if done.returncode != 0:
        raise Skipped(f"no virtual environment can be made: {(done.stdout + done.stderr).strip().splitlines()[0]}")
    return pathlib.Path(place) / "bin" / "python"


def install(python, *what):
    """Installs packages from the index; Skipped when it does not answer."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", *what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, env=without_conpool())
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Skipped(f"pip cannot install {' '.join(map(str, what))}: {said[-1] if said else done.returncode}")


def run(python, *arguments, **variables):
    """A program's outcome, in an environment where nothing leads to the tree's own library."""
    return subprocess.run([python, *arguments], capture_output=True, text=True, timeout=INSTALL_S, cwd="/",
                          env={**without_conpool(), **variables})
