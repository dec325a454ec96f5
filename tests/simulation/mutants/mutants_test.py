#!/usr/bin/python3
"""Plants each fault of this folder and lets it be found: `found NAME after N seeds`, or `kills`, or `MISSED NAME`.

Only what a fault changes is compiled again; those objects go before the libraries in the program's own link command, so
that the linker does not take the sound ones from their archive. Faults of the LMDB store are for `store_kill`
(tests/chaos), those that say `found by` for that program, all others for the simulator.

  mutants_test.py [NAME…] [--drawn] [--seeds N]     needs a build folder with the programs built ($WEIR_BUILD, or build)

`--drawn`: half of them, drawn by the commit. So a commit costs half, and after a few all were looked for.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faults

BUILD = Path(os.environ.get("WEIR_BUILD") or faults.ROOT / "build").resolve()
INCLUDED_FROM = faults.ROOT / "framework"
SEEDS = 4000
KILLS, LOSSES = 40, 200
SECONDS = 100  # a fault's search
INCLUDERS = 12  # of a header with a fault: more would take too long
CORE = faults.ROOT / "framework/weir/broker/core"  # most faults are there, and half of a compilation is its headers


class Build:
    """What ninja would run: compile commands by source, link commands by program; which sources include a header."""

    def __init__(self, programs):
        out = subprocess.run(["ninja", "-C", str(BUILD), "-t", "commands", *programs], capture_output=True, text=True,
                             check=True)
        self.compiles, self.links, self.includers = {}, {}, {}
        self.headers = None  # a folder: those of the core, compiled once
        self.in_unity = set()  # sources that are compiled with their neighbours
        for line in out.stdout.splitlines():
            found = re.search(r" -c (\S+\.c(?:pp|xx))$", line)
            if found:
                self.add(BUILD / found[1], line)
            linked = re.search(r"-o bin/(\w+) ", line)
            if linked:
                self.links[linked[1]] = line

    def add(self, source, command):
        if "/Unity/" not in str(source):
            self.compiles[source.resolve()] = command
            return
        for member in re.findall(r'#include "(\S+)"', source.read_text() if source.exists() else ""):
            self.in_unity.add(Path(member))
            self.compiles[Path(member)] = re.sub(r" -c \S+$", f" -c {member}", command)

    def precompile(self, folder):
        header = CORE / "state.hpp"
        copy = folder / header.relative_to(INCLUDED_FROM)
        copy.parent.mkdir(parents=True)
        copy.write_text(header.read_text())
        command = re.sub(r" -M[TF] \S+| -MD", "", self.compiles[CORE / "settling.cpp"])
        command = re.sub(r" -o \S+", f" -o {copy}.gch", command)
        if shell(re.sub(r" -c \S+$", f" -x c++-header -c {header}", command)) is None:
            self.headers = folder

    def sources_with(self, header):
        if not self.includers:
            out = subprocess.run(["ninja", "-C", str(BUILD), "-t", "deps"], capture_output=True, text=True, check=True)
            for block in out.stdout.split("\n\n"):
                files = [Path(os.path.normpath(BUILD / line.strip())) for line in block.splitlines()[1:]]
                for file in files[1:]:
                    self.includers.setdefault(file, set()).add(files[0])
        return [source for source in sorted(self.includers.get(header, ())) if source in self.compiles]


def shell(command):
    # ninja wraps link commands as `: && … && :`.
    done = subprocess.run(command, shell=True, cwd=BUILD, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip()[:800]


def build(fault, program, folder, made):
    """The program with this fault in it."""
    link, again, planted = made.links[program], [], faults.planted(fault)
    for path, text in planted.items():
        copy = folder / path.relative_to(INCLUDED_FROM)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        again += [path] if path.suffix == ".cpp" else made.sources_with(path)
    if len(again) > INCLUDERS:
        raise faults.Unfit(f"its header is included by {len(again)} sources; plant it where the header is used")
    for number, source in enumerate(dict.fromkeys(again)):
        thing, copy = folder / f"{number}.o", folder / "none"
        if source.is_relative_to(INCLUDED_FROM):
            copy = folder / source.relative_to(INCLUDED_FROM)
        command = made.compiles[source]
        sound = re.search(r" -o (\S+)", command)[1]
        command = re.sub(r" -o \S+", f" -o {thing}", command)
        command = re.sub(r" -M[TF] \S+| -MD", "", command)
        command = re.sub(r" -(I|isystem )", rf" -I{folder} -\1", command, count=1)
        if made.headers and source.is_relative_to(CORE) and all(path.suffix == ".cpp" for path in planted):
            command = re.sub(r" -I", f" -I{made.headers} -include weir/broker/core/state.hpp -I", command, count=1)
        # A fault may leave a parameter without a use.
        command = re.sub(r" -c \S+$", f" -Wno-error -c {copy if copy.exists() else source}", command)
        wrong = shell(command)
        if wrong:
            raise faults.Unfit(f"it does not compile: {wrong}")
        # The sound one may come with its neighbours: then the first of two definitions holds.
        first = "-Wl,-z,muldefs " if source in made.in_unity else ""
        link = link if first else link.replace(f" {sound} ", " ")
        link = re.sub(r"-o (\S+) ", rf"-o \1 {first}{thing} ", link, count=1)
    wrong = shell(re.sub(r"-o bin/\w+ ", f"-o {folder / 'planted'} ", link, count=1))
    if wrong:
        raise faults.Unfit(f"it does not link: {wrong}")
    return folder / "planted"


def search(fault, seeds):
    """(program, its options, how far it looks)."""
    if fault.found_by:
        program, *options = fault.found_by.split()
        return program, options, " ".join(options)
    if any(path.is_relative_to(faults.STORE) for path in faults.planted(fault)):
        return "store_kill", ["--seed", "1", "--kills", str(KILLS), "--losses", str(LOSSES)], f"{KILLS} kills, {LOSSES} losses"
    return "simulation", ["--no-shrink", "--quiet"], f"{seeds} seeds"


def what_it_found(output, code):
    """(how it was found, the promise) or (None, '')."""
    broken = re.search(r"^BROKEN seed (\d+), step \d+: (\w+)", output, re.M)
    if broken:
        return f" after {broken[1]} seeds: {broken[2]}", broken[2]
    broken = re.search(r"^after (\d+ kills, \d+ losses): (.{,100})", output, re.M)
    if broken:
        return f" after {broken[1]}: {broken[2]}", ""
    failed = re.search(r"^\[  FAILED  \] (\w+\.\w+)", output, re.M)
    if failed:
        return f": {failed[1]} fails", failed[1]
    return (f": the program ended with {code}", "") if code != 0 else (None, "")


def run(planted, fault, options, seeds):
    """(how it was found, what else was found before): of a fault that says what it breaks, the first seed that breaks just that."""
    first, others, until = 1, "", time.monotonic() + SECONDS
    while True:
        drawn_seeds = [] if fault.found_by or "--kills" in options else ["--seeds", f"{first}-{seeds}"]
        done = subprocess.run([str(planted), *options, *drawn_seeds], capture_output=True, text=True,
                              timeout=max(1, until - time.monotonic()))
        found, promise = what_it_found(done.stdout, done.returncode)
        if found is None or not fault.breaks or promise in fault.breaks.split():
            return found, others
        others = f"found{found}, and it says that it breaks {fault.breaks}"
        seed = re.search(r" after (\d+) seeds", found)
        if not seed or int(seed[1]) >= seeds:
            return None, others
        first = int(seed[1]) + 1


def look_for(name, made, seeds):
    began = time.monotonic()
    try:
        fault = faults.read(faults.HERE / f"{name}.fault")
        program, options, most = search(fault, seeds)
        with tempfile.TemporaryDirectory(prefix="weir-mutant-") as folder:
            planted = build(fault, program, Path(folder), made)
            built = time.monotonic()
            found, others = run(planted, fault, options, seeds)
    except faults.Unfit as why:
        return f"MISSED {name}: {why}", False
    except subprocess.TimeoutExpired:
        return f"MISSED {name}: nothing in {SECONDS} s", False
    took = f"({built - began:.0f} s to build, {time.monotonic() - built:.1f} s to find)"
    if found is None:
        return f"MISSED {name}: {others or 'nothing'} in {most} {took}", False
    return f"found {name}{found} {took}", True


def drawn(names):
    commit = subprocess.run(["git", "-C", str(faults.ROOT), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    return [name for name in names if zlib.crc32((commit + name).encode()) % 2 == 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--drawn", action="store_true", help="half of them, drawn by the commit")
    arguments = parser.parse_args()
    names = [name for name in faults.names() if name in arguments.names or not arguments.names]
    names = drawn(names) if arguments.drawn else names
    if not names:
        sys.exit("mutants: no fault of that name")
    made = Build(["simulation", "store_kill", "unit_tests"])
    good = True
    with tempfile.TemporaryDirectory(prefix="weir-mutants-") as headers, ThreadPoolExecutor(os.cpu_count()) as pool:
        if len(names) > 8:
            made.precompile(Path(headers))
        for line, found in pool.map(lambda name: look_for(name, made, arguments.seeds), names):
            print(line, flush=True)
            good = good and found
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
