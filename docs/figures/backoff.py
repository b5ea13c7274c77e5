#!/usr/bin/env python3
"""Draws docs/figures/backoff.svg: the delays before retries, reconnects and the breaker's next trial.

backoff.py             writes the figure
backoff.py --check     exits 1 when it is stale
backoff.py --table     prints the figures of the table in docs/resilience.md

The numbers are drawn as src/policy/retry.cc, backoff.cc and breaker.cc do, from the same generator.
"""
import sys
from pathlib import Path

FIGURE = Path(__file__).resolve().with_suffix(".svg")
MASK = (1 << 64) - 1
MS = 1_000_000
SECOND = 1000 * MS


class SplitMix64:
    """src/base/rng.h"""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def up_to(self, bound):
        return (self.next() * (bound + 1)) >> 64


def drawn(width, rng):
    unit = MS if width % MS == 0 else 1
    return rng.up_to(width // unit) * unit


def plain(retry, base=50 * MS, most=2 * SECOND):
    return min(base << (retry - 1), most)


def full(retry, rng, **options):
    return drawn(plain(retry, **options), rng)


def equal(retry, rng):
    delay = plain(retry)
    return delay - delay // 2 + drawn(delay // 2, rng)


def added(retry, rng):
    return plain(retry) + drawn(50 * MS, rng)


def reconnect_plain(step, most=30 * SECOND):
    delay = 250 * MS
    for _ in range(step - 1):
        delay = most if delay > most // 8 * 5 else delay // 5 * 8 + delay % 5 * 8 // 5
    return min(delay, most)


def reconnect(step, rng):
    delay = reconnect_plain(step)
    return delay - delay // 5 + rng.up_to(2 * (delay // 5))


def open_plain(opening):
    return min((5 * SECOND) << (opening - 1), 120 * SECOND)


def open_time(opening, rng):
    return open_plain(opening) - rng.up_to(open_plain(opening) // 2)


def arrivals(delay_of, retries):
    """Retries per 10 ms of 1000 clients that all failed at one instant."""
    bins = {}
    for client in range(1000):
        rng, now = SplitMix64((1 << 32) + client * 7919), 0
        for retry in range(1, retries + 1):
            now += delay_of(retry, rng)
            bins[now // (10 * MS)] = bins.get(now // (10 * MS), 0) + 1
    return [bins.get(index, 0) for index in range(max(bins) + 1)]


WIDTH, HEIGHT = 300, 190  # of one panel, with its margins
LEFT, TOP, INNER_WIDTH, INNER_HEIGHT = 46, 30, 240, 126


class Panel:
    def __init__(self, column, row, title, under, highest, marks, unit):
        self.x, self.y, self.highest = column * WIDTH + LEFT, row * HEIGHT + TOP, highest
        self.parts = [f'<text class="t" x="{self.x}" y="{self.y - 12}">{title}</text>',
                      f'<text x="{self.x + INNER_WIDTH // 2}" y="{self.y + INNER_HEIGHT + 26}" '
                      f'text-anchor="middle">{under}</text>']
        for mark in marks:
            y = self.level(mark)
            label = f"{mark // unit[1]} {unit[0]}".strip()
            self.parts.append(f'<path class="g" d="M{self.x} {y}h{INNER_WIDTH}"/>'
                              f'<text x="{self.x - 5}" y="{y}" dy="3" text-anchor="end">{label}</text>')

    def level(self, value):
        return self.y + INNER_HEIGHT - value * INNER_HEIGHT // self.highest

    def columns(self, count, plain_of, draw):
        step = INNER_WIDTH // count
        rng = SplitMix64(1)
        for index in range(1, count + 1):
            x = self.x + (index - 1) * step + step // 2
            self.parts.append(f'<text x="{x}" y="{self.y + INNER_HEIGHT + 13}" text-anchor="middle">{index}</text>')
            dots = "".join(f"M{x - step * 3 // 10 + dot * (step * 6 // 10) // 99} {self.level(draw(index, rng))}h0"
                           for dot in range(100))
            y = self.level(plain_of(index))
            self.parts.append(f'<path class="d" d="{dots}"/><path class="l" d="M{x - step * 4 // 10} {y}h{step * 8 // 10}"/>')

    def bars(self, counts, per_bin):
        path = "".join(f"M{self.x + index * per_bin} {self.y + INNER_HEIGHT}V{self.level(count)}"
                       for index, count in enumerate(counts) if count)
        self.parts.append(f'<path class="b" stroke-width="{per_bin - 2}" transform="translate({per_bin // 2} 0)" d="{path}"/>')
        for index in range(0, len(counts) + 1, 5):
            self.parts.append(f'<text x="{self.x + index * per_bin}" y="{self.y + INNER_HEIGHT + 13}" '
                              f'text-anchor="middle">{index * 10}</text>')


def figure():
    ms, second, none = ("ms", MS), ("s", SECOND), ("", 1)
    half = [mark * SECOND // 2 for mark in range(5)]
    under = "number of the retry"
    panels = []
    for column, (name, draw) in enumerate((("full", full), ("equal", equal), ("added", added))):
        panel = Panel(column, 0, f"retry.jitter = {name}", under, 2100 * MS, half, ms)
        panel.columns(8, plain, draw)
        panels.append(panel)
    panel = Panel(0, 1, "reconnects of one address", "failures in a row", 36 * SECOND,
                  [mark * SECOND for mark in (0, 10, 20, 30)], second)
    panel.columns(12, reconnect_plain, reconnect)
    panels.append(panel)
    panel = Panel(1, 1, "open time of the breaker", "openings in a row", 126 * SECOND,
                  [mark * SECOND for mark in (0, 30, 60, 90, 120)], second)
    panel.columns(7, open_plain, open_time)
    panels.append(panel)
    panel = Panel(2, 1, "two retries each of 1,000 clients (full)", "retries per 10 ms, by ms after the failure",
                  400, [0, 100, 200, 300, 400], none)
    panel.bars(arrivals(full, 2), 14)
    panels.append(panel)
    style = ("text{font:10px sans-serif;fill:#333}.t{font-weight:bold;font-size:11px}.g{stroke:#ddd}"
             ".l{stroke:#c33;stroke-width:2}.d{stroke:#36c;stroke-width:2;stroke-linecap:round;stroke-opacity:.45}"
             ".b{stroke:#36c}")
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * WIDTH} {2 * HEIGHT + 4}">',
             "<title>Delays before retries, reconnects and trials, and how they spread</title>",
             f"<style>{style}</style>", '<rect width="100%" height="100%" fill="#fff"/>']
    for panel in panels:
        lines += panel.parts
    return "\n".join(lines + ["</svg>", ""])


def table():
    print("retry  before jitter  full, mean  5 % to 95 %      (ms, 1,000 clients)")
    for retry in range(1, 8):
        delays = sorted(full(retry, SplitMix64(seed)) // MS for seed in range(1000))
        print(f"{retry:5}  {plain(retry) // MS:13}  {sum(delays) / 1000:10.0f}  {delays[50]} to {delays[949]}")
    for retries in (1, 2):
        bins = arrivals(full, retries)
        mean = 1000 * retries / len(bins)
        print(f"{retries} retries: fullest 10 ms {max(bins)}, mean {mean:.1f}, ratio {max(bins) / mean:.2f}")


def main():
    rng = SplitMix64(1234567)
    vector = [full(retry, rng, base=100 * MS, most=10 * SECOND) // MS for retry in range(1, 6)]
    if vector != [35, 34, 213, 199, 1424]:  # the same as tests/unit/policy/retry_test.cc
        sys.exit(f"backoff.py: the generator differs from the library's: {vector}")
    if sys.argv[1:] == ["--table"]:
        table()
    elif sys.argv[1:] == ["--check"]:
        if not FIGURE.exists() or FIGURE.read_text() != figure():
            sys.exit("docs/figures/backoff.svg is stale; run docs/figures/backoff.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        FIGURE.write_text(figure())


if __name__ == "__main__":
    main()
