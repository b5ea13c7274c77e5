"""Parses every text form of events and metrics back: JSON with json, OpenMetrics with a strict parser."""

import json
import re
import subprocess
import sys
import unittest

DUMP = sys.argv.pop(1)
SEEDS = range(1, 9)

SAMPLE = re.compile(
    r'^([a-z_][A-Za-z0-9_]*)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*"(?:,(?=[a-z])|(?=\})))*)\})? (-?[0-9]+(?:\.[0-9]+)?)$')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\\n]|\\[\\"n])*)"')


def dump(*args):
    raw = subprocess.run([DUMP, *map(str, args)], check=True, stdout=subprocess.PIPE, timeout=60).stdout
    return raw.decode("utf-8")  # every form is UTF-8, whatever bytes went in


class Events(unittest.TestCase):
    def test_jsonl(self):
        for seed in SEEDS:
            text = dump("events", "jsonl", seed)
            lines = text.split("\n")
            self.assertEqual(lines.pop(), "")
            self.assertEqual(len(lines), 300)
            for number, line in enumerate(lines, 101):
                record = json.loads(line)
                self.assertEqual(record["sequence"], number)
                self.assertIn(record["level"], ("error", "warning", "info", "debug"))
                self.assertRegex(record["event"], r"^[a-z_]+\.[a-z_]+$")
                if "op" in record:
                    self.assertGreater(int(record["op"]), 0)

    def test_trace(self):
        for seed in SEEDS:
            events = json.loads(dump("events", "trace", seed))
            names = {e["pid"] for e in events if e["ph"] == "M"}
            rest = [e for e in events if e["ph"] != "M"]
            self.assertEqual(len(rest), 300)
            self.assertEqual({e["ph"] for e in rest}, {"X", "i"})
            for event in rest:
                self.assertIn(event["pid"], names)
                self.assertLessEqual({"name", "cat", "ts", "pid", "tid", "args"}, set(event))
                self.assertEqual("dur" in event, event["ph"] == "X")

    def test_text(self):
        for seed in SEEDS:
            lines = dump("events", "text", seed).splitlines()
            self.assertEqual(len(lines), 300)
            for line in lines:
                self.assertRegex(line, r"^ *-?[0-9]+\.[0-9]{6}  (error|warning|info|debug) +[a-z_]+\.[a-z_]+")


class Metrics(unittest.TestCase):
    def test_json_sums_agree(self):
        for seed in SEEDS:
            pool = json.loads(dump("metrics", "json", seed))["pool"]
            self.assertEqual(len(pool["endpoints"]), 3)
            for endpoint in pool["endpoints"]:
                self.assertEqual(len(endpoint["addresses"]), 2)
                for name in endpoint["addresses"][0]["figures"]:
                    total = sum(a["figures"].get(name, 0) for a in endpoint["addresses"])
                    self.assertEqual(endpoint["figures"][name], total, name)
            for name in pool["endpoints"][0]["figures"]:
                self.assertEqual(pool["figures"][name], sum(e["figures"].get(name, 0) for e in pool["endpoints"]))
            self.assertEqual(pool["endpoints"][0]["addresses"][1]["connections"][0]["label"], "1")

    def test_text_tells_the_same_as_json(self):
        for seed in SEEDS:
            pool = json.loads(dump("metrics", "json", seed))["pool"]
            lines = dump("metrics", "text", seed).split("\n")
            values = dict(line.rsplit("=", 1) for line in lines if line.startswith("pool."))
            for name, value in pool["figures"].items():
                self.assertEqual(int(values["pool." + name]), value)
            for name, histogram in pool["histograms"].items():
                for part, value in histogram.items():
                    self.assertEqual(int(values[f"pool.{name}.{part}"]), value)
            told = {}
            for line in lines:
                match = re.match(r'endpoint\.connections\.open\{endpoint=(".*")\}=([0-9]+)$', line)
                if match:
                    told[json.loads(match.group(1))] = int(match.group(2))
            self.assertEqual(told, {e["label"]: e["figures"]["connections.open"] for e in pool["endpoints"]})

    def test_openmetrics(self):
        for seed in SEEDS:
            families = self.parse(dump("metrics", "openmetrics", seed))
            pool = json.loads(dump("metrics", "json", seed))["pool"]
            self.check_values(families, pool)

    def parse(self, text):
        """OpenMetrics 1.0, as strict as its ABNF for what we use. Answers {family: (type, {sample: value})}."""
        lines = text.split("\n")
        self.assertEqual(lines.pop(), "")
        self.assertEqual(lines.pop(), "# EOF")
        families, family, kind, unit = {}, None, None, None
        for line in lines:
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                self.assertNotIn(family, families, "a family's samples stand together")
                self.assertIn(kind, ("counter", "gauge", "histogram"))
                families[family], unit = (kind, {}), None
            elif line.startswith("# UNIT "):
                _, _, name, unit = line.split(" ")
                self.assertEqual(name, family)
                self.assertTrue(family.endswith("_" + unit))
            elif line.startswith("# HELP "):
                self.assertEqual(line.split(" ")[2], family)
            else:
                match = SAMPLE.match(line)
                self.assertIsNotNone(match, line)
                name, labels, value = match.groups()
                suffix = name[len(family):]
                self.assertTrue(name.startswith(family), line)
                allowed = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
                self.assertIn(suffix, allowed[kind], line)
                key = (suffix, tuple(self.labels(labels or "")))
                self.assertNotIn(key, families[family][1], "a sample appears once")
                families[family][1][key] = float(value) if "." in value else int(value)
        return families

    def labels(self, text):
        """The unescaped labels of what SAMPLE let through."""
        unescape = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
        for name, value in LABEL.findall(text):
            yield name, re.sub(r'\\[\\"n]', lambda m: unescape[m.group()], value)

    def check_values(self, families, pool):
        for name, value in pool["figures"].items():
            family = "conpool_pool_" + name.replace(".", "_")
            kind, samples = families[family]
            suffix = "_total" if kind == "counter" else ""
            self.assertEqual(samples, {(suffix, ()): value})
        for endpoint in ("conpool_endpoint_dials_started", "conpool_endpoint_connections_open"):
            self.assertEqual(len(families[endpoint][1]), 3)
        self.assertEqual(len(families["conpool_address_connections_open"][1]), 6)
        for name, histogram in pool["histograms"].items():
            samples = families[f"conpool_pool_{name.replace('.', '_')}_seconds"][1]
            buckets = [(float(key[1][0][1]), value) for key, value in samples.items() if key[0] == "_bucket"]
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual(buckets[-1], (float("inf"), histogram["count"]))
            self.assertTrue(all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])))
            self.assertEqual(samples[("_count", ())], histogram["count"])
            self.assertAlmostEqual(samples[("_sum", ())], histogram["sum_ns"] / 1e9)


if __name__ == "__main__":
    unittest.main(verbosity=2)
