"""What becomes of arguments: options, timeout and limits as httpx has them, headers, URLs."""

import pathlib
import re
import unittest
from datetime import timedelta

import support
import conpool
from conpool import _base, _config, _errors
from conpool._config import OPTIONS, text_of
from conpool._integration import ELSEWHERE


class Options(support.Case):
    def test_values(self):
        for keyword, value, text in (
            ("connect_timeout", 3, "3000000000ns"),
            ("connect_timeout", 0.25, "250000000ns"),
            ("connect_timeout", "3s", "3s"),
            ("connect_timeout", timedelta(milliseconds=7), "7000000ns"),
            ("connect_timeout", timedelta(hours=1), "3600000000000ns"),
            ("pool_max", 8, "8"),
            ("pool_max_pinned", "1MiB", "1MiB"),
            ("tls_insecure", True, "true"),
            ("tls_insecure", False, "false"),
            ("race_family", "v4_only", "v4_only"),
            ("tls_min_version", 1.3, "1.3"),
            ("tls_alpn", ["h2", "http/1.1"], "h2,http/1.1"),
            ("retry_statuses", (502, "503-504"), "502,503-504"),
            ("retry_statuses", "", ""),
            ("dns_servers", ["127.0.0.1"], "127.0.0.1"),
            ("check_send", b"PING\r\n\x00\xff", "\\x50\\x49\\x4e\\x47\\x0d\\x0a\\x00\\xff"),
            ("check_send", "PING\\r\\n", "PING\\r\\n"),
            ("tls_ca_file", pathlib.Path("/etc/ca.pem"), "/etc/ca.pem"),
            ("tls_ca_pem", b"text", "text"),
        ):
            self.assertEqual(text_of(OPTIONS[keyword], value), text)
            _config.make_config({keyword: value})

    def test_wrong_values(self):
        for options, word in (
            ({"connect_timeout": float("nan")}, "connect_timeout"),
            ({"connect_timeout": float("inf")}, "connect_timeout"),
            ({"connect_timeout": -1}, "connect_timeout"),
            ({"pool_max": 1.5}, "pool_max"),
            ({"pool_max": True}, "pool_max"),
            ({"race_family": 7}, "race_family"),
            ({"poolmax": 3}, "did you mean .pool_max"),
            ({"pool_max": 10**30}, "pool_max"),
            ({"pool_min": 5, "pool_max": 2}, "pool_min .5. is greater than pool_max"),
        ):
            with self.assertRaisesRegex(conpool.UsageError, word, msg=options):
                conpool.Client(**options)
        with self.assertRaisesRegex(TypeError, "pool_max.* object"):
            conpool.Client(pool_max=object())
        with self.assertRaisesRegex(conpool.TLSError, "tls_ca_file.*/nowhere"):
            conpool.Client(tls_ca_file="/nowhere")

    def test_options_in_texts_of_the_library(self):
        """They are written as keywords; hosts that are called like them are left alone."""
        for said, expected in (
            (
                "pool.max_uses = 1: raise it, or pool.max.",
                "pool_max_uses = 1: raise it, or pool_max.",
            ),
            ('did you mean "tls.ca_file"?', 'did you mean "tls_ca_file"?'),
            ("GET http://pool.max/ at pool.max.test", "GET http://pool.max/ at pool.max.test"),
            ("a.pool.max, x@pool.max, my-pool.max", "a.pool.max, x@pool.max, my-pool.max"),
        ):
            self.assertEqual(_errors._words(said.encode()), expected)

    def test_keywords_of_httpx_and_requests(self):
        """What is no option of conpool is refused with what there is instead."""
        for keyword, word in (
            ("follow_redirects", "ConpoolTransport"),
            ("auth", "ConpoolTransport"),
            ("cookies", "ConpoolTransport"),
            ("verify", "tls_ca_file="),
            ("cert", "tls_cert_file="),
            ("http2", "http_version="),
            ("transport", "ConpoolTransport"),
            ("proxies", "not supported yet"),
            ("trust_env", "environment"),
            ("uds", "Unix socket"),
            ("local_address", "the system"),
            ("socket_options", "tcp_keepalive="),
        ):
            with self.subTest(keyword), conpool.Client() as client:
                for call in (
                    lambda given: conpool.Client(**given),
                    lambda given: conpool.AsyncClient(**given),
                    lambda given: client.get("http://127.0.0.1:1", **given),
                ):
                    with self.assertRaisesRegex(
                        conpool.UsageError, f"{keyword}=.*{word}"
                    ) as caught:
                        call({keyword: True})
                    self.assertEqual(caught.exception.name, "E_UNKNOWN_OPTION")
        self.assertEqual(set(ELSEWHERE) & set(OPTIONS), set())
        named = {name for text in ELSEWHERE.values() for name in re.findall(r"(\w+)=", text)}
        self.assertLessEqual(named, set(OPTIONS))

    def test_timeouts_and_limits_of_others(self):
        for name in ("timeout", "limits"):
            of_httpx = type(name.title(), (), {"__module__": "httpx"})()
            with self.assertRaisesRegex(
                conpool.UsageError, rf"conpool\.{name.title()}, and no httpx\.{name.title()}$"
            ):
                conpool.Client(**{name: of_httpx})
            with self.assertRaisesRegex(conpool.UsageError, "and no list$"):
                conpool.Client(**{name: [1]})

    def test_names_as_the_library_writes_them(self):
        with conpool.Client(**{"pool.max": 3}) as client:
            self.assertIn("pool.max = 3", client.explain("http://a.test"))

    def test_none_is_not_given(self):
        with conpool.Client(pool_max=None, timeout=conpool.UNSET, limits=None) as client:
            self.assertNotIn("pool.max =", client.explain("http://a.test"))
            self.assertEqual(repr(client), "Client()")

    def test_timeout(self):
        with conpool.Client(timeout=2.5) as client:
            explained = client.explain("http://a.test")
            for name in (
                "connect.timeout",
                "tls.timeout",
                "first_byte.timeout",
                "stall.timeout",
                "queue.timeout",
            ):
                self.assertIn(f"{name} = 2500ms", explained.replace("2.5s", "2500ms"))
            self.assertNotIn("total.timeout", explained)
        options = conpool.Timeout(5, read=None, total=9).options()
        self.assertEqual((options["connect_timeout"], options["total_timeout"]), (5, 9))
        self.assertEqual((options["first_byte_timeout"], options["stall_timeout"]), (86400, 86400))
        self.assertNotIn("dial_timeout", options)
        self.assertEqual(
            conpool.Timeout(read=3, write=7).options(),
            {"first_byte_timeout": 3, "stall_timeout": 7},
        )
        for none in (None, conpool.Timeout(None)):
            with conpool.Client(timeout=none) as client:
                self.assertIn("total.timeout = 24h", client.explain("http://a.test"))
        self.assertEqual(conpool.Timeout(None, total=7).options()["total_timeout"], 7)
        self.assertEqual(conpool.Timeout(3), conpool.Timeout(3))
        # An option by its own keyword has the last word.
        with conpool.Client(timeout=3, connect_timeout=1) as client:
            self.assertIn("connect.timeout = 1s", client.explain("http://a.test"))

    def test_a_timeout_beyond_the_defaults(self):
        """What bounds it from above is raised, and what was given by its own keyword is not."""
        with conpool.Client(timeout=300) as client:
            told = client.explain("http://a.test").replace("300s", "5min")
            for name in ("total", "dial", "first_byte", "stall", "tcp.user"):
                self.assertRegex(told, rf"\b{name}[._]timeout = 5min")
            self.assertEqual(client._times(600)["total_timeout"], 600)
        with conpool.Client(timeout=300, total_timeout=7, dial_timeout=9) as client:
            told = client.explain("http://a.test")
            self.assertIn("total.timeout = 7s", told)
            self.assertIn("dial.timeout = 9s", told)
            self.assertNotIn("total_timeout", client._times(600))
        with conpool.Client() as client:
            self.assertEqual(client._times(61)["total_timeout"], 61)
            self.assertNotIn("total_timeout", client._times(59))
            self.assertNotIn("tcp_user_timeout", client._times(600))

    def test_kinds_of_timeouts(self):
        for given in (2.5, timedelta(seconds=2.5), "2500ms"):
            with self.subTest(given=given):
                self.assertEqual(conpool.Timeout(given).options()["stall_timeout"], 2.5)
                options = conpool.Timeout(read=given, write=1, total=given).options()
                self.assertEqual((options["stall_timeout"], options["total_timeout"]), (2.5, 2.5))
        for odd in ((3, 4), "soon", object(), [1]):
            with self.assertRaisesRegex(conpool.UsageError, "conpool.Timeout"):
                conpool.Client(timeout=odd)
            with conpool.Client() as client, self.assertRaises(conpool.UsageError):
                client.get("http://127.0.0.1:1", timeout=odd)

    def test_limits(self):
        limits = conpool.Limits(max_connections=7, max_keepalive_connections=3, keepalive_expiry=5)
        with conpool.Client(limits=limits) as client:
            explained = client.explain("http://a.test")
            for line in ("endpoint.max_connections = 7", "pool.idle_timeout = 5s"):
                self.assertIn(line, explained)
        self.assertEqual(
            conpool.Limits(max_keepalive_connections=0).options(), {"pool_idle_timeout": 0}
        )
        self.assertEqual(
            conpool.Limits(keepalive_expiry=None).options(), {"pool_idle_timeout": 86400}
        )
        self.assertEqual(conpool.Limits().options(), {})
        self.assertEqual(
            conpool.Limits(max_connections=10**9).options(),
            {"pool_max_connections": 10**6, "endpoint_max_connections": 65536},
        )
        conpool.Client(limits=conpool.Limits(max_connections=10**9)).close()

    def test_repr_hides_secrets(self):
        client = conpool.Client(base_url="http://a", partition="p")
        client._options.update(tls_key_pem="-----BEGIN", proxy="http://u:p@x", tls_key_file="k")
        text = repr(client)
        self.assertIn("partition='p'", text)
        self.assertNotIn("BEGIN", text)
        self.assertNotIn("u:p", text)
        client.close()


