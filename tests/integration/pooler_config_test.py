"""The harness's settings: flags and configuration file, each of them wrong in turn, and which one counts."""

import json
import pathlib
import resource
import subprocess
import tempfile

import pooler_program
from pooler_program import PoolerTest

from processes import main

GOOD = {"host": "server.test", "port": 8080}


class ConfigTest(PoolerTest):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)

    def config(self, content):
        """A file with this text, or these settings as JSON."""
        file = self.place / "config.json"
        file.write_bytes(content if isinstance(content, bytes) else
                         content.encode() if isinstance(content, str) else json.dumps(content).encode())
        return file

    def wrong(self, content, *words, flags=()):
        file = self.config(content)
        return self.refused("--config", file, *flags, words=[str(file), *words])

    def simulated(self, *arguments, code=0):
        return self.pooler("--simulate", *arguments, code=code)[0]


class BadConfigTest(ConfigTest):
    def test_types(self):
        for key, value, shown, allowed in (
                ("host", 1, "1", "a name or an address"),
                ("host", None, "null", "a name or an address"),
                ("host", "", '""', "a name or an address"),
                ("host", {"name": "a"}, "an object", "a name or an address"),
                ("port", "8080", '"8080"', "from 1 to 65535"),
                ("port", 80.5, "80.5", "from 1 to 65535"),
                ("port", True, "true", "from 1 to 65535"),
                ("port", [80], "an array", "from 1 to 65535"),
                ("pool_size", "ten", '"ten"', "from 1 to 65536"),
                ("requests", 1.5, "1.5", "from 1 to 10000000"),
                ("tls", 1, "1", "true or false"),
                ("h2", "yes", '"yes"', "true or false"),
                ("inject_failures", 1, "1", "true, false or a plan"),
                ("inject_failures", "", '""', "true, false or a plan"),
                ("metrics", "xml", '"xml"', "text, json or openmetrics"),
                ("metrics", True, "true", "text, json or openmetrics"),
                ("path", "index", '"index"', "begins with /"),
                ("rate", "fast", '"fast"', "from 0.001 to 1000000"),
                ("seed", "x", '"x"', "from 0 to 9223372036854775807"),
                ("options", 1, "1", "an object"),
                ("options", [], "an array", "an object")):
            with self.subTest(key=key, value=value):
                self.wrong({**GOOD, key: value}, f'"{key}" is {shown}: write ', allowed)

    def test_ranges(self):
        for key, value, allowed in (
                ("port", 0, "from 1 to 65535"),
                ("port", -1, "from 1 to 65535"),
                ("port", 70000, "from 1 to 65535"),
                ("pool_size", 0, "from 1 to 65536"),
                ("pool_size", -10, "from 1 to 65536"),
                ("connect_timeout_ms", 0, "from 1 to 3600000"),
                ("connect_timeout_ms", -500, "from 1 to 3600000"),
                ("read_timeout_ms", -1, "from 1 to 3600000"),
                ("idle_timeout_ms", -1, "from 0 to 86400000"),
                ("requests", 0, "from 1 to 10000000"),
                ("concurrency", 0, "from 1 to 10000"),
                ("rate", 0, "from 0.001 to 1000000"),
                ("rate", -5, "from 0.001 to 1000000"),
                ("seed", -1, "from 0 to 9223372036854775807"),
                ("seed", 1 << 63, "from 0 to 9223372036854775807")):
            with self.subTest(key=key, value=value):
                self.wrong({**GOOD, key: value}, f'"{key}" is ', allowed)

    def test_keys(self):
        self.wrong({**GOOD, "prot": 1}, '"prot" is no key', 'did you mean "port"?')
        self.wrong({**GOOD, "Pool_Size": 1}, '"Pool_Size" is no key', 'did you mean "pool_size"?')
        self.wrong({**GOOD, "something_else": 1}, '"something_else" is no key; the keys are', "pool_size", "and options")
        self.wrong({**GOOD, "a\nb": 1}, '"a\\nb" is no key')
        self.refused("--config", self.config({"port": 80}), words=["--host is missing"])
        self.refused("--config", self.config({"host": "a"}), words=["--port is missing"])
        self.refused("--config", self.config({**GOOD, "host": "a..b"}), words=['"host" "a..b": ', "empty label"])

    def test_options(self):
        self.wrong({**GOOD, "options": {"conect.retries": 1}}, "options", 'did you mean "connect.retries"?')
        self.wrong({**GOOD, "options": {"connect.retries": "x"}}, "options", "connect.retries", "from 0 to 100")
        self.wrong({**GOOD, "options": {"connect.retries": None}}, '"connect.retries" is null')
        self.wrong({**GOOD, "options": {"connect.retries": [1]}}, '"connect.retries" is an array')
        self.wrong('{"options": {"a.b": {}}}', '"a.b" is an object')
        self.wrong('{"options": {"connect.retries": 1, "connect.retries": 1}}', '"connect.retries" is written twice')

    def test_plans(self):
        """An error names what was written: the key, the flag or the option."""
        error = self.wrong({**GOOD, "inject_failures": "no_such_fault"}, '"inject_failures", rule 1: "no_such_fault" is no')
        self.assertNotIn("fault.plan", error)
        error = self.refused("--simulate", "--inject-failures=reset; reset p=5")
        self.assertTrue(error.startswith('pooler: --inject-failures, rule 2 (reset): "p=5": write a share'), error)
        self.refused("--config", self.config({**GOOD, "inject_failures": "no_such_fault"}), "--inject-failures=nor_this",
                     words=['pooler: --inject-failures, rule 1: "nor_this"'])
        for flags in (["-O", "fault.plan=bad"], ["--inject-failures", "-O", "fault.plan=bad"]):
            self.refused("--simulate", *flags, words=['fault.plan, rule 1: "bad"'])
        self.refused("--simulate", "--inject-failures", "-O", "fault.pla=reset", words=['did you mean "fault.plan"?'])
        self.refused("--host", "a", "--port", 1, "-v", "--inject-failures=bad", words=["--inject-failures, rule 1"])

    def test_plans_in_a_word_of_their_own(self):
        self.refused("--simulate", "--inject-failures=", words=['--inject-failures is ""', "a plan"])
        self.refused("--simulate", "--inject-failures=reset", "--inject-failures=", words=['--inject-failures is ""'])
        for plan in ("reset:p=0.1", "reset p=10%", "x\ny"):
            shown = plan.replace("\n", "\\n")
            self.refused("--simulate", "--inject-failures", plan,
                         words=[f'"{shown}" is not a verb; did you mean "--inject-failures={shown}"?'])
        self.refused("--simulate", "--inject-failures=reset", "p=10%",
                     words=['did you mean "--inject-failures=reset p=10%"?'])
        self.refused("--simulate", "--inject-failures", "--size", "4", "reset", words=['"reset" is not a verb; '])
        error = self.refused("--simulate", "--inject-failures=reset", "--sise", "4", words=['did you mean "--size"?'])
        self.assertNotIn("--inject-failures", error)

    def test_text(self):
        whole = json.dumps({**GOOD, "options": {"connect.retries": "1"}})
        for end in range(len(whole)):
            with self.subTest(end=end):
                self.wrong(whole[:end], "no valid JSON", "line 1, column")
        for text, words in {
            "{}}": ["no valid JSON"],
            '{"port": 80,}': ["no valid JSON"],
            "{'port': 80}": ["no valid JSON"],
            '{"port": 808 0}': ["no valid JSON"],
            '{"port": 80} // ours': ["no valid JSON"],
            '{"port": 80, "port": 80}': ['"port" is written twice'],
            '{"host": "a", "port": 80, "host": "b"}': ['"host" is written twice'],
            "[]": ["it is an array", "an object"],
            "null": ["it is null", "an object"],
            '"host"': ['it is "host"', "an object"],
            "80": ["it is 80", "an object"],
            "[" * 100_000: ["it is an array"],
        }.items():
            with self.subTest(text=text[:60]):
                self.wrong(text, *words)
        self.wrong(b'{"host": "\xff\xfe"}', "no valid JSON")
        self.wrong(b"\0" * 100, "no valid JSON")
        self.wrong(b'{"host": "' + b"x" * (2 << 20) + b'"}', "longer than 1 MiB")

    def test_files(self):
        self.refused("--config", self.place / "none.json", words=["none.json", "No such file"])
        self.refused("--config", self.place, words=[str(self.place), "directory"])
        self.refused("--config", "", words=["--config", "No such file"])
        self.refused("--config", words=["--config"])

    def run_limited(self, descriptors, *arguments):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        return subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, preexec_fn=limit,
                              timeout=60)

    def test_size_over_the_limit_of_descriptors(self):
        host = ("--host", "a", "--port", 1)
        for descriptors, arguments, words in (
                (256, ("--config", self.config({**GOOD, "pool_size": 250})), ['"pool_size" is 250', "at most 224", "256"]),
                (256, (*host, "--size", 250), ["--size is 250", "at most 224", "256"]),
                (40, host, ["--size is 10 unless given", "at most 8", "40"]),
                (20, host, ["--size is 10 unless given", "is 20", "at least 33"]),
                (256, ("--restart-demo", "--size", 120), ["--size is 120", "at most 112"]),  # both ends are its own
                (40, ("--restart-demo",), ["--size is 10 unless given", "at most 4"])):
            with self.subTest(descriptors=descriptors, arguments=arguments):
                done = self.run_limited(descriptors, *arguments)
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
                for word in (*words, "RLIMIT_NOFILE"):
                    self.assertIn(word, done.stderr)

    def test_a_simulated_size_needs_no_descriptors(self):
        done = self.run_limited(40, "--simulate", "--size", 100)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("[pool] created 100 connections\n", done.stdout)


