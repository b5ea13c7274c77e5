"""Installs a built tree below a directory of the test, as `meson install` does on a machine."""

import json
import os
import pathlib
import subprocess

from processes import need


def meson(*arguments):
    # Debian's meson runs on Debian's python3, whatever else comes first in PATH.
    program = "/usr/bin/meson" if os.path.exists("/usr/bin/meson") else need("meson")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"meson {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Installed:
    """Where an installed tree has its files."""

    def __init__(self, build, stage, tags=None):
        self.stage = pathlib.Path(stage)
        meson("install", "-C", build, "--no-rebuild", "--destdir", stage, *(["--tags", tags] if tags else []))
        given = json.loads(meson("introspect", "--buildoptions", build))
        options = {option["name"]: option["value"] for option in given}
        self.prefix = self.stage / options["prefix"].lstrip("/")
        self.libdir = self.prefix / options["libdir"]

    def pkg_config(self):
        """The variables by which pkg-config finds it, and nothing else: no machine has all development files."""
        return {"PKG_CONFIG_LIBDIR": str(self.libdir / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(self.stage)}