class Headers(unittest.TestCase):
    def test_mapping(self):
        headers = conpool.Headers([("A", "1"), ("b", b"2"), ("a", "3")])
        self.assertEqual(headers["a"], "1, 3")
        self.assertEqual(dict(headers), {"a": "1, 3", "b": "2"})
        self.assertEqual((len(headers), list(headers)), (2, ["a", "b"]))
        self.assertEqual(headers.multi_items(), [("A", "1"), ("b", "2"), ("a", "3")])
        self.assertTrue("B" in headers and "c" not in headers)
        self.assertEqual(headers, conpool.Headers({"B": "2", "a": "1"}.items() | {("A", "3")}))
        self.assertNotEqual(headers, conpool.Headers({"a": "1"}))
        self.assertEqual(conpool.Headers(headers), headers)
        self.assertEqual(conpool.Headers(None), conpool.Headers({}))
        self.assertIn("'A', '1'", repr(headers))
        with self.assertRaises(KeyError):
            headers["c"]

    def test_changed(self):
        headers = conpool.Headers([("A", "1"), ("b", "2"), ("a", "3")])
        headers["a"] = "4"
        self.assertEqual(headers.multi_items(), [("b", "2"), ("a", "4")])
        headers.update({"C": b"5"}, d="6")
        self.assertEqual(dict(headers), {"b": "2", "a": "4", "c": "5", "d": "6"})
        del headers["B"]
        self.assertEqual((headers.pop("c"), headers.pop("c", None)), ("5", None))
        self.assertEqual(headers.setdefault("D", "7"), "6")
        self.assertEqual(headers.multi_items(), [("a", "4"), ("d", "6")])
        with self.assertRaises(KeyError):
            del headers["c"]
        with self.assertRaisesRegex(conpool.UsageError, "'a' is text or bytes, and no int"):
            headers["a"] = 5
        self.assertEqual(headers["a"], "4")

    def test_what_is_no_text(self):
        for headers, named in (
            ({"x-a": None}, "'x-a' is text or bytes, and no NoneType"),
            ([("x-a", "1"), ("x-b", 5)], "'x-b' is text or bytes, and no int"),
            ({7: "1"}, "7 is text or bytes, and no int"),
        ):
            with conpool.Client() as client:
                for call in (
                    lambda given: conpool.Client(headers=given),
                    lambda given: client.get("http://127.0.0.1:1", headers=given),
                    lambda given: client.post("http://127.0.0.1:1", content=[], trailers=given),
                ):
                    with self.assertRaisesRegex(conpool.UsageError, named):
                        call(headers)


