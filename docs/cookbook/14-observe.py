"""Hands the pool's events to the program's log, and figures to its metrics. usage: observe URL"""

import logging
import sys

import conpool

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
log = logging.getLogger("connections")


def log_events(client, since):
    events = client.events(since)
    for event in events:
        level = logging.getLevelName(event["level"].upper())
        log.log(level, "%s: %s", event["level"], event["event"])
    return events.next


with conpool.Client() as client:
    client.get(sys.argv[1])
    client.event("order.shipped", "42")  # our own
    seen = log_events(client, 0)
    seen = log_events(client, seen)  # nothing new
    for line in client.metrics("openmetrics").splitlines():
        if line.startswith("conpool_pool_requests_done_total"):
            print(line)
