"""A network of the test's own: loopback and nothing else, with its own ports and limits."""

import ctypes
import os
import pathlib
import subprocess

from processes import Skipped, need

CLONE_NEWNET = 0x40000000
TIME_WAIT = "06"  # of /proc/net/tcp


def enter():
    """Moves the calling thread, and what it starts from now on, into a new network namespace, which ends with them.

    Skipped where that is not allowed.
    """
    ip = need("ip")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise Skipped(f"a network namespace cannot be made here: {os.strerror(ctypes.get_errno())}")
    subprocess.run([ip, "link", "set", "lo", "up"], check=True, timeout=20)


def set_limit(name, value):
    """Sets /proc/sys/net/ipv4/NAME of this network; Skipped where it cannot be written."""
    try:
        pathlib.Path(f"/proc/sys/net/ipv4/{name}").write_text(str(value))
    except OSError as error:
        raise Skipped(f"net.ipv4.{name} cannot be set here: {error.strerror}") from None


def sockets(port, state):
    """How many TCP sockets to or from a port are in a state."""
    lines = pathlib.Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    ends = f":{port:04X}"
    return sum(1 for line in lines if line.split()[3] == state and
               (line.split()[1].endswith(ends) or line.split()[2].endswith(ends)))
