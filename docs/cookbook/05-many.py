"""Makes 96 requests at once over at most 8 connections. usage: many URL"""

import asyncio
import sys

import conpool


async def main(url):
    limits = conpool.Limits(max_connections=8)
    async with conpool.AsyncClient(limits=limits) as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(96)))
    good = sum(response.status_code == 200 for response in responses)
    print(f"{good} of {len(responses)} answered")


asyncio.run(main(sys.argv[1]))
