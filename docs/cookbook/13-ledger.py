"""Reads all that an error tells: every attempt, and whether anything was sent. usage: ledger URL"""

import sys

import conpool

TEXTS = {row["name"]: row["text"] for row in conpool.describe("statuses")}

with conpool.Client() as client:
    try:
        client.connect(sys.argv[1])
    except conpool.ConnectError as error:
        print(error.name)
        for attempt in error.attempts:
            print(f"{attempt.target}: {TEXTS[attempt.status]}")
        print("anything sent:", "no" if error.proof == "never_sent" else "yes")
