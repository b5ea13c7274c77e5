"""The table of raw HTTP/1.1 responses through both clients: the same results and the same errors.

usage: table_test.py RESPONSE_TABLE_PROGRAM
"""

import json
import os
import subprocess
import sys

import support
import conpool

OPTIONS = {"first_byte_timeout": 5, "stall_timeout": 5, "breaker_mode": "off"}


def lines_of(headers):
    return b"".join(name + b": " + value + b"\n" for name, value in headers.raw)


def told(response):
    return (
        "answer",
        response.status_code,
        lines_of(response.headers),
        response.content,
        lines_of(response.trailers),
    )


def failed(error):
    return "error", type(error), error.name, error.proof, error.safe_to_retry


class Table(support.Case):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([cls.program], capture_output=True, text=True, check=True, timeout=60)
        cls.rows = json.loads(done.stdout)
        for row in cls.rows:
            for key in ("bytes", "fields", "body", "trailers"):
                row[key] = row[key].encode("latin-1")

    def answer(self, head, connection):
        connection.send(self.row["bytes"])
        return None if self.row["ends"] or not self.row["bytes"] else b""

    def sync_results(self, url):
        with conpool.Client(**OPTIONS) as client:
            for self.row in self.rows:
                method = "HEAD" if self.row["to_head"] else "GET"
                try:
                    yield told(client.request(method, url))
                except conpool.HTTPError as error:
                    yield failed(error)

    async def async_results(self, url):
        found = []
        async with conpool.AsyncClient(**OPTIONS) as client:
            for self.row in self.rows:
                method = "HEAD" if self.row["to_head"] else "GET"
                try:
                    found.append(told(await client.request(method, url)))
                except conpool.HTTPError as error:
                    found.append(failed(error))
        return found

    def streamed_results(self, url):
        with conpool.Client(**OPTIONS) as client:
            for self.row in self.rows:
                method = "HEAD" if self.row["to_head"] else "GET"
                try:
                    with client.stream(method, url) as response:
                        response.read()
                    yield told(response)
                except conpool.HTTPError as error:
                    yield failed(error)

    async def async_streamed_results(self, url):
        found = []
        async with conpool.AsyncClient(**OPTIONS) as client:
            for self.row in self.rows:
                method = "HEAD" if self.row["to_head"] else "GET"
                try:
                    async with client.stream(method, url) as response:
                        await response.aread()
                    found.append(told(response))
                except conpool.HTTPError as error:
                    found.append(failed(error))
        return found

    maxDiff = 4000

    def test_every_row(self):
        with support.RawServer(self.answer) as server:
            results = {
                "Client": list(self.sync_results(server.url)),
                "AsyncClient": self.run_async(self.async_results(server.url)),
                "Client.stream": list(self.streamed_results(server.url)),
                "AsyncClient.stream": self.run_async(self.async_streamed_results(server.url)),
            }
        self.assertGreater(len(self.rows), 500)
        for i, row in enumerate(self.rows):
            for way, found in results.items():
                with self.subTest(row=row["name"], way=way):
                    if row["refused"]:
                        self.assertEqual(found[i][0], "error", found[i])
                        self.assertTrue(
                            issubclass(found[i][1], conpool.RemoteProtocolError), found[i]
                        )
                        # A limit of whole bodies: what is streamed is as long as it likes.
                        if results["Client"][i][2] != "E_HTTP_BODY_LIMIT":
                            self.assertEqual(found[i], results["Client"][i])
                    else:
                        expected = (
                            "answer",
                            row["status"],
                            row["fields"],
                            row["body"],
                            row["trailers"],
                        )
                        self.assertEqual(found[i], expected)


if __name__ == "__main__":
    Table.program = os.path.abspath(sys.argv.pop(1))
    support.main()
