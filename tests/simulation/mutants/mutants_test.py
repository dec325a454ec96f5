#!/usr/bin/python3
"""Plants each fault of this folder and lets it be found: `found NAME after N seeds`, or `kills`, or `MISSED NAME`.

A fault is a patch of one source file. Only that file is compiled again; its object goes before the libraries in the
program's own link command, so that the linker does not take the sound one from its archive. Faults of the LMDB store
are for `store_kill` (tests/chaos), all others for the simulator.

  mutants_test.py [NAME…] [--seeds N]     needs a build folder with both programs built ($WEIR_BUILD, or build)
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = Path(os.environ.get("WEIR_BUILD") or ROOT / "build").resolve()
SEEDS = 4000
KILLS, LOSSES = 40, 200
SECONDS = 100  # a fault's search
STORE = "framework/weir/broker/store/"


def commands():
    """What ninja would run to make the programs: compile commands by source, link commands by program."""
    out = subprocess.run(["ninja", "-C", str(BUILD), "-t", "commands", "simulation", "store_kill"], capture_output=True,
                         text=True, check=True)
    compiles, links = {}, {}
    for line in out.stdout.splitlines():
        found = re.search(r" -c (\S+\.cpp)$", line)
        if found:
            compiles[str(Path(found[1]).resolve())] = line
        linked = re.search(r"-o bin/(simulation|store_kill) ", line)
        if linked:
            links[linked[1]] = line
    return compiles, links


def shell(command):
    # ninja wraps link commands as `: && … && :`.
    return subprocess.run(command, shell=True, cwd=BUILD, capture_output=True, text=True)


def plant(patch, target, folder, compiles, link):
    """The program with this fault, or why there is none."""
    source = folder / Path(target).name
    done = subprocess.run(["patch", "--quiet", "--fuzz=2", "--output", str(source), str(ROOT / target), str(patch)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return None, f"its patch does not fit {target} any more: {done.stdout.strip()}"
    command = compiles[str((ROOT / target).resolve())]
    thing = folder / "planted.o"
    command = re.sub(r" -o \S+", f" -o {thing}", command)
    command = re.sub(r" -M[TF] \S+| -MD", "", command)
    # A fault may leave a parameter without a use.
    command = re.sub(r" -c \S+$", f" -Wno-error -c {source}", command)
    done = shell(command)
    if done.returncode != 0:
        return None, f"it does not compile: {done.stderr.strip()[:800]}"
    program = folder / "planted"
    done = shell(re.sub(r"-o bin/\w+ ", f"-o {program} {thing} ", link, count=1))
    return (program, None) if done.returncode == 0 else (None, f"it does not link: {done.stderr.strip()[:800]}")


def look_for(patch, compiles, links, seeds):
    name, began = patch.stem, time.monotonic()
    target = re.search(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M)[1]
    if target.startswith(STORE):
        link, most = links["store_kill"], f"{KILLS} kills, {LOSSES} losses"
        options = ["--seed", "1", "--kills", str(KILLS), "--losses", str(LOSSES)]
    else:
        link, most = links["simulation"], f"{seeds} seeds"
        options = ["--seeds", f"1-{seeds}", "--no-shrink", "--quiet"]
    with tempfile.TemporaryDirectory(prefix="weir-mutant-") as folder:
        program, why = plant(patch, target, Path(folder), compiles, link)
        if program is None:
            return f"MISSED {name}: {why}", False
        built = time.monotonic()
        try:
            done = subprocess.run([str(program), *options], capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"MISSED {name}: nothing in {SECONDS} s", False
        took = f"({built - began:.0f} s to build, {time.monotonic() - built:.1f} s to find)"
        broken = re.search(r"^BROKEN seed (\d+), step \d+: (\w+)", done.stdout, re.M)
        if broken:
            return f"found {name} after {broken[1]} seeds: {broken[2]} {took}", True
        broken = re.search(r"^after (\d+ kills, \d+ losses): (.{,100})", done.stdout, re.M)
        if broken:
            return f"found {name} after {broken[1]}: {broken[2]} {took}", True
        if done.returncode != 0:
            return f"found {name}: the program ended with {done.returncode} {took}", True
        return f"MISSED {name}: nothing in {most} {took}", False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    patches = sorted(HERE.glob("*.patch"))
    if arguments.names:
        patches = [patch for patch in patches if patch.stem in arguments.names]
    if not patches:
        sys.exit("mutants: no fault of that name")
    compiles, links = commands()
    good = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for line, found in pool.map(lambda patch: look_for(patch, compiles, links, arguments.seeds), patches):
            print(line, flush=True)
            good = good and found
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
