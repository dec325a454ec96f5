#!/usr/bin/python3
"""What a message costs as something grows: `weir bench` over powers of ten, as a table and a plot.

    tests/bench/curve.py backlog|queues|sessions|retries [--rounds 3] [--svg FILE] [--most N] [MORE…]

MORE goes to weir bench: queues --in-a-row 1, retries --retry-ms 1.

Rounds are in turns, so that a slow minute meets all of them; rows are medians.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

import plot

WEIR = Path(os.environ.get("WEIR_BUILD") or Path(__file__).resolve().parents[2] / "build") / "bin" / "weir"

# What grows, its values, what weir bench is told for each.
CURVES = {
    "backlog": ("messages waiting", (10_000, 100_000, 1_000_000, 10_000_000), lambda n: ["backlog", "--messages", n]),
    "queues": ("queues", (1, 10, 100, 1000), lambda n: ["drain", "--messages", 2_000_000, "--queues", n]),
    # A session is a shard, which is a thread. Its window is the default, or as much as one process may hold of so many.
    # Enough messages, that the start of a thousand threads is little of it.
    "sessions": ("sessions of workers", (1, 10, 100, 1000),
                 lambda n: ["drain", "--messages", 4_000_000, "--shards", n, "--window", min(4096, 1_000_000 // n)]),
    # Enough messages, that the last ones' second is little of it.
    "retries": ("percent retried once", (0, 1, 10, 50), lambda n: ["drain", "--messages", 4_000_000, "--retry-percent", n]),
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=CURVES)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--most", type=int, default=10_000_000)
    options.add_argument("--svg", type=Path)
    args, more = options.parse_known_args()
    of_what, values, arguments = CURVES[args.what]
    values = [n for n in values if n <= args.most]
    lines = {n: [] for n in values}
    for _ in range(args.rounds):
        for n in values:
            words = [WEIR, "bench", *map(str, arguments(n)), *more]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(map(str, words))} exited with {done.returncode}: {done.stderr}")
            lines[n].append(json.loads(done.stdout))
    print(f"| {of_what} | publish msg/s | drain msg/s (least to most) | broker RssAnon MB | CPU µs a message |\n|---:|---:|---:|---:|---:|")
    publish, drain = [], []
    for n in values:
        of = lambda field, n=n: statistics.median(line.get(field, 0) for line in lines[n])
        rates = [line["msgs_per_s"] for line in lines[n]]
        anonymous = max(of("backlog_rss_anon_mb"), of("broker_rss_anon_mb"))
        print(f"| {n:,} | {of('publish_msgs_per_s'):,.0f} | {of('msgs_per_s'):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) "
              f"| {anonymous:.1f} | {of('cpu_s') * 1e6 / of('messages'):.2f} |", flush=True)
        if n > 0:  # the axis is logarithmic
            publish.append((n, 1e6 / of("publish_msgs_per_s")))
            drain.append((n, 1e6 / of("msgs_per_s")))
    if args.svg:
        args.svg.write_text(plot.curve(f"What a message costs: {of_what}", of_what, "µs a message",
                                       {"published": publish, "drained": drain}))


if __name__ == "__main__":
    main()
