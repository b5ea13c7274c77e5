"""The code of docs/python.md, which shows the marked parts. usage: guide SITE ECHO REFUSED"""

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import conpool


# [request]
def fetch(client, url):
    response = client.get(url, headers={"accept": "text/plain"})
    response.raise_for_status()
    print(response.status_code, response.text, end="")


# [end]


# [options]
def small_client():
    return conpool.Client(endpoint_max_connections=4, connect_timeout=2)


# [end]


# [streaming]
def stream(client, url):
    with client.stream("GET", url) as response:
        return sum(len(piece) for piece in response.iter_bytes())


# [end]


# [connection]
def echo(client, url):
    with client.connect(url) as connection:  # given back at the end; closed after an exception
        connection.sendall(b"hello\n")
        return connection.recv().decode()


# [end]


# [errors]
def refuse(client, url):
    try:
        client.get(url)
    except conpool.ConnectError as error:  # also a ConnectionError
        print(error.name)
        print("no connection")
        if error.phase == "connect":
            print("while connecting")
        if error.proof == "never_sent":
            print("nothing was sent")
        for attempt in error.attempts:
            print("tried", attempt.target)


# [end]


# [many]
async def many(url):
    async with conpool.AsyncClient(limits=conpool.Limits(max_connections=4)) as client:
        calls = (client.get(url) for _ in range(32))
        return len(await asyncio.gather(*calls))


# [end]


# [threads]
def threads(client, url):
    with ThreadPoolExecutor(8) as pool:
        return sum(r.status_code == 200 for r in pool.map(client.get, [url] * 8))


# [end]


# [events]
def observe(client):
    client.event("stock.low", "3 left", level=logging.WARNING)
    names = [event["event"] for event in client.events()]
    print("recorded" if any("stock.low" in name for name in names) else "not recorded")
    figures = client.metrics("openmetrics")
    print("counted" if "conpool_pool_requests_done_total" in figures else "not counted")


# [end]


def main(site, echo_url, refused):
    with small_client() as client:
        fetch(client, site)
        try:
            conpool.Client(connect_timout=2)
        except conpool.UsageError as error:
            print(error.name)
        print(stream(client, site + "bytes/1000000"), "bytes")
        print(echo(client, echo_url), end="")
        refuse(client, refused)
        print(asyncio.run(many(site)), "answers")
        print(threads(client, site), "answers")
        observe(client)


main(*sys.argv[1:])
