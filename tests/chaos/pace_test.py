#!/usr/bin/python3
"""Good work with poison spread through it goes on: done within three times what it takes alone, never a second idle.

    pace_test.py [--long] [--messages N]

Two processes under `weir up`. What dies is started again; meanwhile, and while suspects are tried, the other works.
"""

import argparse
import time

from kit import SANITIZED, WEIR, Deployment, Suite, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 2s }}
queues:
  work: {{ attempts: 2, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    processes: {{ least: {processes} }}
    window: {{ messages: {at_once}, bytes: 16MiB }}
    timeout: 2s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
PROCESSES, AT_ONCE, MILLIS = 2, 8, 200
ATTEMPTS = 2
SLOWER = 3 if SANITIZED else 1  # a start, a death and its stack
# How a handler ends its process, or holds it for good. First those of the short form; what holds it, first of all: at the
# end of the queue nobody else has anything to do while it does. (What stops its process is for frozen_test.py: two of two
# are stopped before the first is replaced, three session timeouts later.)
KINDS = [("poison", "endless_loop"), ("poison", "abort"), ("poison", "sigkill"), ("offload_poison", "null_pointer"),
         ("poison", "exit"), ("poison", "exit_at_once"),
         ("poison", "null_pointer"), ("poison", "stack_overflow"), ("offload_poison", "abort"),
         ("offload_poison", "stack_overflow"), ("offload_poison", "exit"), ("offload_poison", "endless_loop"),
         ("offload_poison", "exit_at_once"), ("offload_poison", "sigkill"), ("poison", "abort"),
         ("poison", "null_pointer"), ("poison", "sigkill"), ("poison", "exit"), ("poison", "endless_loop")]


def alone(messages):
    """Seconds that the good messages take without poison."""
    return messages * MILLIS / 1000 / (PROCESSES * AT_ONCE)


def spread(messages, kinds):
    """The good ones, with the poison at even distances among them."""
    tasks = [{"number": n, "action": "sleep", "millis": MILLIS} for n in range(messages)]
    for i, (action, kind) in reversed(list(enumerate(kinds))):
        at = messages * (i + 1) // (len(kinds) + 1)
        tasks.insert(at, {"number": messages + i, "action": action, "poison": kind})
    return tasks


def idle_times(events, good):
    """Between two events of good messages' handlers: (seconds, when) where none of them ran."""
    running, last, idle = {}, None, []
    for at, what, number, pid in events:
        if number >= good:
            continue
        if last is not None and not running:
            idle.append((at - last, last))
        if what == "start":
            running[number] = pid
        else:
            running.pop(number, None)
        last = at
    return idle


class Ledger:
    """Starts and ends by time, with an end for what ran in a process that died."""

    def __init__(self, d):
        self.d, self.events = d, []

    def read(self):
        lines = [line.split() for line in self.d.ledger.read_text().splitlines()]
        events = [(float(seconds), what, int(number), int(pid)) for what, number, _, pid, _, _, seconds in lines]
        last = {}
        for at, _, _, pid in events:
            last[pid] = max(at, last.get(pid, 0))
        ended = {(number, pid) for _, what, number, pid in events if what == "end"}
        # It died with its process, which is last heard of by what another handler wrote: earlier, rather than later.
        events += [(last[pid], "end", number, pid) for _, what, number, pid in events
                   if what == "start" and (number, pid) not in ended]
        return sorted(events)


def goes_on(messages, kinds):
    with Deployment(YAML, plugin=plugin("work"), processes=PROCESSES, at_once=AT_ONCE) as d:
        up = d.start("up", WEIR, "up", d.file)
        wait_for("both", lambda: sum(w["connected"] for w in d.workers() or []) == PROCESSES)
        d.publish(spread(messages, kinds))
        limit = 3 * SLOWER * alone(messages)
        begin = time.monotonic()
        wait_for("the good ones are handled", lambda: sum(d.runs()[1][n] > 0 for n in range(messages)) == messages,
                 limit + 60, 0.2)
        took = time.monotonic() - begin
        idle = sorted(idle_times(Ledger(d).read(), messages), reverse=True)
        wait_for("the poison is dead", lambda: (q := d.queue()) and q["dead"] == len(kinds), 90, 0.2)
        counts, (starts, _) = d.queue(), d.runs()
        worst = max(starts[messages + i] for i in range(len(kinds)))
        print(f"  {messages} good, {len(kinds)} poison: {took:.1f} s (alone {alone(messages):.1f}); longest without a good "
              f"handler {idle[0][0] if idle else 0:.2f} s; most starts of a poison {worst}", flush=True)
        assert counts["retried"] == len(kinds) * (ATTEMPTS - 1), counts
        assert took <= limit, f"{took:.1f} s for {limit:.1f}"
        assert not idle or idle[0][0] < SLOWER, f"nobody worked for {idle[0][0]:.2f} s, at {idle[0][1] - begin:.1f} s"
        up.terminate()
        assert up.wait(30) == 0, (d.folder / "up.log").read_text()[-600:]
        return f"{took:.1f} s"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--long", action="store_true")
    options.add_argument("--messages", type=int)
    args, _ = options.parse_known_args()
    suite = Suite()
    if args.long:
        suite.run("60 s of good work with 19 kinds of poison", goes_on, args.messages or 4800, KINDS)
    else:
        suite.run("good work with poison in it goes on", goes_on, args.messages or 480, KINDS[:6])
    suite.end()


if __name__ == "__main__":
    main()
