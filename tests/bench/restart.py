#!/usr/bin/python3
"""From the start of a broker that finds a backlog to the first handler: tests/bench/restart.py [--messages 10000000]

The worker is started with the broker, as `weir up` does; what the broker reads is in the page cache.
"""

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

WEIR = Path(os.environ.get("WEIR_BUILD") or Path(__file__).resolve().parents[2] / "build") / "bin" / "weir"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=10_000_000)
    messages = options.parse_args().messages
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "restart.yaml"
        engine = f"weir://127.0.0.1:{port}"
        file.write_text(f"engine: {engine}\nbroker: {{ data: ./data }}\nqueues: {{ bench: }}\n")
        start = lambda *words: subprocess.Popen([WEIR, "--log-level", "error", *map(str, words)], stdin=subprocess.PIPE,
                                                stdout=subprocess.PIPE, text=True)
        part = ["--engine", engine, "--messages", messages, "--size", 256, "--shards", 1, "--window", 4096]
        broker = start("broker", file)
        publisher = start("bench-publish", *part)
        assert json.loads(publisher.stdout.readline())["confirmed"] == messages
        publisher.communicate()
        broker.terminate()
        broker.wait()
        begin = time.monotonic_ns()
        broker, worker = start("broker", file), start("bench-work", *part)
        assert worker.stdout.readline() == "ready\n"
        worked = json.loads(worker.stdout.readline())
        worker.communicate()
        broker.terminate()
        broker.wait()
    assert worked["distinct"] == messages, worked
    print(f"{messages:,} waiting: the first handler {(worked['first_ns'] - begin) / 1e6:,.0f} ms after the broker's start")


if __name__ == "__main__":
    main()
