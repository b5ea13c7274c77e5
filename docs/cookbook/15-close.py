"""Closes gracefully: what runs may end, what is new is refused. usage: close URL"""

import asyncio
import sys

import conpool


async def main(url):
    client = conpool.AsyncClient()
    async with client.stream("GET", url) as response:
        closing = asyncio.create_task(client.aclose(drain=30))  # the body is still under way
        print(f"{len(await response.aread())} bytes")
    await closing
    print("closed")
    try:
        await client.get(url)
    except conpool.ClosedError as error:
        print(error.name)


asyncio.run(main(sys.argv[1]))
