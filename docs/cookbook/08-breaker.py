"""Gives the circuit breaker numbers of its own, and meets it open. usage: breaker URL"""

import sys

import conpool

with conpool.Client(breaker_consecutive=3, breaker_open=120, breaker_open_jitter=0) as client:
    for _ in range(4):
        try:
            client.get(sys.argv[1])
        except conpool.TransportError as error:
            print(error.name)
            if error.retry_after is not None:
                print(f"try again in {error.retry_after / 60:.0f} min")
