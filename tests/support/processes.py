"""Child processes of tests: started with a parent to die with, waited for with deadlines, stopped by pid."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

PR_SET_PDEATHSIG = 1
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 5
SKIP_CODE = 77  # meson's


class Skipped(unittest.SkipTest):
    """The test cannot run here; the text says why."""


def need(*programs):
    """The full paths of programs; Skipped when one is not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = [shutil.which(program, path=path) for program in programs]
    for program, place in zip(programs, found):
        if place is None:
            raise Skipped(f"{program} is not installed")
    return found[0] if len(found) == 1 else found


def poll_until(condition, what, timeout=START_TIMEOUT_S):
    """Calls condition until it answers something true, and answers that; TimeoutError otherwise."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def die_with_parent():
    """Runs in the child: whatever kills the test, nothing of it stays behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(argv, **options):
    """subprocess.Popen for a child that the kernel kills when the calling thread ends."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(a) for a in argv], preexec_fn=die_with_parent, **options)


def stop(process, first_signal=signal.SIGTERM, timeout=STOP_TIMEOUT_S):
    """Ends one child by its pid: politely, then not."""
    if process.poll() is None:
        process.send_signal(first_signal)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


class JsonChild:
    """A child that takes commands and tells its log as JSON lines (relay.py, dns_server.py, HTTP servers)."""

    def __init__(self, argv):
        self.process = start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        scripts = [os.path.basename(str(a)) for a in argv if str(a).endswith((".py", ".js"))]
        self.name = scripts[0] if scripts else os.path.basename(str(argv[0]))
        self.condition = threading.Condition()
        self.entries, self.acks, self.ended, self.ready = [], {}, False, None
        self.next_id = 1
        threading.Thread(target=self._read, daemon=True).start()
        self._wait(lambda: self.ready, "start")

    def _read(self):
        for line in self.process.stdout:
            entry = json.loads(line)
            with self.condition:
                if "ack" in entry:
                    self.acks[entry["ack"]] = entry
                elif "ready" in entry:
                    self.ready = entry
                else:
                    self.entries.append(entry)
                self.condition.notify_all()
        with self.condition:
            self.ended = True
            self.condition.notify_all()

    def _wait(self, condition, what, timeout=START_TIMEOUT_S):
        with self.condition:
            if not self.condition.wait_for(lambda: condition() or self.ended, timeout):
                raise TimeoutError(f"{self.name}: {what}: not within {timeout} s")
            if not condition():
                raise RuntimeError(f"{self.name} ended during {what}")
            return condition()

    def command(self, **command):
        """The child's acknowledgement, once it has carried it out; ValueError with its reason if it would not."""
        number, self.next_id = self.next_id, self.next_id + 1
        self.process.stdin.write(json.dumps({"id": number, **command}) + "\n")
        ack = self._wait(lambda: self.acks.get(number), "a command")
        if "error" in ack:
            raise ValueError(ack["error"])
        return ack

    def log(self, since=0):
        """The entries from a time (time.monotonic_ns) on."""
        with self.condition:
            return [entry for entry in self.entries if entry["time_ns"] >= since]

    def wait_for(self, matches, what, count=1, since=0, timeout=START_TIMEOUT_S):
        """The first `count` entries that match; TimeoutError when there are fewer in time."""
        def found():
            hits = [entry for entry in self.entries if entry["time_ns"] >= since and matches(entry)]
            return hits[:count] if len(hits) >= count else None

        return self._wait(found, what, timeout)

    def close(self):
        stop(self.process)


def main():
    """unittest.main that exits with 77 and a line "skipped: why" when no test could run."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped and len(result.skipped) >= result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(SKIP_CODE)
    if result.testsRun == 0:
        print("no test ran")
        sys.exit(1)
