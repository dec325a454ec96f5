#!/usr/bin/python3
"""What a message costs as a backlog grows: `weir bench backlog` over powers of ten, as a table and a plot.

    tests/bench/curve.py [--sizes 10000,100000,1000000,10000000] [--rounds 3] [--svg tests/bench/backlog.svg]
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

import plot

WEIR = Path(os.environ.get("WEIR_BUILD") or Path(__file__).resolve().parents[2] / "build") / "bin" / "weir"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--sizes", default="10000,100000,1000000,10000000")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--svg", type=Path)
    args = options.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    lines = {size: [] for size in sizes}
    for _ in range(args.rounds):  # in turns, so that a slow minute meets all of them
        for size in sizes:
            done = subprocess.run([WEIR, "bench", "backlog", "--messages", str(size)], capture_output=True, text=True, check=True)
            lines[size].append(json.loads(done.stdout))
    print("| backlog | publish msg/s | drain msg/s | broker RssAnon MB, waiting | disk MB |\n|---:|---:|---:|---:|---:|")
    publish, drain = [], []
    for size in sizes:
        of = lambda field, size=size: statistics.median(line[field] for line in lines[size])
        print(f"| {size:,} | {of('publish_msgs_per_s'):,.0f} | {of('msgs_per_s'):,.0f} | {of('backlog_rss_anon_mb'):.1f} "
              f"| {of('backlog_disk_mb'):,.0f} |", flush=True)
        publish.append((size, 1e6 / of("publish_msgs_per_s")))
        drain.append((size, 1e6 / of("msgs_per_s")))
    if args.svg:
        args.svg.write_text(plot.curve("What a message costs as the backlog grows", "messages waiting", "µs a message",
                                       {"published": publish, "drained": drain}))


if __name__ == "__main__":
    main()
