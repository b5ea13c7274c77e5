"""Leases a connection to Redis twice: the second time it is the same one. usage: redis URL"""

import sys

import conpool

with conpool.Client() as client:
    redis = client.endpoint(sys.argv[1])
    for _ in range(2):
        with client.connect(redis) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv().decode().strip()
            print(f"{answer}, reused:", "yes" if connection.facts["reused"] else "no")
