"""What the tests of the integrations share: the way to the other tests' helpers, and what they cannot do without."""

import importlib
import os
import sys
import threading
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import support  # noqa: E402
from processes import SKIP_CODE, Skipped, poll_until  # noqa: E402,F401

from http_servers import pattern  # noqa: E402
from scripted import Site  # noqa: E402

LONG_S = support.LONG_S
SHORT_S = 0.3  # a limit that is meant to pass


def need_modules(*names):
    """Ends the program as skipped when one of these modules is not installed."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"skipped: the Python module {name} is not installed")
            sys.exit(SKIP_CODE)


def outcome(action):
    """What an action answers, or the name of the exception that it raises."""
    try:
        return action()
    except Exception as error:
        return type(error).__name__


class Case(support.Case):
    """As support.Case, without what other packages warn of."""

    maxDiff = None

    def setUp(self):
        super().setUp()
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        warnings.simplefilter("ignore", DeprecationWarning)


class Shared:
    """What the transport for httpx and the adapter for requests are both held to: tests for a Case.

    `opened()` is a client of theirs over conpool, for `with`; `behind(client)` the conpool.Client under it; `refused`
    what it raises for a header that is not the program's.
    """

    def test_threads(self):
        with Site() as site, self.opened() as client:
            found = []

            def work():
                for _ in range(20):
                    found.append(client.get(site.url("/bytes/10000")).content == pattern(10000))

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(LONG_S)
            self.assertEqual(found, [True] * 160)
            self.assertLessEqual(site.connections, 8)

    def test_in_a_child_after_fork(self):
        with Site() as site, self.opened() as client:
            self.assertEqual(client.get(site.url("/hello")).status_code, 200)
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(0 if client.get(site.url("/hello")).content == b"hello\n" else 1)
                except BaseException:
                    os._exit(2)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
            self.assertEqual(client.get(site.url("/hello")).status_code, 200)

    def test_what_belongs_to_the_connection_is_refused(self):
        with Site() as site, self.opened() as client:
            with self.assertRaisesRegex(self.refused, "(?i)upgrade"):
                client.get(site.url("/hello"), headers={"Upgrade": "websocket", "Connection": "Upgrade"})
            self.assertEqual(site.connections, 0)

    def test_no_limit_that_theirs_has_not(self):
        """Long limits of a request are not cut short by defaults of conpool's."""
        with self.opened() as client:
            told = self.behind(client).explain("http://a.test")
            for line in ("total.timeout = 0", "tcp.user_timeout = 0", "breaker.mode = off"):
                self.assertIn(line, told)
