"""Returning from main with live pools and work in flight ends a program cleanly, every time.

usage: exit_test.py PROGRAM RUNS
"""

import os
import random
import socket
import subprocess
import sys
import threading

LONGEST_S = 60


def serve(listener):
    """Accepts and never says a word: handshakes and reads stay in flight."""
    kept = []
    while True:
        try:
            kept.append(listener.accept()[0])
        except OSError:
            return
        if len(kept) > 400:
            kept.pop(0).close()


def main():
    program, runs = sys.argv[1], int(sys.argv[2])
    seed = int(os.environ.get("CONPOOL_SEED", "1"))
    chance = random.Random(seed)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    # What is alive at the end is not a leak here: it is the point.
    environment = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    for run in range(runs):
        lifetime = chance.choice([0, chance.uniform(0, 0.002), chance.uniform(0, 0.02)])
        command = [program, f"tcp://{address}", f"tls://{address}", f"{lifetime:.6f}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S,
                                  env=environment)
        except subprocess.TimeoutExpired:
            print(f"run {run} of {runs} (seed {seed}): did not end within {LONGEST_S} s: {' '.join(command)}")
            return 1
        if done.returncode != 0 or done.stderr:
            print(f"run {run} of {runs} (seed {seed}): exit code {done.returncode}: {' '.join(command)}\n{done.stderr}")
            return 1
    print(f"{runs} of {runs} programs ended cleanly")
    return 0


if __name__ == "__main__":
    sys.exit(main())
