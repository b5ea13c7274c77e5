"""Posts JSON and reads the JSON that comes back. usage: post-json URL"""

import json
import sys

import conpool

with conpool.Client() as client:
    response = client.post(sys.argv[1], json={"name": "Ann"})
    print(response.status_code)
    print(json.dumps(response.json(), separators=(",", ":")))
