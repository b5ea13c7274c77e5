"""Python 3.9 for machines that have none: that of Debian 11, unpacked into a folder of its own.

Nothing of the machine changes: apt works on lists and a cache inside that folder, and checks the
archive's signature as ever.
"""

import glob
import os
import shutil
import subprocess

from support import processes

RELEASE, VERSION = "bullseye", (3, 9)
# The interpreter, and the libraries that its modules need and Debian 12 has no more.
PACKAGES = (
    "python3.9-minimal", "libpython3.9-minimal", "libpython3.9-stdlib", "libffi7", "libssl1.1",
)  # fmt: skip
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FETCH_S = 300


def unpacked(place):
    """The interpreter's path, and the environment it needs."""
    if not shutil.which("apt-get") or not os.path.exists(KEYRING):
        raise processes.Skipped("there is no Debian archive to take Python 3.9 from")
    fetch(place)
    for package in glob.glob(os.path.join(place, "*.deb")):
        command = ["dpkg-deb", "-x", package, place]
        subprocess.run(command, check=True, timeout=FETCH_S, env=without_preload())
    (ffi,) = glob.glob(os.path.join(place, "usr", "lib", "*", "libffi.so.7"))
    path = os.path.join(place, "usr", "bin", "python3.9")
    return path, {"LD_LIBRARY_PATH": os.path.dirname(ffi)}


def without_preload():
    """This process's environment; a sanitizer is for the library's tests alone."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def fetch(place):
    """The packages, in this folder."""
    for folder in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(place, folder))
    source = os.path.join(place, "sources.list")
    with open(source, "w", encoding="utf-8") as file:
        file.write(f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main\n")
    settings = {
        "Dir::Etc::SourceList": source,
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": os.path.join(place, "lists"),
        "Dir::State::Status": os.devnull,
        "Dir::Cache": os.path.join(place, "cache"),
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    apt = ["apt-get", "-q", *(word for pair in settings.items() for word in ("-o", "=".join(pair)))]
    for command in (["update"], ["download", *PACKAGES]):
        done = subprocess.run(
            [*apt, *command], cwd=place, env=without_preload(),
            capture_output=True, text=True, timeout=FETCH_S,
        )  # fmt: skip
        if done.returncode != 0:
            raise processes.Skipped(f"Debian's archive gives no Python 3.9: {done.stderr.strip()}")
