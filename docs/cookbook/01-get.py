"""Fetches a URL over HTTPS, trusting one certificate authority. usage: get URL CA_FILE"""

import sys

import conpool

url, ca_file = sys.argv[1:]
with conpool.Client(tls_ca_file=ca_file) as client:
    response = client.get(url)
    print(response.status_code)
    print(response.text, end="")
