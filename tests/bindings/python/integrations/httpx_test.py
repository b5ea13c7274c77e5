"""Programs that use httpx, with httpx's own transports and with conpool's: the same results, the same exceptions."""

import asyncio
import hashlib
import ssl

import common
from common import LONG_S, SHORT_S

common.need_modules("httpx")
import httpx  # noqa: E402
import conpool  # noqa: E402
import conpool.httpx  # noqa: E402
from certificates import Authority  # noqa: E402
from scripted import PASSWORD, TEXT, USER, Blackhole, Site  # noqa: E402


def seen(response):
    """All that a program can see of a response that is read."""
    fields = [(name.lower(), value) for name, value in response.headers.multi_items() if name.lower() != "date"]
    return {
        "status": response.status_code, "reason": response.reason_phrase, "fields": sorted(fields),
        "version": response.http_version, "url": str(response.url), "content": response.content,
        "encoding": response.encoding, "history": [one.status_code for one in response.history],
        "cookies": sorted(response.cookies.items()),
    }


class SyncWay:
    """An httpx.Client behind the calls that the programs below make, which are written once for both kinds."""

    kind, ours, stock = httpx.Client, conpool.httpx.ConpoolTransport, httpx.HTTPTransport

    def __init__(self, client):
        self.client = client

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.client.close()

    async def send(self, method, url, **given):
        return self.client.request(method, url, **given)

    async def stream(self, method, url, take, **given):
        """What `take` makes of the iterators of a streamed response."""
        with self.client.stream(method, url, **given) as response:
            return await take(response, lambda name: aiter_of(getattr(response, f"iter_{name}")()))

    @staticmethod
    def upload(pieces):
        return (piece for piece in pieces)


class AsyncWay(SyncWay):
    """The same with an httpx.AsyncClient."""

    kind, ours, stock = httpx.AsyncClient, conpool.httpx.AsyncConpoolTransport, httpx.AsyncHTTPTransport

    async def __aexit__(self, *_):
        await self.client.aclose()

    async def send(self, method, url, **given):
        return await self.client.request(method, url, **given)

    async def stream(self, method, url, take, **given):
        async with self.client.stream(method, url, **given) as response:
            return await take(response, lambda name: getattr(response, f"aiter_{name}")())

    @staticmethod
    def upload(pieces):
        return aiter_of(pieces)


async def aiter_of(pieces):
    for piece in pieces:
        yield piece


async def outcome(awaitable):
    try:
        return await awaitable
    except ssl.SSLError:
        return "ConnectError"  # older releases of httpx let it through
    except Exception as error:
        return type(error).__name__


# --- the programs: each is given a way and a site, and answers what it has seen --------------------------------------


async def plain(way, site):
    yield seen(await way.send("GET", site.url("/hello")))
    yield seen(await way.send("HEAD", site.url("/hello")))
    yield seen(await way.send("GET", site.url("/status/204")))
    yield seen(await way.send("DELETE", site.url("/status/404")))
    yield seen(await way.send("OPTIONS", site.url("/hello")))
    yield seen(await way.send("GET", site.url("/fields")))
    yield seen(await way.send("GET", site.url("/close/100000")))
    yield seen(await way.send("GET", site.url("/chunks/100000")))
    response = await way.send("GET", site.url("/status/503"))
    yield await outcome(asyncio.to_thread(response.raise_for_status))


async def what_is_sent(way, site):
    url = site.url("/echo?q=1#fragment")
    yield seen(await way.send("GET", url, params={"a": "ä b", "c": ["1", "2"]}, headers={"X-A": "1", "x-b": "2"}))
    yield seen(await way.send("GET", site.url("/echo", userinfo="ann:secret@")))
    yield seen(await way.send("POST", url, headers=[("X-Two", "1"), ("X-Two", "2")]))
    yield seen(await way.send("POST", url, data={"a": "1", "b": ["2", "ü"]}))
    yield seen(await way.send("PUT", url, json={"a": [1, None, "ü"]}))
    yield seen(await way.send("PATCH", url, content=b"x" * 1_000_000))
    yield seen(await way.send("POST", url, files={"one": ("a.txt", b"file one" * 999, "text/plain")}, data={"k": "v"}))
    yield seen(await way.send("POST", url, content=way.upload([b"one", b"two" * 50000, b"", b"three"])))
    sized = {"Content-Length": "6"}
    yield seen(await way.send("POST", url, content=way.upload([b"abc", b"def"]), headers=sized))


