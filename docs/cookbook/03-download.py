"""Streams a download into a file, never holding more than a part of it. usage: download URL FILE"""

import sys

import conpool

url, path = sys.argv[1:]
with conpool.Client() as client, client.stream("GET", url) as response, open(path, "wb") as file:
    print(response.status_code)
    total = sum(file.write(piece) for piece in response.iter_bytes())
print(f"{total} bytes")
