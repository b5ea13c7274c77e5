"""Programs that use requests, with its own adapter and with conpool's: the same results, the same exceptions."""

import gc
import hashlib
import io
import os
import pickle
import shutil
import ssl
import tempfile

import common
from common import LONG_S, SHORT_S, outcome, poll_until

common.need_modules("requests")
import requests  # noqa: E402
import requests.auth  # noqa: E402
import urllib3  # noqa: E402
import conpool  # noqa: E402
import conpool.requests  # noqa: E402
from certificates import Authority  # noqa: E402
from conpool.requests import ConpoolAdapter  # noqa: E402
from http_servers import Node, pattern  # noqa: E402
from scripted import PASSWORD, TEXT, USER, Blackhole, Site  # noqa: E402


def seen(response):
    """All that a program can see of a response that is read."""
    fields = sorted((name.lower(), value) for name, value in response.headers.items() if name.lower() != "date")
    return {
        "status": response.status_code, "reason": response.reason, "fields": fields, "url": response.url,
        "content": response.content, "encoding": response.encoding, "cookies": sorted(response.cookies.items()),
        "history": [one.status_code for one in response.history], "version": response.raw.version,
        "text": response.text, "links": response.links, "ok": response.ok, "left": response.raw.read(),
    }


def session_of(adapter):
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


# --- the programs: each is given a session and a site, and yields what it sees ---------------------------------------


def plain(session, site):
    for method, path in (("HEAD", "/hello"), ("DELETE", "/status/404"), ("OPTIONS", "/hello")):
        yield seen(session.request(method, site.url(path)))
    for path in ("/hello", "/status/204", "/fields", "/close/100000", "/chunks/100000"):
        yield seen(session.get(site.url(path)))
    yield outcome(session.get(site.url("/status/503")).raise_for_status)


def what_is_sent(session, site):
    url = site.url("/echo?q=1#fragment")
    yield seen(session.get(url, params={"a": "ä b", "c": ["1", "2"]}, headers={"X-A": "1", "x-b": b"caf\xe9"}))
    yield seen(session.get(site.url("/echo", userinfo="ann:secret@")))
    yield seen(session.post(url))
    yield seen(session.post(url, data={"a": "1", "b": ["2", "ü"]}))
    yield seen(session.put(url, json={"a": [1, None, "ü"]}))
    yield seen(session.patch(url, data=b"x" * 1_000_000))
    yield seen(session.post(url, data="text"))
    yield seen(session.post(url, data="café"))
    yield seen(session.post(url, files={"one": ("a.txt", b"file one" * 999, "text/plain")}, data={"k": "v"}))
    yield seen(session.post(url, data=(piece for piece in (b"one", b"two" * 50000, b"three"))))
    yield seen(session.post(url, data=io.BytesIO(pattern(300_000))))
    with open(__file__, "rb") as file:
        file.seek(10)
        yield seen(session.post(url, data=file))


def redirects(session, site):
    for path in ("/redirect/3", "/loop"):
        answer = outcome(lambda path=path: session.get(site.url(path)))
        yield answer if isinstance(answer, str) else seen(answer)
    yield seen(session.get(site.url("/redirect/1"), allow_redirects=False))
    yield seen(session.post(site.url("/see-other"), data=b"gone"))
    yield seen(session.post(site.url("/keep-method"), data=b"kept"))
    yield seen(session.post(site.url("/keep-method"), data=io.BytesIO(b"kept in a file")))


def cookies(session, site):
    yield seen(session.get(site.url("/cookies/set")))
    yield seen(session.get(site.url("/cookies"), cookies={"mine": "3"}))
    yield sorted((one.name, one.value, one.path, one.domain) for one in session.cookies)


def authentication(session, site):
    digest = requests.auth.HTTPDigestAuth
    for auth in ((USER, PASSWORD), digest(USER, PASSWORD), digest(USER, "wrong")):
        for path in ("/basic", "/digest"):
            response = session.get(site.url(path), auth=auth)
            yield response.status_code, response.content, [one.status_code for one in response.history]


def decoding(session, site):
    for path in ("/gzip", "/deflate", "/gzip-chunks", "/gzip-broken"):
        answer = outcome(lambda path=path: session.get(site.url(path)))
        if isinstance(answer, str):
            yield answer
        else:
            assert answer.content == TEXT
            yield seen(answer)
    raw = session.get(site.url("/gzip"), stream=True).raw
    yield raw.read(10), raw.read(decode_content=False)
    yield session.get(site.url("/gzip"), stream=True).raw.read(decode_content=True)
    raw = session.get(site.url("/gzip-chunks"), stream=True).raw
    raw.decode_content = True
    yield b"".join(iter(lambda: raw.read(100), b""))


