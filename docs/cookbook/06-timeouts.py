"""Bounds a request as a whole and the wait for its answer. usage: timeouts URL"""

import sys

import conpool

times = conpool.Timeout(total=30, read=0.2)
with conpool.Client() as client:
    try:
        client.get(sys.argv[1], timeout=times)
    except conpool.TimeoutException as error:
        print(error.name)
        print("safe to send again:", "yes" if error.safe_to_retry else "no")
