"""The binding's tables against the header and the library's own tables; and its size."""

import ast
import ctypes
import glob
import io
import os
import re
import sys
import tokenize
import unittest

import support
from conpool import _config, _errors, _ffi
import conpool

sys.path.insert(0, os.path.join(support.ROOT, "tests", "abi"))
import header  # noqa: E402

HEADER = os.path.join(support.ROOT, "include", "conpool", "conpool.h")
CORE_LINES = 1500
BRIDGES = ("_logging.py", "_resolver.py", "_integration.py", "httpx.py", "requests.py")

# Types of C as the binding says them; handles are pointers without a type.
SIMPLE = {
    "void": None,
    "int32_t": ctypes.c_int32,
    "conpool_status": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "conpool_op": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "char*": ctypes.c_char_p,
    "void*": ctypes.c_void_p,
    "uint8_t*": ctypes.c_void_p,
    "int32_t*": ctypes.POINTER(ctypes.c_int32),
    "uint16_t*": ctypes.POINTER(ctypes.c_uint16),
    "uint64_t*": ctypes.POINTER(ctypes.c_uint64),
    "conpool_op*": ctypes.POINTER(ctypes.c_uint64),
    "size_t*": ctypes.POINTER(ctypes.c_size_t),
    "char**": ctypes.POINTER(ctypes.c_void_p),
    "conpool_event*": ctypes.POINTER(_ffi.RawEvent),
}


def python_type(text):
    name = re.sub(r"\bconst\b|\s", "", text)
    if name in SIMPLE:
        return SIMPLE[name]
    handle = re.fullmatch(r"conpool_\w+?(\*+)", name)
    return {"*": ctypes.c_void_p, "**": ctypes.POINTER(ctypes.c_void_p)}[handle.group(1)]


class Functions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(HEADER, encoding="utf-8") as file:
            cls.text = file.read()
        cls.declared = {one.name: one for one in header.functions(cls.text)}

    def test_every_exported_function_is_there(self):
        with open(os.path.join(support.ROOT, "capi", "symbols.txt"), encoding="utf-8") as file:
            self.assertEqual(sorted(_ffi.FUNCTIONS), sorted(file.read().split()))

    def test_every_signature(self):
        self.assertEqual(sorted(_ffi.FUNCTIONS), sorted(self.declared))
        for name, one in self.declared.items():
            # What is freed came as a pointer: a text must not be read again.
            parameters = [re.sub(r"\w+$", "", each) for each in one.parameters]
            expected = python_type(one.result), [python_type(each) for each in parameters]
            if name == "conpool_text_free":
                expected = None, [ctypes.c_void_p]
            self.assertEqual(_ffi.FUNCTIONS[name], expected, name)

    def test_the_event(self):
        with open(os.path.join(support.ROOT, "capi", "layout.txt"), encoding="utf-8") as file:
            layout = file.read()
        self.assertEqual(ctypes.sizeof(_ffi.RawEvent), 64)
        for name, *_ in _ffi.RawEvent._fields_:
            field = getattr(_ffi.RawEvent, name)
            self.assertRegex(layout, rf"{name}\D+{field.offset}\b", layout)

    def constants(self, prefixes):
        code = header.without_comments(self.text)
        found = re.findall(
            r"\bCONPOOL_((?:%s)_\w+|WHOLE|STREAM|BROKEN|REUSABLE)\s*=\s*(-?\d+)"
            % "|".join(prefixes),
            code,
        )
        return {name: int(value) for name, value in found}

    def test_constants(self):
        found = self.constants(["CLASS", "EVENT", "PROOF", "PHASE", "LEVEL"])
        self.assertGreater(len(found), 40)
        for name, value in found.items():
            self.assertEqual(getattr(_ffi, name, None), value, name)
        named = [name for name in vars(_ffi) if re.match(r"(CLASS|EVENT|PROOF|PHASE|LEVEL)_", name)]
        self.assertEqual(sorted(set(named) - set(found)), [])
        self.assertRegex(self.text, r"#define CONPOOL_FOREVER \(+int64_t\)-1\)")
        self.assertEqual(_ffi.FOREVER, -1)

    def test_words_of_numbers(self):
        found = self.constants(["PROOF", "PHASE", "LEVEL"])
        from conpool import _base

        for prefix, words in (
            ("PHASE", _errors.PHASES),
            ("PROOF", _errors.PROOFS),
            ("LEVEL", _base.LEVELS),
        ):
            names = {
                value: name[len(prefix) + 1 :].lower()
                for name, value in found.items()
                if name.startswith(prefix)
            }
            self.assertEqual(tuple(names[i] for i in range(len(names))), tuple(words))

    def test_statuses(self):
        code = header.without_comments(self.text)
        declared = {
            name: int(value) for name, value in re.findall(r"CONPOOL_(E_\w+) = (-\d+)", code)
        }
        declared["OK"] = 0
        self.assertEqual(conpool.STATUSES, declared)
        self.assertEqual(set(_errors.BY_NAME) - set(declared), set())


