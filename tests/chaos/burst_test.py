#!/usr/bin/python3
"""A burst is shared by all shards and processes of its group, and waits in line for a limit without being retried."""

import collections
import time

from kit import SANITIZED, WEIR, Deployment, Suite, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data }}
queues:
  work:
workers:
  w:
    plugin: {plugin}
    queues: [work]
    processes: {{ least: {processes} }}
    shards: {shards}
    timeout: {timeout}
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
SLOWER = 3 if SANITIZED else 1


class Group(Deployment):
    """`weir up` with so many idle sessions of one queue."""

    def __init__(self, processes, shards, timeout="60s"):
        super().__init__(YAML, plugin=plugin("work"), processes=processes, shards=shards, timeout=timeout)
        self.sessions = processes * shards

    def __enter__(self):
        super().__enter__()
        self.up = self.start("up", WEIR, "up", self.file)
        wait_for("all sessions", lambda: sum(w["connected"] for w in self.workers() or []) == self.sessions, 10 * SLOWER)
        return self

    def stop(self):
        self.up.terminate()
        assert self.up.wait(30) == 0, (self.folder / "up.log").read_text()[-600:]


def blocking(count, millis):
    return [{"number": n, "action": "block", "millis": millis} for n in range(count)]


def twelve_that_block(processes, shards, one_by_one):
    with Group(processes, shards) as d:
        begin = time.monotonic()
        for each in [[task] for task in blocking(12, 800)] if one_by_one else [blocking(12, 800)]:
            d.publish(each)
        wait_for("all are handled", lambda: sum(d.runs()[1].values()) == 12, 30)
        took = time.monotonic() - begin
        # Two each; one by one they come over some time, so one shard may have three.
        assert took < (2.4 + (1.6 if one_by_one else 0)) * SLOWER, f"{took:.1f} s for 12 of 0.8 s by {d.sessions} shards"
        d.stop()
        return f"{took:.1f} s"


def many_over_processes(messages, most):
    """None of three processes has more of them in its hands than `most`."""
    with Group(3, 1) as d:
        d.publish(blocking(messages, 5))
        wait_for("all are handled", lambda: d.settled() and d.queue()["acked"] == messages, 30)
        starts = [line.split() for line in d.ledger.read_text().splitlines() if line.startswith("start")]
        by_process = collections.Counter(pid for _, _, _, pid, *_ in starts)
        assert len(by_process) == 3 and max(by_process.values()) <= most, by_process
        d.stop()
        return ", ".join(str(n) for n in sorted(by_process.values()))


def slow_ones_first():
    """One process is given 20 slow ones, the other 20 quick ones: who is done first takes over what has not started."""
    with Group(2, 1) as d:
        d.publish([{"number": n, "action": "block", "millis": 200 if n < 20 else 1} for n in range(40)])
        begin = time.monotonic()
        wait_for("all are handled", lambda: d.settled() and d.queue()["acked"] == 40, 30)
        took = time.monotonic() - begin
        assert took < 3.4 * SLOWER, f"{took:.1f} s; one alone takes 4 s, two together 2 s"
        assert d.queue()["retried"] == 0 and set(d.runs()[0].values()) == {1}, d.queue()
        d.stop()
        return f"{took:.1f} s"


def in_line_for_five(messages, millis):
    """Far more wait in line than have their turn within the timeout: none is retried, each is done once."""
    with Group(1, 1, timeout="1s") as d:
        begin = time.monotonic()
        d.publish([{"number": n, "action": "limited", "millis": millis} for n in range(messages)])
        wait_for("all are handled", lambda: d.settled() and d.queue()["acked"] == messages, 60 * SLOWER, 0.1)
        took, (starts, ends), counts = time.monotonic() - begin, d.runs(), d.queue()
        assert counts["retried"] == 0 and counts["dead"] == 0, counts
        assert set(ends.values()) == {1}, ends.most_common(3)
        log = (d.folder / "up.log").read_text()
        assert "deferred_in_line" in log and "limit=gate" in log, log[-600:]
        d.stop()
        return f"{took:.1f} s, at best {messages * millis / 5000:.1f}; {sum(starts.values()) - messages} deferred"


def main():
    suite = Suite()
    suite.run("12 that block are shared by six shards", twelve_that_block, 1, 6, False)
    suite.run("12 that block are shared by three processes of two shards", twelve_that_block, 3, 2, False)
    suite.run("12 published one by one are shared", twelve_that_block, 1, 6, True)
    suite.run("200 are shared by three processes", many_over_processes, 200, 80)
    suite.run("1,000 are shared by three processes", many_over_processes, 1000, 400)
    suite.run("what has not started goes to who idles", slow_ones_first)
    suite.run("of 400 in line for five none is retried", in_line_for_five, 400, 50)
    suite.end()


if __name__ == "__main__":
    main()
