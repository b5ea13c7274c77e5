"""The asyncio crawler of docs/examples on a scripted site: every page once, never more at once than its limit."""

import os
import signal
import subprocess
import sys
import threading
import unittest

import common
from certificates import Authority
from common import LONG_S
from processes import poll_until, start
from scripted import Handler, Site

EXAMPLE = os.path.join(common.support.ROOT, "docs", "examples", "asyncio_crawler.py")
LIMIT, PAGES = 5, 40


class Pages(Handler):
    """/page/N links to others; the first ones are answered when as many are asked for as the limit allows."""

    lock = threading.Lock()
    asked, running, most = [], 0, 0
    together = threading.Event()

    def do_page(self):
        with self.lock:
            type(self).running += 1
            type(self).most = max(self.most, self.running)
            self.asked.append(self.path)
            if self.running >= LIMIT:
                self.together.set()
        if self.path != "/page/0":
            self.together.wait(LONG_S)
        number = int(self.rest[0])
        # Below it, so that the page is not counted any more when its client goes on.
        with self.lock:
            type(self).running -= 1
        targets = range(1, PAGES, 2) if number == 0 else (number + 1, 0, number)
        links = [f"/page/{one}" for one in targets if one < PAGES]
        links += ["http://127.0.0.1:1/elsewhere", "#here", "mailto:x"]
        links += ["/status/404", "/redirect/1"] if number == 1 else ["/nothing"] if number == 2 else []
        text = "<!doctype html><title>p</title>" + "".join(f'<p><a class=x href="{link}">l</a>' for link in links)
        self.answer(200, text.encode(), ("Content-Type", "text/html; charset=utf-8"))


def crawl(*arguments):
    return subprocess.run([sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, timeout=LONG_S)


class Crawler(unittest.TestCase):
    def test_every_page_once_within_the_limit(self):
        with Authority() as authority, Site(authority.issue("localhost"), Pages) as site:
            done = crawl(site.url("/page/0"), "--limit", str(LIMIT), "--ca", str(authority.certificate))
            lines = sorted(line.split(": ")[0] for line in done.stdout.splitlines())
            expected = [f"200 {site.url(f'/page/{n}')}" for n in range(PAGES)]
            others = (("302", "/redirect/1"), ("302", "/redirect/0"), ("200", "/hello"), ("404", "/status/404"))
            expected += [f"{status} {site.url(path)}" for status, path in others] + [f"--- {site.url('/nothing')}"]
            self.assertEqual(lines, sorted(expected), done.stderr)
            self.assertEqual(sorted(Pages.asked), sorted(f"/page/{n}" for n in range(PAGES)))
            self.assertEqual(Pages.most, LIMIT)
            self.assertIn(f"{PAGES + 5} pages, 1 failed", done.stderr)
            self.assertEqual(done.returncode, 1)

    def test_pages_at_most(self):
        with Site() as site:
            done = crawl(site.url("/hello"), "--pages", "1")
            self.assertEqual((done.returncode, done.stdout), (0, f"200 {site.url('/hello')}\n"), done.stderr)

    def test_numbers_that_are_too_small(self):
        for wrong in (["--limit", "0"], ["--pages", "0"]):
            done = crawl("http://h/", *wrong)
            self.assertEqual((done.returncode, done.stdout), (2, ""), wrong)
            self.assertIn("1 or more", done.stderr)

    def test_interrupted(self):
        with Site() as site:
            process = start([sys.executable, EXAMPLE, site.url("/silent")], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
            poll_until(lambda: site.connections, "the crawler's request")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LONG_S)
            self.assertEqual((process.returncode, out), (130, ""), err)


if __name__ == "__main__":
    common.support.main()