def downloads(session, site):
    for path in ("/bytes/3000000", "/chunks/2000000", "/close/1000000"):
        for size in (1, 512, 100_000, None):
            with session.get(site.url(path), stream=True) as response:
                if size == 1:
                    yield next(response.iter_content(size))
                    continue
                sums, most = hashlib.sha256(), 0
                for piece in response.iter_content(size):
                    sums.update(piece)
                    most = max(most, len(piece))
                yield sums.hexdigest(), size is None or most <= size, response.raw.closed
        response = session.get(site.url(path), stream=True)
        yield response.raw.read(7), len(response.raw.read(100_000)), len(response.raw.read()), response.raw.read()
        copy = io.BytesIO()
        shutil.copyfileobj(session.get(site.url(path), stream=True).raw, copy)
        yield hashlib.sha256(copy.getvalue()).hexdigest()
        buffered = io.BufferedReader(session.get(site.url(path), stream=True).raw, 4096)
        yield hashlib.sha256(buffered.read(200_000)).hexdigest(), buffered.peek(1)[:1]
        response = session.get(site.url(path), stream=True)
        response.close()
        yield response.raw.closed
    yield list(session.get(site.url("/gzip"), stream=True).iter_lines())
    yield b"".join(session.get(site.url("/gzip-chunks"), stream=True).raw)
    yield seen(session.get(site.url("/hello"), stream=True))


def lines_as_they_come(session, site):
    """The second line is sent when the first was seen."""
    for size in (512, None, 1):
        site.hold()
        lines = []
        with session.get(site.url("/lines"), stream=True) as response:
            for line in response.iter_lines(chunk_size=size):
                lines.append(line)
                site.release()
        yield lines


def failures(session, site):
    # Before urllib3 2, a body that was cut short passed for a whole one.
    short = ("/cut",) if int(urllib3.__version__.split(".")[0]) >= 2 else ()
    for path in (*short, "/cut-chunks", "/nothing", "/garbage"):
        yield path, outcome(lambda path=path: session.post(site.url(path)))
    for sent in (0, 20, 200):  # of a response, before its connection is reset
        yield sent, outcome(lambda sent=sent: session.post(site.url(f"/reset/{sent}")))
    with Blackhole() as hole:
        url = f"http://127.0.0.1:{hole.port}/"
        yield outcome(lambda: session.get(url, timeout=(SHORT_S, LONG_S)))
    for url in ("http://127.0.0.1:1/", "http://no-such-name.invalid/", "ftp://127.0.0.1/", "http://", "nonsense"):
        yield outcome(lambda url=url: session.get(url))
    yield outcome(lambda: session.get(site.url("/hello"), headers={"X-Bad": "a\nb"}))
    for timeout in (0, -1, "1", (1, 2, 3)):
        yield outcome(lambda timeout=timeout: session.get(site.url("/hello"), timeout=timeout))

    def broken():
        yield b"one"
        raise ZeroDivisionError("the program's own")

    yield outcome(lambda: session.post(site.url("/echo"), data=broken()))
    yield seen(session.get(site.url("/hello")))


def timeouts(session, site):
    for timeout in (SHORT_S, (LONG_S, SHORT_S)):
        yield outcome(lambda timeout=timeout: session.get(site.url("/silent"), timeout=timeout))
        yield outcome(lambda timeout=timeout: session.get(site.url("/half"), timeout=timeout))
    for timeout in (urllib3.Timeout(LONG_S, read=SHORT_S), urllib3.Timeout(total=SHORT_S)):
        yield outcome(lambda timeout=timeout: session.get(site.url("/silent"), timeout=timeout))
    for timeout in (None, (None, None), 1e7, urllib3.Timeout(total=LONG_S), urllib3.Timeout()):
        yield seen(session.get(site.url("/hello"), timeout=timeout))


PROGRAMS = (plain, what_is_sent, redirects, cookies, authentication, decoding, downloads, lines_as_they_come, failures,
            timeouts)


