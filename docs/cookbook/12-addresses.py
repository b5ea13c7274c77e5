"""Connects to addresses of the program's own, in place of a name. usage: addresses HOST:PORT,…"""

import sys

import conpool

addresses = sys.argv[1].split(",")
with conpool.Client() as client, client.connect("", addresses=addresses) as connection:
    print(f"connected to {connection.address}")
