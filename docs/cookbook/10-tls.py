"""Leases a TLS connection, with a protocol agreed on by ALPN. usage: tls URL CA_FILE"""

import sys

import conpool

url, ca_file = sys.argv[1:]
with conpool.Client() as client:
    with client.connect(url, tls_ca_file=ca_file, tls_alpn=["echo"]) as connection:
        connection.sendall(b"hello\n")
        print(connection.recv().decode(), end="")
