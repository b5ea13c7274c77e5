"""pooler's command line: help, version, the list of options, and each bad argument refused in words."""

import pathlib
import re
import socket
import tempfile

import pooler_program
from pooler_program import PoolerTest

from processes import main


class ArgumentsTest(PoolerTest):
    def test_help_names_the_verbs_and_exit_codes(self):
        out, err = self.pooler("--help")
        for word in ("get", "demo", "connect", "explain", "options", "Exit codes"):
            self.assertIn(word, out)
        self.assertEqual(err, "")
        for verb in ("get", "demo", "connect", "explain", "options"):
            self.assertIn(verb, self.pooler(verb, "--help")[0])

    def test_version_is_the_librarys(self):
        self.assertRegex(self.pooler("--version")[0], r"^pooler \d+\.\d+\.\d+\n$")

    def test_options_lists_each_with_its_default(self):
        out, _ = self.pooler("options")
        self.assertIn("connect.retries  count, request, default 0\n    how often a failed dial is repeated; 0 to 100\n", out)
        self.assertIn("balance.vanished  choice, endpoint, default drain\n", out)
        self.assertTrue(all(len(line) <= 100 for line in out.splitlines()), out)
        few, _ = self.pooler("options", "retry_delay")
        self.assertEqual(re.findall(r"^\S+", few, re.M), ["connect.retry_delay", "connect.retry_delay_max"])
        self.refused("options", "conect.retries", words=["conect.retries", 'did you mean "connect.retries"?'])


class BadArgumentsTest(PoolerTest):
    def test_verbs_and_flags(self):
        self.refused(words=["a verb is missing", "demo, connect, explain or options"])
        self.refused("conect", words=['"conect" is not a verb', 'did you mean "connect"?'])
        self.refused("fly", words=['"fly" is not a verb', "demo, connect, explain or options"])
        self.refused("connect", words=["HOST:PORT is missing"])
        self.refused("connect", "a:1", "b:2", words=['"b:2" is one argument too many'])
        self.refused("connect", "a:1", "--tsl", words=['"--tsl" is not a flag', 'did you mean "--tls"?'])
        self.refused("connect", "a:1", "--servername=b", words=['"--servername=b"', 'did you mean "--server-name"?'])
        self.refused("demo", "--tls", words=['"--tls" is not a flag of pooler demo'])
        self.refused("connect", "a:1", "--tls", "--ca", words=["--ca"])

    def test_flags_that_contradict(self):
        self.refused("connect", "a:1", "--ca", "/none", words=["--ca needs --tls"])
        self.refused("connect", "a:1", "--insecure", words=["--insecure needs --tls"])
        self.refused("connect", "a:1", "--alpn", "h2", words=["--alpn needs --tls"])
        self.refused("connect", "a:1", "--server-name", "b", words=["--server-name needs --tls"])
        self.refused("connect", "a:1", "--starttls", "postgres", words=["--starttls needs --tls"])
        self.refused("connect", "tcp://a:1", "--tls", words=["--tls contradicts", '"tls://a:1"'])
        self.refused("connect", "unix:/a", "--tls", words=["--tls cannot be used", "unix:/a"])
        self.refused("connect", "192.0.2.1:1,192.0.2.2:2", "--tls", words=["tls.server_name"])

    def test_ports(self):
        for port in ("0", "99999", "-1", "x", "65536", "", "1,0"):
            with self.subTest(port=port):
                self.refused("connect", f"localhost:{port}", words=["HOST:PORT", "port", "from 1 to 65535"])
        self.refused("connect", "localhost", words=["has no port", "host:port"])
        self.refused("connect", "[::1]", words=["has no port", "host:port"])
        self.refused("connect", "127.0.0.1:0,127.0.0.1:1", words=["HOST:PORT", "port", "from 1 to 65535"])

    def test_names(self):
        for name, words in {
            "a..b": ["empty label"],
            "a" * 64 + ".b": ["64 bytes", "at most 63"],
            "a b": ["space"],
            " a": ["space"],
            "0x7f.1": ["dotted quad"],
            "127.1": ["dotted quad"],
            "1.2.3.4.5": ["dotted quad"],
            "b\u00fccher.example": ["non-ASCII", "A-label"],
            "a\tb": ["\\x09"],
            "": ["empty"],
            "[::1": ["IPv6"],
        }.items():
            with self.subTest(name=name):
                self.refused("connect", f"{name}:80", words=["HOST:PORT", *words])

    def test_urls(self):
        for url, words in {
            "htp://a:1": ['"htp"', "tcp://host:port"],
            "http://a:1": ["for requests", "tcp://a:1", "pooler get"],
            "https://a": ["for requests", "pooler get"],
            "tcp://a:1/path": ["path"],
            "tcp://user@a:1": ["user information"],
            "tcp://a": ["no port"],
            "tcp://": [],
            "://a:1": [],
            "unix:": ["absolute path"],
            "unix:a/b": ["absolute path"],
            "unix:/" + "x" * 200: ["unix"],
            "192.0.2.1:1,nothing:2": ["nothing"],
            ",:": [],
            "": ["HOST:PORT is empty"],
        }.items():
            with self.subTest(url=url):
                self.refused("connect", url, words=words)
                self.refused("explain", "--dry", url, words=words)

    def test_options(self):
        for option, words in {
            "conect.retries=3": ["conect.retries", 'did you mean "connect.retries"?'],
            "nothing.like.this.at.all=1": ["nothing.like.this.at.all"],
            "connect.retries=x": ["connect.retries", '"x"', "from 0 to 100"],
            "connect.retries=101": ["connect.retries", "from 0 to 100"],
            "connect.retries=-1": ["connect.retries", "from 0 to 100"],
            "connect.timeout=5": ["connect.timeout", '"5"', "ms"],
            "connect.timeout=-5s": ["connect.timeout"],
            "tls.insecure=perhaps": ["tls.insecure", "true"],
            "race.family=v5": ["race.family", "v4_only"],
            "pool.max_pinned=1PiB": ["pool.max_pinned"],
            "dns.servers=nonsense": ["dns.servers"],
            "proxy=http://p:1": ["proxy", "not supported yet"],
            "connect.retries": ["name=value"],
            "=3": ["name=value"],
            "": ["name=value"],
        }.items():
            with self.subTest(option=option):
                self.refused("connect", "127.0.0.1:1", "-o", option, words=words)

    def test_tls_files(self):
        with tempfile.TemporaryDirectory() as place:
            empty = pathlib.Path(place) / "empty.pem"
            empty.touch()
            for file in (pathlib.Path(place) / "none.pem", place, empty):
                with self.subTest(file=file):
                    self.refused("connect", "127.0.0.1:1", "--tls", "--ca", file, words=["tls.ca_file"])

    def test_nothing_is_connected_to_before_all_is_checked(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.settimeout(0)
            self.refused("connect", f"127.0.0.1:{listener.getsockname()[1]}", "-o", "connect.retries=x")
            with self.assertRaises(BlockingIOError):
                listener.accept()


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
