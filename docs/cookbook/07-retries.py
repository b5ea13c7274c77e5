"""Lets the pool repeat a request that a server answers with 503. usage: retries URL"""

import sys

import conpool

with conpool.Client(retry_attempts=4, retry_base=0.01, retry_statuses=[503]) as client:
    response = client.get(sys.argv[1])
    print(f"{response.status_code} after {response.facts['sends']} sends")