class BadFlagsTest(ConfigTest):
    def test_values(self):
        for arguments, words in {
            ("--port", "70000"): ['--port is "70000"', "from 1 to 65535"],
            ("--port", "x"): ['--port is "x"', "from 1 to 65535"],
            ("--port", ""): ['--port is ""', "from 1 to 65535"],
            ("--size", "0"): ['--size is "0"', "from 1 to 65536"],
            ("--size", "-1"): ['--size is "-1"', "from 1 to 65536"],
            ("--size", "1.5"): ['--size is "1.5"', "from 1 to 65536"],
            ("--size", "99999999999999999999"): ["--size", "from 1 to 65536"],
            ("--requests", "0"): ["--requests", "from 1 to 10000000"],
            ("--concurrency", "0"): ["--concurrency", "from 1 to 10000"],
            ("--rate", "0"): ["--rate", "from 0.001 to 1000000"],
            ("--rate", "nan"): ["--rate", "from 0.001 to 1000000"],
            ("--seed", "-1"): ["--seed", "from 0 to"],
            ("--seed", "18446744073709551616"): ["--seed", "from 0 to"],
            ("--metrics", "xml"): ["--metrics", "text, json or openmetrics"],
            ("--path", "x"): ["--path", "begins with /"],
            ("--path", "/a#b"): ["--path", "fragment"],
            ("--host", ""): ["--host", "a name or an address"],
            ("--host", "a..b"): ["--host", "empty label"],
            ("-O", "x"): ["-O", "name=value"],
            ("-O", "connect.retries=x"): ["connect.retries", "from 0 to 100"],
        }.items():
            with self.subTest(arguments=arguments):
                self.refused("--simulate", *arguments, words=words)

    def test_control_characters(self):
        """Whatever is wrong is told in one line that does nothing to a terminal."""
        for bad in ("a\nb", "a\rb", "a\x1b[31mb", "a\x7fb", "a\u0085b", "a\u009b31mb", "a\tb"):
            file = self.place / bad
            for arguments in (("--host", bad), ("--path", "/" + bad), ("--path", bad), ("--port", bad), ("--metrics", bad),
                              ("--inject-failures=" + bad,), ("--config", file), ("-O", bad), ("-O", bad + "=1"),
                              ("-O", "connect.retries=" + bad), ("--" + bad,), (bad,),
                              ("--config", self.config({"host": bad})), ("--config", self.config({bad: 1})),
                              ("--config", self.config({"metrics": bad})),
                              ("--config", self.config({"inject_failures": bad}))):
                with self.subTest(arguments=arguments):
                    error = self.refused("--simulate", *arguments)
                    self.assertTrue(error[:-1].isprintable(), error)
        error = self.refused("--simulate", "--path", "/" + "\u00e9" * 1000)
        self.assertLess(len(error), 600)

    def test_a_run_of_centuries(self):
        self.refused("--simulate", "--requests", 10_000_000, "--rate", 0.001,
                     words=["--requests is 10000000: write at most 3000000 at so low a rate"])
        self.refused("--simulate", "--config", self.config({"requests": 4_000_000, "rate": 0.001}),
                     words=['"requests" is 4000000: write at most 3000000 at so low a rate'])

    def test_combinations(self):
        self.refused("--host", "a", words=["--port is missing"])
        self.refused("--port", "1", words=["--host is missing", "--config"])
        self.refused("--restart-demo", "--port", "1", words=["--restart-demo", "--port"])
        self.refused("--restart-demo", "--simulate", words=["--restart-demo", "--simulate"])
        self.refused("--restart-demo", "--tls", words=["--restart-demo", "--tls"])
        self.refused("--simulate", "get", "http://a", words=['--simulate before "get"'])
        self.refused("--sise", "4", words=['"--sise" is not a flag', 'did you mean "--size"?'])
        self.refused("--host", "a", "--port", "1", "extra", words=['"extra" is not a verb'])