async def redirects(way, site):
    for start in ("/redirect/3", "/loop"):
        answer = await outcome(way.send("GET", site.url(start), follow_redirects=True))
        yield answer if isinstance(answer, str) else seen(answer)
    yield seen(await way.send("GET", site.url("/redirect/1")))
    yield seen(await way.send("POST", site.url("/see-other"), content=b"gone", follow_redirects=True))
    yield seen(await way.send("POST", site.url("/keep-method"), content=b"kept", follow_redirects=True))


async def cookies(way, site):
    yield seen(await way.send("GET", site.url("/cookies/set")))
    yield seen(await way.send("GET", site.url("/cookies")))
    yield sorted(way.client.cookies.items())


async def authentication(way, site):
    for auth in (httpx.BasicAuth(USER, PASSWORD), httpx.DigestAuth(USER, PASSWORD), httpx.DigestAuth(USER, "wrong")):
        for path in ("/basic", "/digest"):
            response = await way.send("GET", site.url(path), auth=auth)
            yield response.status_code, response.content, [one.status_code for one in response.history]


async def decoding(way, site):
    for path in ("/gzip", "/deflate", "/gzip-chunks", "/gzip-broken"):
        answer = await outcome(way.send("GET", site.url(path)))
        if isinstance(answer, str):
            yield answer
        else:
            assert answer.content == TEXT and answer.text == TEXT.decode()
            yield seen(answer)


async def downloads(way, site):
    async def hashed(response, pieces):
        sums, sizes = hashlib.sha256(), set()
        async for piece in pieces("bytes"):
            sums.update(piece)
            sizes.add(bool(piece))
        return sums.hexdigest(), sizes, response.num_bytes_downloaded

    async def raw(response, pieces):
        return b"".join([piece async for piece in pieces("raw")])

    async def first(response, pieces):
        async for piece in pieces("bytes"):
            return piece[:1]

    async def unread(response, pieces):
        return response.status_code

    for path in ("/bytes/5000000", "/chunks/3000000", "/close/2000000"):
        yield await way.stream("GET", site.url(path), hashed)
        yield await way.stream("GET", site.url(path), first)
        yield await way.stream("GET", site.url(path), unread)
    yield await way.stream("GET", site.url("/gzip"), raw)
    yield seen(await way.send("GET", site.url("/hello")))


async def lines_as_they_come(way, site):
    """The second line is sent when the first was seen."""

    async def take(response, pieces):
        lines = []
        async for line in pieces("lines"):
            lines.append(line.rstrip("\n"))
            site.release()
        return lines

    site.hold()
    yield await way.stream("GET", site.url("/lines"), take)


async def failures(way, site):
    for path in ("/cut", "/cut-chunks", "/nothing", "/garbage"):
        yield path, await outcome(way.send("POST", site.url(path)))
    for sent in (0, 20, 200):  # of a response, before its connection is reset
        yield sent, await outcome(way.send("POST", site.url(f"/reset/{sent}")))
    with Blackhole() as hole:
        limit = httpx.Timeout(LONG_S, connect=SHORT_S)
        yield await outcome(way.send("GET", f"http://127.0.0.1:{hole.port}/", timeout=limit))
    yield await outcome(way.send("GET", "http://127.0.0.1:1/"))
    yield await outcome(way.send("GET", "http://no-such-name.invalid/"))
    yield await outcome(way.send("GET", "ftp://127.0.0.1/"))
    yield await outcome(way.send("GET", site.url("/hello"), headers={"X-Bad": "a\nb"}))

    def broken():
        yield b"one"
        raise ZeroDivisionError("the program's own")

    yield await outcome(way.send("POST", site.url("/echo"), content=way.upload(broken())))
    yield seen(await way.send("GET", site.url("/hello")))


