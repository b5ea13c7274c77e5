"""module logging and the pool's events, both ways; and the program as resolver."""

import asyncio
import io
import logging
import threading
from unittest import mock

import support
import conpool
import processes
from support import RawServer, echo


class Logging(support.Case):
    def setUp(self):
        super().setUp()
        self.logger = logging.Logger("shop.cart")  # of no tree: nothing else hears it
        self.text = io.StringIO()
        handler = logging.StreamHandler(self.text)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.logger.addHandler(handler)

    def test_records_become_events(self):
        with conpool.Client(events_level="debug") as client:
            self.logger.addHandler(conpool.EventHandler(client))
            before = client.events().next
            for level in ("critical", "error", "warning", "info", "debug"):
                getattr(self.logger, level)("%s %d", "item", 7)
            found = client.events(before)
            self.assertEqual(
                [event["level"] for event in found], ["error", "error", "warning", "info", "debug"]
            )
            self.assertEqual({event["text"] for event in found}, {"item 7"})
            self.assertTrue(all(event["event"].endswith("shop.cart") for event in found))
            odd = logging.Logger("caf\u00e9/" + "x" * 40)
            odd.addHandler(conpool.EventHandler(client))
            odd.warning("text")
            self.assertTrue(client.events()[-1]["event"].endswith("x" * 32))
        self.logger.error("after the client was closed")

    def test_a_message_that_cannot_be_made_is_no_error(self):
        with conpool.Client() as client:
            handler = conpool.EventHandler(client)
            handler.handleError = lambda record: self.seen.append(record)
            self.seen = []
            handler.handle(logging.LogRecord("x", logging.ERROR, "", 0, "%d", ("text",), None))
            self.assertEqual(len(self.seen), 1)

    def test_events_become_records(self):
        with RawServer(echo) as server, conpool.Client() as client:
            with conpool.EventLogger(client, self.logger, interval=0.01) as bridge:
                client.get(server.url)
                bridge.flush()
                self.assertIn("INFO shop.cart connection.opened", self.text.getvalue())
                client.event("mine", "not told twice")
            lines = self.text.getvalue().splitlines()
            self.assertEqual(len([line for line in lines if "connection.opened" in line]), 1)
            self.assertNotIn("not told twice", self.text.getvalue())
            bridge.stop()

    def test_both_make_no_circle(self):
        with RawServer(echo) as server, conpool.Client() as client:
            self.logger.addHandler(conpool.EventHandler(client))
            with conpool.EventLogger(client, self.logger, interval=0.001) as bridge:
                client.get(server.url)
                self.logger.warning("once")
                for _ in range(20):
                    bridge.flush()
            self.assertEqual(
                len([event for event in client.events() if event.get("text") == "once"]), 1
            )
            self.assertEqual(self.text.getvalue().count("once"), 1)

    def test_what_was_overwritten_is_said(self):
        with conpool.Client(events_capacity=16) as client:
            with conpool.EventLogger(client, self.logger, interval=60) as bridge:
                client.event("first")
                bridge.flush()
                for _ in range(50):
                    client.event("many")
                bridge.flush()
        self.assertRegex(self.text.getvalue(), r"WARNING shop.cart \d+ events were overwritten")

    def test_lines_inside_of_texts(self):
        with conpool.Client() as client:
            said = "a\u2028b\u2029c\u0085d\x1ee"
            client.event("odd", said)
            texts = [event.get("text") for event in client.events()]
            self.assertTrue([text for text in texts if text and "\u2028" in text], texts)

    def test_a_filter_that_raises(self):
        def broken(record):
            raise ZeroDivisionError

        with RawServer(echo) as server, conpool.Client() as client:
            self.logger.addFilter(broken)
            with mock.patch("sys.stderr", io.StringIO()) as told:
                with conpool.EventLogger(client, self.logger, interval=0.001) as bridge:
                    client.get(server.url)
                    processes.poll_until(lambda: "ZeroDivision" in told.getvalue(), "a report")
                    self.assertTrue(bridge._thread.is_alive())
                    self.logger.removeFilter(broken)
                    client.get(f"http://127.0.0.1:{server.port}/again")
                    client.preconnect(server.url, 2)
                    processes.poll_until(lambda: self.text.getvalue(), "a record")

    def test_the_client_is_closed_first(self):
        client = conpool.Client()
        bridge = conpool.EventLogger(client, "conpool.test", interval=0.001)
        client.close()
        bridge.stop()


class Resolving(support.Case):
    def test_names(self):
        asked = []

        def lookup(name, family):
            asked.append((name, family))
            if name == "broken.test":
                raise LookupError("no such thing")
            if name == "odd.test":
                return ["not an address"]
            return ["127.0.0.1"] if family == 4 and name == "here.test" else []

        with RawServer(echo) as server, conpool.Client(dns_backend="queue") as client:
            with conpool.Resolver(client, lookup) as resolver:
                self.assertEqual(client.get(f"http://here.test:{server.port}/").status_code, 200)
                self.assertEqual(sorted(asked), [("here.test", 4), ("here.test", 6)])
                with self.assertRaises(conpool.DNSError) as caught:
                    client.get("http://nowhere.test/")
                self.assertEqual(caught.exception.name, "E_DNS_NO_DATA")
                for name, text in (
                    ("broken.test", "LookupError: no such thing"),
                    ("odd.test", "not an address"),
                ):
                    with self.assertRaises(conpool.DNSError) as caught:
                        client.get(f"http://{name}/")
                    self.assertEqual(caught.exception.name, "E_DNS_APPLICATION")
                    self.assertIn(text, caught.exception.report)
                resolver.stop()

            async def scenario():
                async with conpool.AsyncClient(dns_backend="queue") as client:
                    with conpool.Resolver(client, lookup):
                        url = f"http://here.test:{server.port}/"
                        found = await asyncio.gather(*(client.get(url) for _ in range(20)))
                        self.assertEqual({one.status_code for one in found}, {200})

            self.run_async(scenario())

    def test_without_the_option(self):
        with conpool.Client() as client, self.assertRaisesRegex(conpool.UsageError, "dns_backend"):
            conpool.Resolver(client, lambda name, family: [])

    def test_left_in_a_lookup(self):
        inside, go = threading.Event(), threading.Event()

        def lookup(name, family):
            inside.set()
            go.wait(support.LONG_S)
            return []

        client = conpool.Client(dns_backend="queue")
        resolver = conpool.Resolver(client, lookup)
        asking = threading.Thread(
            target=lambda: self.assertRaises(conpool.ClosedError, client.get, "http://a.test/")
        )
        asking.start()
        inside.wait(support.LONG_S)
        client.close()
        asking.join(support.LONG_S)
        go.set()
        resolver.stop()


if __name__ == "__main__":
    support.main()
