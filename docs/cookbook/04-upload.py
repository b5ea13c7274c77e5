"""Uploads a file, which is read while it is sent. usage: upload URL FILE"""

import sys

import conpool

url, path = sys.argv[1:]
with conpool.Client() as client, open(path, "rb") as file:
    response = client.put(url, content=file)
    print(response.status_code)
    print(response.text, end="")
