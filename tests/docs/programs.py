"""How the programs of the documentation are built and run in each language.

The environment says with what: CONPOOL_LIBRARY is the shared library's path, CONPOOL_CC and CONPOOL_CXX are the
compilers as JSON lists, CONPOOL_DOCS_BUILD a folder for what is built, CONPOOL_PYTHON and CONPOOL_CARGO the programs
(absent: that language is not tested), CONPOOL_SANITIZE the library's sanitizer.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
sys.path.insert(0, str(ROOT / "tests/tidy"))

from processes import Skipped  # noqa: E402

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]
C_FLAGS = ["-std=c99", "-D_GNU_SOURCE", *WARNINGS]
CXX_FLAGS = ["-std=c++20", *WARNINGS]
BUILD_S, RUN_S = 300, 120
COOKBOOK, GUIDE = ROOT / "docs/cookbook", ROOT / "docs/guide"


def library():
    return pathlib.Path(os.environ["CONPOOL_LIBRARY"])


def build_place():
    place = pathlib.Path(os.environ["CONPOOL_DOCS_BUILD"])
    place.mkdir(parents=True, exist_ok=True)
    return place


def sanitized():
    return os.environ.get("CONPOOL_SANITIZE", "")


def must(argv, **options):
    """Runs a command that has to succeed in silence, warnings included."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=BUILD_S, **options)
    if done.returncode != 0 or "warning" in done.stderr:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def compiled(source, output):
    """The command of a C or C++ source."""
    is_c = source.suffix == ".c"
    compiler = json.loads(os.environ["CONPOOL_CC" if is_c else "CONPOOL_CXX"])
    sanitizer = [f"-fsanitize={sanitized()}"] if sanitized() else []
    must([*compiler, *(C_FLAGS if is_c else CXX_FLAGS), *sanitizer, f"-I{ROOT}/include", source, "-o", output,
          library(), f"-Wl,-rpath,{library().parent}"])
    return [str(output)]


def python_command(*arguments):
    """The command of a Python program; Skipped where Python is not tested."""
    if not os.environ.get("CONPOOL_PYTHON"):
        raise Skipped("the Python binding is not tested in this build")
    return [os.environ["CONPOOL_PYTHON"], "-W", "error", *map(str, arguments)]


def rust_sources():
    """{program name: source} of all Rust programs of the documentation; one build makes them all."""
    import readme_blocks
    sources = {path.stem[3:].replace("-", "_"): path for path in sorted(COOKBOOK.glob("*.rs"))}
    sources["guide"] = GUIDE / "guide.rs"
    sources["readme"] = readme_blocks.written("rust", build_place() / "readme.rs")
    return sources


def rust_command(name):
    """The command of a Rust program, which one build of a package in the build folder makes."""
    cargo = os.environ.get("CONPOOL_CARGO")
    if not cargo:
        raise Skipped("the Rust crates are not tested in this build")
    place = build_place() / "rust"
    place.mkdir(exist_ok=True)
    page = (ROOT / "docs/rust.md").read_text(encoding="utf-8")
    (dependencies,) = re.findall(r"^```toml\n(.*?)^```$", page, re.S | re.M)
    lines = ["[package]", 'name = "documentation"', 'version = "0.0.0"', 'edition = "2021"', "publish = false",
             "[workspace]", "[profile.dev]", "debug = false",
             dependencies.replace('path = "', f'path = "{ROOT}/').rstrip("\n")]
    for program, source in rust_sources().items():
        lines += ["[[bin]]", f'name = "{program}"', f'path = "{source}"']
    write_if_new(place / "Cargo.toml", "\n".join(lines) + "\n")
    environment = {**os.environ, "CONPOOL_LIB_DIR": str(library().parent), "CARGO_TARGET_DIR": str(place / "target"),
                   "CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never"}
    must([cargo, "build", "--offline", "--quiet", "--bins", "--jobs", "2"], cwd=place, env=environment)
    return [str(place / "target/debug" / name)]


def write_if_new(path, text):
    """Keeps the time of a file whose text is the same, so that nothing is built again for it."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        other = path.with_name(f"{path.name}.{os.getpid()}")
        other.write_text(text, encoding="utf-8")
        other.replace(path)  # another test may read it now


def run(command, *arguments, **options):
    """What a program prints; AssertionError when it fails or says anything on stderr."""
    done = subprocess.run([*command, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=RUN_S, env=environment_of_programs(), **options)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{command[-1]} {arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def environment_of_programs():
    """The library is found, and Python finds the binding."""
    return {**os.environ, "LD_LIBRARY_PATH": str(library().parent), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(ROOT / "bindings/python/src")}