class Statuses(unittest.TestCase):
    def test_each_has_its_exception(self):
        found = {}
        for name, status in conpool.STATUSES.items():
            for phase in range(len(_errors.PHASES)):
                found.setdefault(name, set()).add(_errors.class_of(status, phase))
        for name, kinds in found.items():
            for kind in kinds:
                self.assertTrue(issubclass(kind, conpool.HTTPError), name)
                self.assertEqual(issubclass(kind, TimeoutError), "TIMEOUT" in name, (name, kind))
                if name.startswith("E_DNS"):
                    self.assertTrue(issubclass(kind, conpool.DNSError), name)
                if name.startswith("E_TLS"):
                    self.assertTrue(issubclass(kind, conpool.TLSError), name)
                if name.startswith(("E_CONNECT_", "E_CONNECTION_")):
                    self.assertTrue(issubclass(kind, (ConnectionError, TimeoutError)), name)
        self.assertEqual(found["E_BREAKER_OPEN"], {conpool.CircuitOpenError})
        self.assertEqual(found["E_QUEUE_TIMEOUT"], {conpool.PoolTimeout})
        self.assertLessEqual({conpool.ReadTimeout, conpool.WriteTimeout}, found["E_STALL_TIMEOUT"])
        self.assertLessEqual(
            {conpool.ReadError, conpool.WriteError, conpool.ConnectError},
            found["E_CONNECTION_RESET"],
        )

    def test_codes_of_newer_libraries(self):
        for status, kind in (
            (-199, conpool.UsageError),
            (-399, conpool.DNSError),
            (-499, conpool.NetworkError),
            (-599, conpool.TLSError),
            (-699, conpool.RemoteProtocolError),
            (-799, conpool.LimitError),
            (-299, conpool.ResourceError),
            (-4321, conpool.TransportError),
        ):
            error = _errors.of_status(status)
            self.assertIsInstance(error, kind)
            self.assertEqual((error.status, error.name), (status, "UNKNOWN"))
            self.assertIn(str(status), str(error))


class Options(unittest.TestCase):
    def test_every_option_is_a_keyword(self):
        names = [row["name"] for row in conpool.describe("options")]
        self.assertGreater(len(names), 100)
        self.assertEqual(sorted(option.name for option in conpool.OPTIONS.values()), sorted(names))
        for keyword, option in conpool.OPTIONS.items():
            self.assertTrue(keyword.isidentifier())
            self.assertEqual(keyword, option.name.replace(".", "_"))

    def test_each_takes_its_default(self):
        for keyword, option in conpool.OPTIONS.items():
            if option.default:
                self.assertIsNotNone(_config.make_config({keyword: option.default}))

    def test_no_argument_has_the_name_of_an_option(self):
        taken = {
            "base_url",
            "headers",
            "timeout",
            "limits",
            "params",
            "content",
            "data",
            "json",
            "trailers",
            "idempotent",
            "endpoint",
            "method",
            "url",
            "target",
            "port",
            "tls",
            "addresses",
            "count",
        }
        self.assertEqual(taken & set(conpool.OPTIONS), set())


class Package(unittest.TestCase):
    FILES = sorted(glob.glob(os.path.join(support.PACKAGE, "src", "conpool", "*.py")))

    def test_only_one_file_knows_ctypes(self):
        for path in self.FILES:
            with open(path, encoding="utf-8") as file:
                if os.path.basename(path) != "_ffi.py":
                    self.assertNotRegex(file.read(), r"\bctypes\b", path)

    def test_the_core_is_thin(self):
        """Lines of code: comments, texts that document, and empty lines apart."""
        count = 0
        for path in self.FILES:
            if os.path.basename(path) not in BRIDGES:
                count += self.lines_of_code(path)
        self.assertLessEqual(count, CORE_LINES)

    @staticmethod
    def lines_of_code(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        documented = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(
                node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            ) and ast.get_docstring(node):
                documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        ignored = (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        )
        lines = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in ignored:
                lines |= set(range(token.start[0], token.end[0] + 1))
        return len(lines - documented)

    @unittest.skipIf("LD_PRELOAD" in os.environ, "the sanitizer ends a process for such a size")
    def test_sizes_beyond_an_int(self):
        room = ctypes.create_string_buffer(b"abc")
        self.assertEqual(_ffi.copied(ctypes.addressof(room), 2), b"ab")
        for size in (2**60, 2**60 + 2):  # an int would hold 0 and 2
            with self.assertRaises(MemoryError):
                _ffi.copied(ctypes.addressof(room), size)

    def test_every_public_name_is_documented(self):
        for name in conpool.__all__:
            one = getattr(conpool, name)
            if isinstance(one, type):
                self.assertTrue(one.__doc__, name)
                for attribute, value in vars(one).items():
                    if (
                        not attribute.startswith("_")
                        and callable(value)
                        and attribute not in getattr(one, "_fields", ())
                    ):
                        self.assertTrue(value.__doc__, f"{name}.{attribute}")

    def test_star_import(self):
        names = {}
        exec("from conpool import *", names)
        self.assertLessEqual(set(conpool.__all__), set(names))


if __name__ == "__main__":
    support.main()