class Urls(support.Case):
    def test_what_is_no_text(self):
        of_httpx = type("URL", (), {"__module__": "httpx"})()
        for given, named in ((None, "NoneType"), (b"http://a", "bytes"), (of_httpx, "httpx.URL")):
            with conpool.Client() as client:
                for call in (client.get, client.endpoint, client.connect, client.explain):
                    with self.assertRaisesRegex(conpool.UsageError, f"text, and no {named}$"):
                        call(given)
                with self.assertRaisesRegex(conpool.UsageError, f"method is text, and no {named}$"):
                    client.request(given, "http://127.0.0.1:1")
            if given:
                with self.assertRaisesRegex(
                    conpool.UsageError, f"base_url.* text, and no {named}$"
                ):
                    conpool.Client(base_url=given)

    def test_made(self):
        for arguments, expected in (
            (("", "http://a/b?c#d", None), "http://a/b?c"),
            (("http://a/v1/", "/b", None), "http://a/v1/b"),
            (("http://a/v1", "", {"x": 1}), "http://a/v1?x=1"),
            (("http://a", "https://b/", None), "https://b/"),
            (
                ("http://a", "/", {"n": None, "t": True, "f": False, "o": 1}),
                "http://a/?n=&t=true&f=false&o=1",
            ),
            (("http://a", "/", [("x", [1, "2"]), ("x", b"3")]), "http://a/?x=1&x=2&x=3"),
            (
                ("", "http://b\u00fccher.example/\u00fc?\u00fc", None),
                "http://xn--bcher-kva.example/%C3%BC?%C3%BC",
            ),
            (("", "http://b\u00fccher.example:81/", None), "http://xn--bcher-kva.example:81/"),
            (("", "http://a/%C3%BC b", None), "http://a/%C3%BC%20b"),
            (("", "http://a/\x7f", None), "http://a/%7F"),
            (("http://a", "/go?to=http://b/", None), "http://a/go?to=http://b/"),
            (("http://a", "h2+x://b/", None), "h2+x://b/"),
        ):
            self.assertEqual(_base.make_url(*arguments), expected)
        for odd in "\r\n\t":
            with self.assertRaisesRegex(conpool.InvalidURL, "line end"):
                _base.make_url("", f"http://a/{odd}b", None)
            with self.assertRaisesRegex(conpool.InvalidURL, "line end"):
                _base.make_url("", "http://a/", f"x={odd}")
        with self.assertRaises(conpool.InvalidURL):
            _base.make_url("", "http://\u00fc" + "x" * 80 + "/", None)

    def test_hosts_that_depend_on_the_rules(self):
        """IDNA 2003 writes these letters as others, or leaves them out, and IDNA 2008 does not."""
        with conpool.Client() as client:
            for host in ("stra\u00dfe.de", "STRA\u1e9eE.de", "\u03b2\u03cc\u03bb\u03bf\u03c2.com",
                         "a\u200cb.test", "a\u200db.test"):  # fmt: skip
                for call in (
                    lambda host=host: client.get(f"https://{host}/"),
                    lambda host=host: client.connect(host, 443, tls=True),
                    lambda host=host: client.endpoint(f"https://{host}"),
                ):
                    with self.assertRaisesRegex(conpool.InvalidURL, "A-labels, xn--"):
                        call()
        path = "http://a/stra%C3%9Fe"
        self.assertEqual(_base.make_url("", "http://a/stra\u00dfe", None), path)


if __name__ == "__main__":
    support.main()