class PrecedenceTest(ConfigTest):
    def test_a_file_is_enough(self):
        file = self.config({**GOOD, "pool_size": 3, "requests": 5, "concurrency": 2, "path": "/bytes/10", "rate": 100,
                            "seed": 7, "metrics": "text", "connect_timeout_ms": 100, "read_timeout_ms": 300,
                            "idle_timeout_ms": 1000, "inject_failures": False, "tls": False, "h2": False,
                            "options": {"events.capacity": 100, "retry.jitter": "equal", "tls.insecure": True}})
        out = self.simulated("--config", file)
        self.assertIn("[pool] created 3 connections\n", out)
        self.assertIn("\nrequests.done=5\n", out)

    def test_flags_override_the_file(self):
        file = self.config({**GOOD, "pool_size": 3, "requests": 5, "metrics": "text",
                            "options": {"endpoint.max_connections": "2"}})
        out = self.simulated("--config", file, "--requests", "7", "-O", "endpoint.max_connections=4", "--size", "4")
        self.assertIn("[pool] created 4 connections\n", out)
        self.assertIn("\nrequests.done=7\n", out)

    def test_times_from_the_file(self):
        file = self.config({**GOOD, "path": "/delay/500", "read_timeout_ms": 100, "requests": 3,
                            "options": {"retry.attempts": "1"}})
        out = self.simulated("--config", file, code=4)
        self.assertIn("ETIMEDOUT=3", out)


if __name__ == "__main__":
    PoolerTest.program = pooler_program.take_program()
    main()
