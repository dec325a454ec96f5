#!/usr/bin/python3
"""One transient fault must not stop the rest: `weir up` with what it supervises.

    supervised_test.py [--only NAME]
"""

import argparse
import os
import shutil
import signal
import time

from kit import WEIR, Deployment, Suite, children, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 2s }}
queues:
  work: {{ attempts: {attempts}, backoff: {{ first: 20ms, most: 100ms }} }}
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


class Supervised(Deployment):
    """`weir up` of a group; the plugin is a file of the deployment's own, to be harmed."""

    def __init__(self, attempts=1, processes=2):
        super().__init__(YAML, attempts=attempts, processes=processes)
        self.group = processes
        self.plugin = self.folder / "work.so"
        shutil.copy(plugin("work"), self.plugin)

    def up(self):
        self.supervisor = self.start("up", WEIR, "up", self.file)
        wait_for("the broker", lambda: self.ended(self.supervisor, "up") or self.listening())
        wait_for("the group", lambda: len(self.attached()) == self.group)
        return self.supervisor

    def attached(self):
        return [w for w in self.workers() or [] if w["connected"]]

    def parents(self):
        """Process ids of the `weir worker`s."""
        return [pid for pid in children(self.supervisor.pid) if b"\0worker\0" in command(pid)]

    def log(self):
        return (self.folder / "up.log").read_text(errors="replace")

    def handles(self, *numbers):
        wait_for(f"{numbers} handled", lambda: all(self.runs()[1][n] for n in numbers), 10)


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def half_saved(d):
    whole = d.file.read_text()
    d.file.write_text(whole[:whole.index("plugin:") + 4])
    return lambda: d.file.write_text(whole)


def missing(d):
    away = d.plugin.rename(d.folder / "away.so")
    return lambda: away.rename(d.plugin)


