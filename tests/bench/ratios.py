#!/usr/bin/python3
"""Weir beside other brokers: a table with ratios and a plot, of the JSON lines that a comparison left.

    WEIR_PEER=tests/bench/peer PEERS/run weir redis … --workload all --rounds 5 --out lines.jsonl
    tests/bench/ratios.py lines.jsonl [--svg tests/bench/ratios.svg]

A line has peer, workload, durability, msgs_per_s, p50_ms, p99_ms, publish_msgs_per_s; rows are medians of a peer's lines.
A ratio above 1 is Weir's advantage: its rate by the peer's, or the peer's latency by its own.
"""

import argparse
import json
import statistics
from pathlib import Path

import plot

WORKLOADS = {
    "drain": ("msg/s", lambda r: r["msgs_per_s"]),
    "backlog": ("msg/s out of a backlog", lambda r: r["msgs_per_s"]),
    "waiting": ("msg/s", lambda r: r["msgs_per_s"]),
    "latency": ("ms from publish to handler, p50", lambda r: r["p50_ms"]),
}


def medians(lines):
    """workload -> peer -> {field: median}, and how many runs."""
    runs = {}
    for line in lines:
        runs.setdefault(line["workload"], {}).setdefault(line["peer"], []).append(line)
    for workload, peers in runs.items():
        for peer, all_of_it in peers.items():
            numbers = {key: [each[key] for each in all_of_it if isinstance(each.get(key), (int, float))] for key in all_of_it[0]}
            peers[peer] = {**all_of_it[0], **{key: statistics.median(each) for key, each in numbers.items() if each},
                           "runs": len(all_of_it), "rates": numbers["msgs_per_s"]}
    return runs


def times(ratio):
    return (f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}") + " ×"


def table(workload, peers):
    unit, value = WORKLOADS[workload]
    weir, latency = value(peers["weir"]), workload == "latency"
    rows = sorted(peers.items(), key=lambda item: value(item[1]) * (1 if latency else -1))
    print(f"### {workload}: medians of {min(r['runs'] for r in peers.values())} runs\n")
    print(f"| | durability | {unit} | " + ("p99 ms" if latency else "least to most") + " | CPU µs a message | Weir has |")
    print("|---|---|---:|---:|---:|---:|")
    bars = []
    for name, row in rows:
        ratio = value(row) / weir if latency else weir / value(row)
        more = f"{row['p99_ms']:.2f}" if latency else f"{min(row['rates']):,.0f} to {max(row['rates']):,.0f}"
        figure = f"{value(row):.2f}" if latency else f"{value(row):,.0f}"
        cpu = 1e6 * row["cpu_s"] / row["messages"]
        print(f"| {name} | {row['durability']} | {figure} | {more} | {cpu:.3g} | {'' if name == 'weir' else f'{times(ratio)}'} |")
        bars.append((name, value(row), figure + ("" if name == "weir" else f"   (Weir: {times(ratio)})"), name == "weir"))
    print()
    return f"{workload} ({'shorter' if latency else 'longer'} is better)", unit, bars


def main():
    options = argparse.ArgumentParser()
    options.add_argument("lines", type=Path, nargs="+")
    options.add_argument("--svg", type=Path)
    args = options.parse_args()
    runs = medians([json.loads(line) for file in args.lines for line in file.read_text().splitlines() if line.startswith("{")])
    panels = [table(workload, runs[workload]) for workload in WORKLOADS if "weir" in runs.get(workload, {})]
    if args.svg:
        args.svg.write_text(plot.bars(panels))


if __name__ == "__main__":
    main()
