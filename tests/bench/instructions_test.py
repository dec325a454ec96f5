#!/usr/bin/python3
"""Instructions a message, of each station by itself, as callgrind counts them: they show a slip that a noisy machine hides.

    instructions_test.py [--write]     compares with instructions.json, to 3 %; or writes it

Each benchmark runs twice with a fixed number of batches, the second time with twice as many: the difference is what
messages cost, without the start. The same compiler and libraries count the same; others do not.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("WEIR_BUILD") or HERE.parents[1] / "build").resolve()
RECORD = HERE / "instructions.json"
WITHIN = 0.03
ITERATIONS = 256
# program/benchmark -> messages an iteration
STATIONS = {
    "protocol_bench/read_publish": 256,
    "protocol_bench/write_publish": 256,
    "protocol_bench/gather_bodies": 256,
    "protocol_bench/look_into_bodies": 256,
    "core_bench/written": 256,
    "core_bench/acked_before_it_was_written": 256,
    "core_bench/retried_once": 256,
    "store_bench/commit": 512,
    "store_bench/retried": 256,
    "slots_bench/raw_payload": 256,
    "slots_bench/typed_message": 256,
    "slots_bench/one_suspension": 256,
}


def instructions(station, iterations):
    program, benchmark = station.split("/")
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", BUILD / "bin" / program,
                           f"--benchmark_filter=^{benchmark}(/|$)"], capture_output=True, text=True,
                          env={**os.environ, "WEIR_BENCH_ITERATIONS": str(iterations)})
    counted = re.search(r"Collected : (\d+)", done.stderr)
    assert done.returncode == 0 and counted, f"exit code {done.returncode}: {done.stderr[-600:]}"
    return int(counted[1])


def a_message(station):
    once, twice = instructions(station, ITERATIONS), instructions(station, 2 * ITERATIONS)
    return (twice - once) / ITERATIONS / STATIONS[station]


def main():
    if not shutil.which("valgrind"):
        print("SKIP instructions a message: valgrind is not here (./deploy/install ci)")
        return 0
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    counted, failed = {}, 0
    for station in STATIONS:
        counted[station] = now = round(a_message(station), 1)
        before = recorded.get(station, 0.0)
        change = f"{now} instructions a message, {before} before"
        if "--write" in sys.argv or abs(now - before) <= WITHIN * before + 0.1:
            print(f"PASS {station}: {change}", flush=True)
        else:
            failed += 1
            print(f"FAIL {station}: {change}; if that is meant: tests/bench/instructions_test.py --write", flush=True)
    if "--write" in sys.argv:
        RECORD.write_text(json.dumps(counted, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
