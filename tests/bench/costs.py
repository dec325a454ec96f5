#!/usr/bin/python3
"""What a thousand messages cost in a drain, by process: instructions, system calls, allocations, context switches.

    tests/bench/costs.py [--messages 1000000]

Needs perf, strace and heaptrack (Debian: linux-perf, strace, heaptrack). Each tool has a run of its own, as it slows what it
watches; the start of each process is counted too.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path

WEIR = Path(os.environ.get("WEIR_BUILD") or Path(__file__).resolve().parents[2] / "build") / "bin" / "weir"
ROLES = ("publisher", "broker", "worker")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def line(process, begin):
    """The next line that begins so: a tool may print some of its own."""
    for text in process.stdout:
        if text.startswith(begin):
            return text
    raise AssertionError(f"{process.args} ended early")


def run(prefix, messages):
    """A drain, each role started through prefix(role)."""
    port = free_port()
    engine = f"weir://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as data:
        file = Path(data) / "costs.yaml"
        file.write_text(f"engine: {engine}\nbroker: {{ data: ./data }}\nqueues: {{ bench: }}\n")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        part = ["--engine", engine, "--messages", str(messages), "--size", "256", "--shards", "1", "--window", "4096"]
        broker = subprocess.Popen([*prefix("broker"), WEIR, "broker", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.05)
        worker = subprocess.Popen([*prefix("worker"), WEIR, "bench-work", *part], **pipes)
        line(worker, "ready")
        publisher = subprocess.Popen([*prefix("publisher"), WEIR, "bench-publish", *part], **pipes)
        published, worked = json.loads(line(publisher, "{")), json.loads(line(worker, "{"))
        assert published["confirmed"] == worked["distinct"] == messages, (published, worked)
        for process in (publisher, worker):
            process.communicate(timeout=120)  # the end of its input lets it end
            assert process.returncode == 0
        # The tool's child, not the tool, which is to say what it counted.
        inner = subprocess.run(["pgrep", "-f", f"broker {file}"], capture_output=True, text=True).stdout.split()
        for pid in inner:
            if Path(f"/proc/{pid}/exe").resolve().name == "weir":
                os.kill(int(pid), 15)
        broker.wait(120)
        return messages * 1e9 / (worked["last_ns"] - published["first_ns"])


def perf(folder, messages):
    out = lambda role: folder / f"perf-{role}"
    run(lambda role: ["perf", "stat", "-x", ";", "-e", "instructions:u,context-switches", "-o", out(role)], messages)
    found = {}
    for role in ROLES:
        fields = [line.split(";") for line in out(role).read_text().splitlines() if ";" in line]
        counts = {f[2]: f[0] for f in fields}
        found[role] = {name: float(counts[event]) if counts.get(event, "<").isdigit() else None
                       for name, event in (("instructions", "instructions:u"), ("context switches", "context-switches"))}
    return found


def strace(folder, messages):
    out = lambda role: folder / f"strace-{role}"
    run(lambda role: ["strace", "-f", "-c", "-q", "-o", out(role)], messages)
    found = {}
    for role in ROLES:
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", out(role).read_text(), re.M)
        calls = sorted(((int(n), name) for n, name in rows if name != "total"), reverse=True)
        found[role] = {"system calls": float(sum(n for n, _ in calls)),
                       "most": ", ".join(f"{name} {n * 1000 / messages:.1f}" for n, name in calls[:4])}
    return found


def heaptrack(folder, messages):
    out = lambda role: folder / f"heap-{role}"
    run(lambda role: ["heaptrack", "-o", out(role)], messages)
    found = {}
    for role in ROLES:
        file = next(folder.glob(f"heap-{role}.*"))
        text = subprocess.run(["heaptrack_print", "-p", "0", "-a", "0", "-T", "0", "-f", file], capture_output=True, text=True).stdout
        found[role] = {"allocations": float(re.search(r"calls to allocation functions: (\d+)", text)[1])}
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=1_000_000)
    messages = options.parse_args().messages
    found = {role: {} for role in ROLES}
    with tempfile.TemporaryDirectory() as folder:
        for tool in (perf, strace, heaptrack):
            for role, counts in tool(Path(folder), messages).items():
                found[role].update(counts)
    print("| per 1,000 messages | instructions (user) | system calls | allocations | context switches | the most frequent calls |")
    print("|---|---:|---:|---:|---:|---|")
    for role in ROLES:
        of = lambda name, role=role: ("not counted here" if found[role].get(name) is None
                                      else f"{found[role][name] * 1000 / messages:,.1f}")
        print(f"| {role} | {of('instructions')} | {of('system calls')} | {of('allocations')} | {of('context switches')} "
              f"| {found[role]['most']} |")


if __name__ == "__main__":
    main()
