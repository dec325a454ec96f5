#!/usr/bin/python3
"""A plugin's file that is overwritten while workers run it.

    plugin_test.py [--only NAME]
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess

from kit import WEIR, Deployment, Suite, children, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 2s }}
queues:
  work: {{ attempts: 1, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {folder}/work.so
    queues: [work]
    processes: {{ least: {processes} }}
    window: {{ messages: 16, bytes: 16MiB }}
    timeout: 20s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""


class Group(Deployment):
    def __init__(self, processes=2, **environment):
        super().__init__(YAML, processes=processes)
        self.number = processes
        self.plugin = self.folder / "work.so"
        shutil.copy(plugin("work"), self.plugin)
        self.runtime = self.folder / "run"
        self.runtime.mkdir(mode=0o700)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime), **environment}

    def up(self):
        self.supervisor = self.start("up", WEIR, "up", self.file, env=self.environment)
        wait_for("the group", lambda: sum(w["connected"] for w in self.workers() or []) == self.number)

    def pairs(self):
        """(parent, child) of each worker."""
        return [(each, below[0]) for each in children(self.supervisor.pid)
                if b"\0worker\0" in command(each) and (below := children(each))]

    def copies(self):
        return sorted(self.runtime.glob("weir/*/work.so"))

    def log(self):
        return (self.folder / "up.log").read_text(errors="replace")

    def handles(self, numbers):
        self.publish([{"number": n, "action": "ack"} for n in numbers])
        wait_for("handled", lambda: all(self.runs()[1][n] for n in numbers), 10)

    def overwrite(self, size):
        """As `cp new.so work.so` does, half way: the same file, with other bytes."""
        with self.plugin.open("r+b") as file:
            file.write(b"\0" * size)
            file.truncate(size)

    def stop(self):
        self.supervisor.terminate()
        assert self.supervisor.wait(20) == 0, self.log()[-600:]


def command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def overwritten_in_place():
    """What runs goes on with its copy; what starts next takes the new file, and who dies is charged as ever."""
    with Group(processes=1) as d:
        d.up()
        before = d.pairs()
        d.handles(range(10))
        whole = d.plugin.read_bytes()
        d.overwrite(0)
        d.handles(range(10, 200))
        assert d.pairs() == before and "worker_died" not in d.log(), d.log()[-600:]
        d.plugin.write_bytes(whole)
        d.publish([{"number": 500, "action": "poison", "poison": "abort"}])
        wait_for("the culprit is charged", lambda: d.queue()["dead"] == 1, 10)
        letters = wait_for("it is on disk", d.dead, 10)
        letter = d.weir("dead", "show", "work", letters[0]["id"], "--engine", d.engine).stdout
        assert "poison::abort()" in letter and "in work.so" in letter, letter
        d.handles(range(300, 310))
        d.stop()


def shared_and_removed():
    """One copy for both processes, under the plugin's own name; it goes with the last, after a kill -9 of all too."""
    with Group() as d:
        d.up()
        copy, = d.copies()
        for _, child in d.pairs():
            assert str(copy) in pathlib.Path(f"/proc/{child}/maps").read_text()
        if shutil.which("gdb"):
            seen = subprocess.run(["gdb", "-p", str(d.pairs()[0][1]), "-batch", "-ex", "info symbol weir_plugin_register"],
                                  capture_output=True, text=True, timeout=60).stdout
            assert f"weir_plugin_register in section .text of {copy}" in seen, seen[-600:]
        parent, child = d.pairs()[0]
        os.kill(child, signal.SIGKILL)
        wait_for("another works", lambda: len(d.pairs()) == 2 and parent not in dict(d.pairs()))
        assert d.copies() == [copy], d.copies()
        d.stop()
        assert not list(d.runtime.glob("weir/*")), "its copy is left"
        d.up()
        for pid in [each for pair in d.pairs() for each in pair] + [d.supervisor.pid]:
            os.kill(pid, signal.SIGKILL)
        d.supervisor.wait()
        wait_for("all ended", lambda: not d.listening())
        assert d.copies() == [copy]
        with d.plugin.open("ab") as file:
            file.write(b"another plugin")
        d.up()
        other, = d.copies()
        assert other != copy
        d.stop()


def in_place_it_is_watched():
    """Nowhere to write: it runs in place, and a death after an overwrite charges nobody and says so."""
    with Group(processes=1, XDG_RUNTIME_DIR="", TMPDIR="/nonexistent") as d:
        d.up()
        assert "plugin_loaded_in_place" in d.log() and not d.copies()
        d.handles(range(10))
        whole = d.plugin.read_bytes()
        d.overwrite(0)
        d.publish([{"number": n, "action": "ack"} for n in range(10, 20)])
        wait_for("it dies", lambda: "plugin_was_overwritten" in d.log(), 10)
        d.plugin.write_bytes(whole)
        wait_for("all handled", lambda: all(d.runs()[1][n] for n in range(10, 20)), 20)
        counts = wait_for("settled", d.settled)
        assert counts["dead"] == counts["retried"] == 0 and "delivery_charged" not in d.log(), counts
        d.stop()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    args, _ = options.parse_known_args()
    suite = Suite()
    suite.run_all([("overwritten in place, what runs goes on", overwritten_in_place),
                   ("one copy is shared, and removed with the last", shared_and_removed),
                   ("in place it is watched, and nobody charged", in_place_it_is_watched)], args.only)
    suite.end()


if __name__ == "__main__":
    main()