class SamePrograms(common.Case):
    """Each program with either adapter."""

    def compare(self, program, certificate=None, **settings):
        for kind in (requests.adapters.HTTPAdapter, ConpoolAdapter):
            with Site(certificate) as site, session_of(kind()) as session:
                for name, value in settings.items():
                    setattr(session, name, value)
                # Ports differ from site to site.
                found = [eval(repr(one).replace(f":{site.port}", ":PORT")) for one in program(session, site)]
            if kind is not ConpoolAdapter:
                expected = found
        for theirs, mine in zip(expected, found):
            self.assertEqual(mine, theirs)
        self.assertEqual(len(found), len(expected))

    def test_programs(self):
        for program in PROGRAMS:
            with self.subTest(program.__name__):
                self.compare(program)

    def test_tls(self):
        def hello(session, site):
            yield outcome(lambda: session.get(site.url("/hello")).content)

        with Authority() as authority:
            certificate, ca = authority.issue("localhost"), str(authority.certificate)
            for program in (plain, what_is_sent, downloads):
                with self.subTest(program.__name__):
                    self.compare(program, certificate, verify=ca)
            for verify in (True, False, "/no/such/file", ca):
                self.compare(hello, certificate, verify=verify)
            self.compare(hello, authority.issue("other.test"), verify=ca)

    def test_client_certificate(self):
        with Authority() as authority:
            chain, key = map(str, authority.issue("someone"))
            with Site(authority.issue("localhost")) as site, session_of(ConpoolAdapter()) as session:
                site.context.load_verify_locations(str(authority.certificate))
                site.context.verify_mode = ssl.CERT_REQUIRED
                session.verify = str(authority.certificate)
                self.assertEqual(session.get(site.url("/hello"), cert=(chain, key)).content, b"hello\n")
                with self.assertRaises(requests.ConnectionError):
                    session.get(site.url("/hello"))


