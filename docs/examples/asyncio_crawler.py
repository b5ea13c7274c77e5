"""Crawls a site, with a limit of concurrent requests, and prints each page's status and address.

usage: asyncio_crawler.py URL [--limit N] [--pages N] [--ca FILE]
"""

import argparse
import asyncio
import html.parser
import sys
import urllib.parse

import conpool


class Links(html.parser.HTMLParser):
    """The targets of a page's links."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [
            value for name, value in attributes if tag == "a" and name == "href" and value
        ]


class Crawler:
    def __init__(self, client, limit, pages):
        self.client, self.limit, self.pages = client, asyncio.Semaphore(limit), pages
        self.seen, self.failed = set(), 0

    def new(self, base, links):
        """Those of the links that lead to pages of this site that nobody has seen, each once."""
        for link in links:
            url = urllib.parse.urldefrag(urllib.parse.urljoin(base, link)).url
            same = urllib.parse.urlsplit(url)[:2] == urllib.parse.urlsplit(base)[:2]
            if same and url not in self.seen and len(self.seen) < self.pages:
                self.seen.add(url)
                yield url

    async def fetch(self, url):
        """A page's links; the target of a redirect is one, too."""
        try:
            response = await self.client.get(url)
        except conpool.HTTPError as error:
            self.failed += 1
            print(f"--- {url}: {error}", flush=True)
            return []
        print(response.status_code, url, flush=True)
        if "location" in response.headers:
            return [response.headers["location"]]
        is_page = response.headers.get("content-type", "").startswith("text/html")
        return Links(response.text).found if is_page else []

    async def visit(self, url):
        async with self.limit:
            links = await self.fetch(url)
        await asyncio.gather(*(self.visit(one) for one in self.new(url, links)))


async def main(given):
    options = {
        "total_timeout": 30,
        "retry_attempts": 3,
        "response_max_body": "4MiB",
        "tls_ca_file": given.ca,
    }
    async with conpool.AsyncClient(**options) as client:
        crawler = Crawler(client, given.limit, given.pages)
        await asyncio.gather(*(crawler.visit(url) for url in crawler.new(given.url, [given.url])))
        opened = client.stats()["pool"]["figures"]["connections.opened"]
        print(
            f"{len(crawler.seen)} pages, {crawler.failed} failed, {opened} connections",
            file=sys.stderr,
        )
        return 1 if crawler.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--limit", type=int, default=10, help="concurrent requests (10)")
    parser.add_argument("--pages", type=int, default=1000, help="pages at most (1000)")
    parser.add_argument("--ca", help="a file of certificates to trust in place of the system's")
    arguments = parser.parse_args()
    if arguments.limit < 1 or arguments.pages < 1:
        parser.error("--limit and --pages are numbers of 1 or more")
    try:
        sys.exit(asyncio.run(main(arguments)))
    except KeyboardInterrupt:
        sys.exit(130)