def truncated(d):
    whole = d.plugin.read_bytes()
    d.plugin.unlink()  # another file: what runs is not harmed by this one
    d.plugin.write_bytes(whole[:len(whole) // 2])
    return lambda: d.plugin.write_bytes(whole)


def goes_on_with(fault):
    """The file or the plugin is broken for a moment, and a worker dies in it: its culprit is charged, the others go on."""
    with Supervised() as d:
        up = d.up()
        mend = fault(d)
        d.publish([{"number": 1, "action": "poison", "poison": "abort"}])
        wait_for("the culprit is charged", lambda: d.queue()["dead"] == 1, 10)
        wait_for("the restart is refused, loudly", lambda: "process_refused_its_configuration" in d.log(), 10)
        d.publish([{"number": n, "action": "ack"} for n in range(10, 20)])
        d.handles(*range(10, 20))
        assert up.poll() is None, d.log()[-600:]
        mend()
        wait_for("all are back", lambda: len(d.attached()) == 2, 15)
        assert up.poll() is None and len(d.dead()) == 1
        up.terminate()
        assert up.wait(20) == 0, d.log()[-600:]


def a_broker_of_a_half_saved_file():
    """The broker dies while the file is half saved: it is tried again until the file is whole, and the workers wait."""
    with Supervised() as d:
        up = d.up()
        mend = half_saved(d)
        broker = next(pid for pid in children(up.pid) if b"\0broker\0" in command(pid))
        os.kill(broker, signal.SIGKILL)
        wait_for("the restart is refused", lambda: "process_refused_its_configuration" in d.log(), 10)
        time.sleep(0.5)
        assert up.poll() is None and len(d.parents()) == 2, d.log()[-600:]
        mend()
        wait_for("the broker is back", lambda: d.queue() is not None, 15)
        d.publish([{"number": 1, "action": "ack"}])
        d.handles(1)
        up.terminate()
        assert up.wait(20) == 0, d.log()[-600:]


def pauses(d):
    """Before each restart so far, as the log tells it."""
    return [line.split("restart_in=")[1].split()[0] for line in d.log().splitlines() if "process_died" in line]


def no_pause_after_a_clean_end(rounds=4):
    """Workers that are asked to end, again and again (a rolling restart), are back at once each time."""
    with Supervised() as d:
        up = d.up()
        begin = time.monotonic()
        for _ in range(rounds):
            before = d.parents()
            for pid in before:
                os.kill(pid, signal.SIGTERM)
            wait_for("others run", lambda: len(d.parents()) == 2 and not set(d.parents()) & set(before), 10)
        took = time.monotonic() - begin
        assert set(pauses(d)) == {"100ms"}, pauses(d)
        d.publish([{"number": 1, "action": "ack"}])
        d.handles(1)
        up.terminate()
        assert up.wait(20) == 0, d.log()[-600:]
        return f"{rounds} rounds in {took:.1f} s"


def no_pause_after_a_charged_death(poison=8):
    """One process and a queue full of poison: it is back at once after each death, for the good ones between them."""
    with Supervised(attempts=1, processes=1) as d:
        up = d.up()
        begin = time.monotonic()
        d.publish([{"number": n, "action": "poison", "poison": "abort"} if n % 2 else {"number": n, "action": "ack"}
                   for n in range(2 * poison)])
        wait_for("settled", d.settled, 60)
        took = time.monotonic() - begin
        counts = d.queue()
        assert counts["dead"] == counts["acked"] == poison, counts
        wait_for("the last restart", lambda: len(pauses(d)) == poison)
        assert pauses(d) == ["20ms"] * poison, pauses(d)
        up.terminate()
        assert up.wait(20) == 0, d.log()[-600:]
        return f"{poison} deaths in {took:.1f} s"


def the_pause_grows_in_vain():
    """What dies before it has handled anything, nobody to blame, is started less and less often."""
    with Supervised(processes=1) as d:
        up = d.up()
        for _ in range(4):
            parent = wait_for("it runs", d.parents)[0]
            child = wait_for("its child", lambda: children(parent))[0]
            os.kill(child, signal.SIGKILL)
            wait_for("it has ended", lambda: parent not in d.parents(), 10)
        wait_for("the last restart", lambda: len(pauses(d)) == 4)
        assert pauses(d) == ["100ms", "200ms", "400ms", "800ms"], pauses(d)
        up.terminate()
        assert up.wait(20) == 0, d.log()[-600:]


def drains_without_a_broker(supervised):
    """The broker is gone, and a session timeout is longer than anybody would wait: a drain takes 5 s above `drain` at most, with
    handlers that end and with one that does not."""
    with Supervised(processes=1) as d:
        d.file.write_text(d.file.read_text().replace("session_timeout: 2s", "session_timeout: 30s"))
        if supervised:
            process = d.up()
            broker = next(pid for pid in children(process.pid) if b"\0broker\0" in command(pid))
        else:
            broker = d.broker().pid
            process = d.worker()
            wait_for("a worker", d.attached)
        d.publish([{"number": 1, "action": "sleep", "millis": 500}, {"number": 2, "action": "sleep", "millis": 60000}])
        wait_for("both run", lambda: d.runs()[0][1] and d.runs()[0][2])
        os.kill(broker, signal.SIGKILL)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1, "what was settled nobody confirmed"
        took = time.monotonic() - begin
        assert took < 2 + 5 + 1, f"took {took:.1f} s under `drain: 2s`"
        return f"{took:.1f} s"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    args, _ = options.parse_known_args()
    suite = Suite()
    suite.run_all([("a half-saved deployment file and a crash: the others go on", goes_on_with, half_saved),
                   ("a plugin that is missing for a moment and a crash: the others go on", goes_on_with, missing),
                   ("a truncated plugin and a crash: the others go on", goes_on_with, truncated),
                   ("a half-saved deployment file and a broker that dies", a_broker_of_a_half_saved_file),
                   ("no pause after clean ends", no_pause_after_a_clean_end),
                   ("no pause after deaths whose culprit is charged", no_pause_after_a_charged_death),
                   ("a growing pause after deaths in vain", the_pause_grows_in_vain),
                   ("weir up drains without a broker", drains_without_a_broker, True),
                   ("weir worker drains without a broker", drains_without_a_broker, False)],
                  args.only, sanitized_at_once=2)
    suite.end()


if __name__ == "__main__":
    main()