class Adapter(common.Shared, common.Case):
    """What it does beyond that."""

    refused = requests.exceptions.InvalidHeader

    def opened(self):
        return session_of(ConpoolAdapter())

    def behind(self, client):
        return client.get_adapter("http://").client

    def test_keywords_of_the_stock_adapter(self):
        for given, raised, text in (
            ({"verify": False}, TypeError, "session.verify = "),
            ({"cert": "a"}, TypeError, "session.cert = "),
            ({"timeout": 3}, TypeError, "session.get.url, timeout="),
            ({"pool_maxsize": 10}, TypeError, "endpoint_max_connections="),
            ({"pool_connections": 10}, TypeError, "any number of hosts"),
            ({"max_retries": 3}, TypeError, "retry_attempts="),
            ({"pool_block": True}, TypeError, "pool_exhausted="),
            ({"limits": 10}, conpool.UsageError, "conpool.Limits, and no int"),
            ({"allow_redirects": True}, conpool.UsageError, "redirects"),
        ):
            with self.subTest(given), self.assertRaisesRegex(raised, text):
                ConpoolAdapter(**given)

    def test_a_body_of_text_is_refused(self):
        """A ValueError, which is no exception of requests."""
        for data, text in (
            (io.StringIO("text"), "binary mode"),
            ((piece for piece in ("one", "two")), "bytes, and no str"),
            (tempfile.SpooledTemporaryFile(mode="w+"), "bytes, and no str"),
        ):
            with Site() as site, self.opened() as session, self.assertRaisesRegex(ValueError, text) as caught:
                if isinstance(data, tempfile.SpooledTemporaryFile):
                    data.write("text")
                    data.seek(0)
                session.post(site.url("/echo"), data=data)
            self.assertNotIsInstance(caught.exception, requests.RequestException)
            data.close()

    def test_connections_are_used_again(self):
        with Site() as site, session_of(ConpoolAdapter()) as session:
            for i in range(4):
                response = session.get(site.url("/peer"))
                self.assertEqual(response.json(), [1, i + 1])
                self.assertEqual(response.raw.conpool.connection.reused, i > 0)
            session.get(site.url("/bytes/3000000"), stream=True).close()
            self.assertEqual(session.get(site.url("/peer")).json(), [2, 1])
            self.assertEqual(session.get(site.url("/peer"), headers={"Connection": "close"}).json(), [3, 1])
            self.assertEqual(session.get(site.url("/peer")).json(), [2, 2])

    def test_trust_divides(self):
        """What was verified with one file of certificates is not used for another."""
        with Authority() as authority, Authority("another CA") as other, session_of(ConpoolAdapter()) as session:
            with Site(authority.issue("localhost")) as site:
                for _ in range(2):
                    self.assertEqual(session.get(site.url("/peer"), verify=False).status_code, 200)
                    self.assertEqual(session.get(site.url("/peer"), verify=str(authority.certificate)).status_code, 200)
                    for verify in (True, str(other.certificate)):
                        with self.assertRaises(requests.exceptions.SSLError):
                            session.get(site.url("/peer"), verify=verify)
                self.assertEqual(session.get(site.url("/peer"), verify=False).json(), [1, 3])

    def test_errors_tell_what_conpool_knows(self):
        with session_of(ConpoolAdapter()) as session, Site() as site:
            with self.assertRaises(requests.ConnectionError) as raised:
                session.get("http://127.0.0.1:1/")
            cause = raised.exception.__cause__
            self.assertIsInstance(cause, conpool.ConnectError)
            self.assertTrue(cause.safe_to_retry)
            self.assertEqual([one.status for one in cause.attempts], ["E_CONNECT_REFUSED"])
            self.assertEqual(raised.exception.request.url, "http://127.0.0.1:1/")
            with self.assertRaises(requests.exceptions.ChunkedEncodingError) as raised:
                session.get(site.url("/cut"))
            self.assertIsInstance(raised.exception.args[0].__cause__, conpool.HTTPError)

    def test_every_error_has_a_meaning(self):
        for name in dir(conpool):
            kind = getattr(conpool, name)
            if isinstance(kind, type) and issubclass(kind, conpool.HTTPError):
                meant = next(theirs for ours, theirs in conpool.requests._MEANING if issubclass(kind, ours))
                self.assertTrue(issubclass(meant, requests.RequestException))

    def test_limits_beside_connecting_and_reading(self):
        with Site() as site, session_of(ConpoolAdapter(total_timeout=SHORT_S)) as session:
            with self.assertRaises(requests.Timeout):
                session.get(site.url("/silent"))
        limits = conpool.Limits(max_connections=1)
        with Site() as site, session_of(ConpoolAdapter(limits, queue_timeout=SHORT_S)) as session:
            with session.get(site.url("/half"), stream=True), self.assertRaises(requests.ConnectionError) as raised:
                session.get(site.url("/hello"))
            self.assertIsInstance(raised.exception, requests.Timeout)
            self.assertEqual(session.get(site.url("/hello")).status_code, 200)

    def test_proxies_are_refused(self):
        with Site() as site, session_of(ConpoolAdapter()) as session:
            with self.assertRaises(requests.exceptions.ProxyError) as raised:
                session.get(site.url("/hello"), proxies={"http": "http://ann:secret@127.0.0.1:1"})
            self.assertIn("no proxy", str(raised.exception))
            self.assertIn("127.0.0.1:1", str(raised.exception))
            self.assertNotIn("secret", str(raised.exception))
            self.assertEqual(site.connections, 0)
            session.trust_env = True
            os.environ["http_proxy"] = "http://127.0.0.1:1"
            try:
                with self.assertRaises(requests.exceptions.ProxyError):
                    session.get("http://name.test/")
            finally:
                del os.environ["http_proxy"]
            self.assertEqual(session.get(site.url("/hello"), proxies={"https": "http://127.0.0.1:1"}).status_code, 200)

    def test_wrong_options(self):
        with self.assertRaisesRegex(conpool.UsageError, "pool_conections"):
            ConpoolAdapter(pool_conections=3)
        with Site() as site, session_of(ConpoolAdapter()) as session:
            with self.assertRaisesRegex(OSError, "is a folder"):
                session.get(site.url("/hello").replace("http:", "https:"), verify="/etc")

    def test_response_that_nobody_closed(self):
        with Site() as site, session_of(ConpoolAdapter()) as session:
            response = session.get(site.url("/half"), stream=True)
            client = session.get_adapter("http://").client
            del response
            poll_until(lambda: gc.collect() is None or not client.stats()["pool"]["figures"]["requests.running"],
                       "the request's end")

    def test_pickled(self):
        adapter = ConpoolAdapter(conpool.Limits(max_connections=3), retry_attempts=2)
        again = pickle.loads(pickle.dumps(adapter))
        self.assertEqual(repr(again.client), repr(adapter.client))
        adapter.close()
        again.close()

    def test_used_after_close(self):
        with Site() as site, session_of(ConpoolAdapter()) as session:
            session.get(site.url("/hello"))
            session.close()
            self.assertEqual(session.get(site.url("/hello")).status_code, 200)

    def test_http2(self):
        with Authority() as authority, Node("both", certificate=authority.issue("localhost")) as node:
            with session_of(ConpoolAdapter()) as session:
                session.verify = str(authority.certificate)
                for _ in range(3):
                    response = session.get(node.url("/bytes/100000"))
                    self.assertEqual((response.raw.version, response.content), (20, pattern(100000)))
                self.assertEqual(session.post(node.url("/echo"), data=pattern(300000)).raw.version, 20)
            self.assertEqual(node.counts()["connections"], 1)


if __name__ == "__main__":
    common.support.main()