async def timeouts(way, site):
    limit = httpx.Timeout(LONG_S, read=SHORT_S)
    yield await outcome(way.send("GET", site.url("/silent"), timeout=limit))
    yield await outcome(way.send("GET", site.url("/half"), timeout=limit))
    limit = httpx.Timeout(LONG_S, write=SHORT_S, read=SHORT_S)
    yield await outcome(way.send("POST", site.url("/deaf"), timeout=limit, content=b"x" * 50_000_000))
    yield await outcome(way.send("GET", site.url("/hello"), timeout=None))
    yield await outcome(way.send("GET", site.url("/hello"), timeout=1e9))


PROGRAMS = (plain, what_is_sent, redirects, cookies, authentication, decoding, downloads, lines_as_they_come, failures,
            timeouts)


async def run(way_class, transport, program, site, **given):
    async with way_class(way_class.kind(transport=transport, timeout=LONG_S, **given)) as way:
        results = []
        async for result in program(way, site):
            if hasattr(result, "status_code"):
                result = seen(result)
            results.append(result)
        return results


class SamePrograms(common.Case):
    """Each program with either transport."""

    way = SyncWay

    def compare(self, program, stock, ours, certificate=None):
        for name, transport in (("httpx", stock), ("conpool", ours)):
            with Site(certificate) as site:
                found = self.run_async(run(self.way, transport, program, site))
                # Ports and names differ from site to site. A checksum may hold the digits of a port.
                found = [eval(repr(one).replace(f":{site.port}", ":PORT")) for one in found]
            if name == "httpx":
                expected = found
        for theirs, mine in zip(expected, found):
            self.assertEqual(mine, theirs)
        self.assertEqual(len(found), len(expected))

    def test_programs(self):
        for program in PROGRAMS:
            with self.subTest(program.__name__):
                self.compare(program, self.way.stock(), self.way.ours())

    def test_tls(self):
        with Authority() as authority:
            certificate = authority.issue("localhost")
            trusting = ssl.create_default_context(cafile=str(authority.certificate))
            ca = str(authority.certificate)
            for program in (plain, what_is_sent, downloads):
                with self.subTest(program.__name__):
                    self.compare(program, self.way.stock(verify=trusting), self.way.ours(verify=ca), certificate)
            for theirs, mine in (({"verify": False}, {"verify": False}), ({}, {})):
                self.compare(hello_or_why, self.way.stock(**theirs), self.way.ours(**mine), certificate)
            wrong = authority.issue("other.test")
            self.compare(hello_or_why, self.way.stock(verify=trusting), self.way.ours(verify=ca), wrong)

    def test_name_to_verify(self):
        async def program(way, site):
            yield await outcome(way.send("GET", site.url("/hello"), extensions={"sni_hostname": "other.test"}))

        with Authority() as authority, Site(authority.issue("other.test")) as site:
            transport = self.way.ours(verify=str(authority.certificate))
            self.assertEqual(self.run_async(run(self.way, transport, program, site))[0]["content"], b"hello\n")

    def test_client_certificate(self):
        with Authority() as authority:
            chain, key = authority.issue("someone")
            with Site(authority.issue("localhost")) as site:
                site.context.load_verify_locations(str(authority.certificate))
                site.context.verify_mode = ssl.CERT_REQUIRED
                transport = self.way.ours(verify=str(authority.certificate), cert=(str(chain), str(key)))
                found = self.run_async(run(self.way, transport, hello_or_why, site))
                self.assertEqual(found[0]["content"], b"hello\n")
                both = authority.directory / "both.pem"
                both.write_bytes(chain.read_bytes() + key.read_bytes())
                transport = self.way.ours(verify=str(authority.certificate), cert=str(both))
                found = self.run_async(run(self.way, transport, hello_or_why, site))
                self.assertEqual(found[0]["content"], b"hello\n")
                transport = self.way.ours(verify=str(authority.certificate))
                self.assertIn(self.run_async(run(self.way, transport, hello_or_why, site))[0],
                              ("ConnectError", "ReadError", "RemoteProtocolError"))


async def hello_or_why(way, site):
    yield await outcome(way.send("GET", site.url("/hello")))


class SameProgramsAsync(SamePrograms):
    way = AsyncWay


if __name__ == "__main__":
    common.support.main()
