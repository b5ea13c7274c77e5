"""The programs of docs/cookbook: for each task, all languages print the same lines, and those the task is about."""

import pathlib
import tempfile
import unittest

import local
import programs
from certificates import Authority
from processes import Skipped, main
from servers import Nginx, Redis

LANGUAGES = {".c": "C", ".py": "Python", ".rs": "Rust"}
BYTES = 1 << 20
EVENTS = ["pool.created", "endpoint.created", "address.added", "connection.opened", "app.order.shipped"]


def tasks():
    """{"01-get": {".c": path, …}} of all files in the folder."""
    found = {}
    for path in sorted(programs.COOKBOOK.iterdir()):
        found.setdefault(path.stem, {})[path.suffix] = path
    return found


def command_of(path):
    """What runs a program, built if need be."""
    if path.suffix == ".rs":
        return programs.rust_command(path.stem[3:].replace("-", "_"))
    if path.suffix == ".py":
        return programs.python_command(path)
    return programs.compiled(path, programs.build_place() / path.stem)


class Cookbook(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="conpool-docs-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)

    def enter(self, server):
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def each(self, task, *arguments, expected, after=None):
        """Runs a task in every language that is tested here."""
        for suffix, language in LANGUAGES.items():
            with self.subTest(language=language):
                try:
                    command = command_of(tasks()[task][suffix])
                except Skipped as why:
                    print(f"skipped: {task} in {language}: {why}")
                    continue
                self.assertEqual(programs.run(command, *arguments).splitlines(), expected)
                if after:
                    after()

    def test_all_tasks_are_here(self):
        self.assertEqual(len(tasks()), 15)
        for task, files in tasks().items():
            self.assertEqual(sorted(files), sorted(LANGUAGES), task)
            tested = [name for name in dir(self) if name.startswith("test_" + task[:2])]
            self.assertEqual(len(tested), 1, task)

    def test_01_get(self):
        authority = self.enter(Authority())
        nginx = self.enter(Nginx(certificate=authority.issue("localhost")))
        self.each("01-get", f"https://localhost:{nginx.port}/", authority.certificate, expected=["200", "hello"])

    def test_02_post_json(self):
        site = self.enter(local.Site())
        self.each("02-post-json", site.url("/greet"), expected=["201", '{"greeting":"hello Ann"}'])
        self.assertGreater(len(site.posted), 0)
        for posted in site.posted:
            self.assertEqual(posted, ("application/json", {"name": "Ann"}))

    def test_03_download(self):
        site, path = self.enter(local.Site()), self.place / "download"

        def compare():
            self.assertEqual(path.read_bytes(), local.body_of(BYTES))
            path.unlink()

        self.each("03-download", site.url(f"/bytes/{BYTES}"), path, expected=["200", f"{BYTES} bytes"], after=compare)

    def test_04_upload(self):
        site, path = self.enter(local.Site()), self.place / "upload"
        path.write_bytes(local.body_of(BYTES))
        self.each("04-upload", site.url("/store"), path, expected=["201", f"{BYTES} bytes stored"])
        for stored in site.stored:
            self.assertEqual(stored, local.body_of(BYTES))

    def test_05_many(self):
        site = self.enter(local.Site())
        self.each("05-many", site.url("/together"), expected=["96 of 96 answered"])
        self.assertEqual(site.most_inside, local.TOGETHER)

    def test_06_timeouts(self):
        site = self.enter(local.Site())
        self.each("06-timeouts", site.url("/silent"), expected=["E_HTTP_FIRST_BYTE_TIMEOUT", "safe to send again: no"])

    def test_07_retries(self):
        site = self.enter(local.Site())
        self.each("07-retries", site.url("/flaky"), expected=["200 after 3 sends"])

    def test_08_breaker(self):
        refusing = self.enter(local.Refusing())
        self.each("08-breaker", f"http://127.0.0.1:{refusing.ports[0]}/",
                  expected=["E_CONNECT_REFUSED"] * 3 + ["E_BREAKER_OPEN", "try again in 2 min"])

    def test_09_redis(self):
        redis = self.enter(Redis())
        self.each("09-redis", f"tcp://127.0.0.1:{redis.port}", expected=["+PONG, reused: no", "+PONG, reused: yes"])

    def test_10_tls(self):
        authority = self.enter(Authority())
        echo = self.enter(local.Echo(certificate=authority.issue("localhost")))
        self.each("10-tls", echo.url("tls", "localhost"), authority.certificate, expected=["HELLO"])

    def test_11_unix(self):
        path = str(self.place / "socket")
        self.enter(local.Echo(path=path))
        self.each("11-unix", path, expected=[f"unix:{path}", "HELLO"])

    def test_12_addresses(self):
        echo, refusing = self.enter(local.Echo()), self.enter(local.Refusing())
        self.each("12-addresses", f"127.0.0.1:{refusing.ports[0]},127.0.0.1:{echo.port}",
                  expected=[f"connected to 127.0.0.1:{echo.port}"])

    def test_13_ledger(self):
        one, two = self.enter(local.Refusing(2)).ports
        refused = [f"tcp:127.0.0.1:{port}: connection refused" for port in (one, two)]
        self.each("13-ledger", f"tcp://127.0.0.1:{one},{two}",
                  expected=["E_CONNECT_REFUSED", *refused, "anything sent: no"])

    def test_14_observe(self):
        site = self.enter(local.Site())
        self.each("14-observe", site.url(),
                  expected=[f"info: {name}" for name in EVENTS] + ["conpool_pool_requests_done_total 1"])

    def test_15_close(self):
        site = self.enter(local.Site())
        size = 32 << 20  # more than sockets and windows hold
        self.each("15-close", site.url(f"/bytes/{size}"), expected=[f"{size} bytes", "closed", "E_CLOSED"])


if __name__ == "__main__":
    main()
