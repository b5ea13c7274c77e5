"""Prints the figures of docs/examples/README.md. They need a machine with nothing else to do, and two cores.

usage: ninja -C BUILD measure-examples
"""

import os
import re
import tempfile
import time

from examples import JobServer, ScriptedServer, answer_http, run

SHORT, LONG_S, ROUNDS, JOBS = 25, 2.0, 7, 400


def p99_ms(server):
    done = run("job_client", server.url, 1, JOBS, SHORT)
    return float(re.search(r"p99 ([\d.]+) ms", done.stdout)[1])


def long_number(server):
    """A number whose job takes about LONG_S: each next one takes 1.6 times as long."""
    number, took = 30, 0.0
    while took < LONG_S and number < 50:
        number += 1
        started = time.monotonic()
        server.ask(b"%d\n" % number)
        took = time.monotonic() - started
    return number, took


def jobs():
    """The p99 of short jobs, with and without one long job on the other of two workers."""
    with tempfile.TemporaryDirectory() as place, JobServer(2, place) as server:
        number, took = long_number(server)
        print(f"a short job is F({SHORT}), the long one F({number}): {took:.1f} s")
        p99_ms(server)
        alone, beside = [], []
        for _ in range(ROUNDS):
            alone.append(p99_ms(server))
            with server.connect() as client:
                client.sendall(b"%d\n" % number)
                beside.append(p99_ms(server))
                client.recv(64)
        ratio = sorted(beside)[ROUNDS // 2] / sorted(alone)[ROUNDS // 2]
        print(f"p99 of {JOBS} short jobs, median of {ROUNDS} rounds: alone {sorted(alone)[ROUNDS // 2]:.3f} ms, "
              f"beside the long job {sorted(beside)[ROUNDS // 2]:.3f} ms: {ratio:.2f} times (wanted: at most 2)")
        clients = [server.connect() for _ in range(2)]
        for client in clients:
            client.sendall(b"50\n")
        times = []
        for _ in range(50):
            started = time.monotonic()
            server.ask(b"x\n")
            times.append((time.monotonic() - started) * 1000)
        print(f"invalid input while both workers are busy: median {sorted(times)[25]:.2f} ms, "
              f"slowest of 50 {max(times):.2f} ms")
        for client in clients:
            client.close()
        return ratio <= 2


def queue():
    """Cores that consumers of one queue keep busy."""
    good = True
    with ScriptedServer(answer_http) as server:
        for threads in sorted({1, 2, os.cpu_count()}):
            done = run("queue_threads", f"http://127.0.0.1:{server.port}/", threads, 200 * threads, 10)
            print(done.stdout.strip(), f"(wanted: at least {0.9 * threads:.1f})")
            good = good and done.returncode == 0 and float(re.search(r"([\d.]+) cores", done.stdout)[1]) >= 0.9 * threads
    return good


if __name__ == "__main__":
    answers = [jobs(), queue()]
    raise SystemExit(0 if all(answers) else 1)
