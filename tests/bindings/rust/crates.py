"""Runs cargo on the crates in bindings/rust, with the library of the build tree and without the network."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from processes import Skipped  # noqa: E402

WORKSPACE = ROOT / "bindings" / "rust"
OLDEST = (1, 63)
# Misuse that runs a thousand times takes the better part of an hour.
LIMIT_S = 900 + 10 * int(os.environ.get("CONPOOL_MISUSE_RUNS", "0"))


class Cargo:
    """One cargo with its rustc, and a target directory inside the build tree."""

    def __init__(self, program, library_dir, target):
        self.program = program
        # A cargo finds the rustc and the rustdoc beside it.
        self.path = os.pathsep.join([str(pathlib.Path(program).parent), os.environ.get("PATH", "")])
        self.library_dir = pathlib.Path(library_dir)
        self.target = pathlib.Path(target)

    def environment(self, **more):
        library = os.pathsep.join(filter(None, [str(self.library_dir), os.environ.get("LD_LIBRARY_PATH")]))
        return {**os.environ, "PATH": self.path, "LD_LIBRARY_PATH": library, "CARGO_TARGET_DIR": str(self.target),
                "CONPOOL_LIB_DIR": str(self.library_dir), "CARGO_NET_OFFLINE": "true", "CARGO_TERM_COLOR": "never",
                **{name: str(value) for name, value in more.items()}}

    def run(self, *arguments, cwd=WORKSPACE, timeout=LIMIT_S, unset=(), **more):
        """stdout and stderr together, and the exit code."""
        environment = self.environment(**more)
        for name in unset:
            environment.pop(name, None)
        done = subprocess.run([self.program, *map(str, arguments)], cwd=cwd, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout, check=False)
        return done.stdout, done.returncode

    def version(self):
        output, code = self.run("--version", cwd="/", timeout=60)
        found = re.search(r"cargo (\d+)\.(\d+)", output)
        if code != 0 or found is None:
            raise Skipped(f"{self.program} does not run: {output.strip()}")
        return int(found.group(1)), int(found.group(2))

    def host(self):
        """The platform that it builds for."""
        return re.search(r"host: (\S+)", self.run("-vV", cwd="/", timeout=60)[0]).group(1)

    def has(self, tool):
        return self.run(tool, "--version", cwd="/", timeout=60)[1] == 0


def cargos():
    """Every cargo of PATH, the system's and rustup's."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", os.path.expanduser("~/.cargo/bin")]
    found = [shutil.which("cargo", path=place) for place in dict.fromkeys(places) if place]
    return [program for program in found if program]


def oldest(library_dir, target):
    """The oldest cargo of this machine that the crates support."""
    usable = []
    for program in cargos():
        cargo = Cargo(program, library_dir, target)
        try:
            version = cargo.version()
        except Skipped:
            continue
        if version >= OLDEST:
            usable.append((version, cargo))
    if not usable:
        raise Skipped("no cargo of at least 1.63 is installed")
    return min(usable, key=lambda pair: pair[0])[1]


def newest(library_dir, target, *tools):
    """The newest cargo of this machine that has these subcommands."""
    found = [Cargo(program, library_dir, target) for program in cargos()]
    found = [cargo for cargo in found if all(cargo.has(tool) for tool in tools)]
    if not found:
        raise Skipped(f"no cargo {'with ' + ' and '.join(tools) if tools else ''} is installed")
    return max(found, key=Cargo.version)
