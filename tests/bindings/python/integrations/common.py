"""What the tests of the integrations share: the way to the other tests' helpers, and what they cannot do without."""

import importlib
import os
import sys
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import support  # noqa: E402
from processes import SKIP_CODE, Skipped, poll_until  # noqa: E402,F401

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
