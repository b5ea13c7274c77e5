"""Leases a connection to a unix socket. usage: unix PATH"""

import sys

import conpool

with conpool.Client() as client, client.connect(f"unix:{sys.argv[1]}") as connection:
    connection.sendall(b"hello\n")
    answer = connection.recv().decode()
    print(connection.address)
    print(answer, end="")
