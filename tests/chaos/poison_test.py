#!/usr/bin/python3
"""Messages that end their process, among innocent ones: only they are charged, and they become dead letters.

    poison_test.py [--messages 10000] [--only KIND]
"""

import argparse
import json
import re
import threading
import time

from kit import Deployment, Suite, wait_for, plugin
from memory_limit import MemoryLimit

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 10s }}
queues:
  work: {{ attempts: {attempts}, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    shards: 2
    window: {{ messages: 256, bytes: 16MiB }}
    timeout: {timeout}
    stall_after: {stall_after}
    drain: 2s
    with: {{ ledger: {ledger} }}
"""


def deployment(attempts=2, timeout="20s", stall_after="100ms"):
    return Deployment(YAML, attempts=attempts, timeout=timeout, stall_after=stall_after, plugin=plugin("work"))


class Keeper:
    """Starts the worker again whenever it ends, as a supervisor would, but at once."""

    def __init__(self, deployment, memory=None):
        self.deployment, self.memory, self.deaths, self.ending = deployment, memory, 0, False
        self.thread = threading.Thread(target=self.keep)
        self.thread.start()

    def keep(self):
        while not self.ending:
            worker = self.deployment.worker(prefix=self.memory.prefix if self.memory else ())
            if self.memory:
                self.memory.watch(worker)
            while worker.poll() is None and not self.ending:
                time.sleep(0.01)
            if not self.ending:
                self.deaths += 1
                assert self.deaths < 200, "the worker dies again and again"
        worker.terminate()
        worker.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()


def histories(d):
    return [json.loads(d.weir("dead", "show", "work", each["id"], "--json", "--engine", d.engine).stdout)
            for each in d.dead()]


def poisoned(kind, messages, action="poison", attempts=2, timeout="20s", within=120, error=None, stack=None,
             memory=None, grown=0):
    """3 poison messages among the others: exactly 3 dead letters, every other message handled, none charged."""
    with deployment(attempts, timeout) as d:
        d.broker()
        poison = [messages // 4, messages // 2, messages * 3 // 4]
        # Others wait beside them, in every slot of the window.
        tasks = [{"number": n, "action": action, "poison": kind} if n in poison else
                 {"number": n, "action": "sleep" if n % 3 == 0 else "ack", "millis": 20} for n in range(messages)]
        d.publish(tasks)
        with Keeper(d, memory) as keeper:
            counts = wait_for("all settled", d.settled, within, 0.2)
        assert counts["dead"] == 3, f"{counts['dead']} dead letters: {d.dead()}"
        starts, ends = d.runs()
        missing = [n for n in range(messages) if ends[n] == 0 and n not in poison]
        assert not missing, f"{len(missing)} were not handled, e.g. {missing[:3]}"
        letters = histories(d)
        for letter in letters:
            assert len(letter["history"]) == attempts, letter["history"]
            last = letter["history"][-1]
            assert error is None or re.search(error, last["error"]), last
            assert stack is None or stack in last.get("stack", ""), last
            assert error is None or "timed out" in last["error"] or last.get("log"), f"no log lines: {last}"
            assert last.get("memory_grown_bytes", 0) >= grown, f"grown by less than {grown}: {last}"
        # The innocent were not charged: each charge is an attempt of a poison message.
        assert counts["retried"] == 3 * (attempts - 1), f"{counts['retried']} retried"
        return f"{messages} messages, {keeper.deaths} deaths, 3 dead: {letters[0]['history'][-1]['error']}"


def stall_is_named():
    """While a handler holds its loop, the log names it, its message, for how long, and where it is."""
    with deployment(stall_after="50ms") as d:
        d.broker()
        worker = d.worker()
        d.publish([{"number": 1, "action": "block", "millis": 3000}])
        log = d.folder / "worker-w.log"
        line = wait_for("a stall", lambda: next((l for l in log.read_text().splitlines() if "loop_stalled" in l), None), 10)
        assert not d.runs()[1], "it was told only once it was over"
        for part in ("queue=work", "message=work/", "attempt=1", "type=work.Task", "still=true", "block("):
            assert part in line, f"no '{part}' in {line}"
        held = re.search(r"held=(\d+)us", line)
        assert held and 50_000 <= int(held[1]) < 1_500_000, line
        wait_for("settled", d.settled, 10)
        assert d.queue()["retried"] == 0
        worker.terminate()
        worker.wait(10)
        return f"after {int(held[1]) / 1000:.0f} ms"


def out_of_memory(messages, action):
    with MemoryLimit(192) as memory:
        note = poisoned("out_of_memory", messages, action, error="SIGKILL", memory=memory, grown=64 << 20)
        return f"{memory.kind}; {note}"


KINDS = {
    "null_pointer": dict(error="SIGSEGV", stack="null_pointer"),
    "abort": dict(error="SIGABRT", stack="abort"),
    "stack_overflow": dict(error="SIGSEGV", stack="stack_overflow"),
    # (In offload, one of three may find both threads taken, and time out before it runs.)
    "exit": dict(error="exit code 0"),
    "sigkill": dict(error="SIGKILL"),
    "endless_loop": dict(error="stuck|timed out", attempts=1, timeout="2s"),
}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--messages", type=int, default=10_000)
    options.add_argument("--only")
    args, _ = options.parse_known_args()
    suite = Suite()
    for kind, how in KINDS.items():
        for action in ("poison", "offload_poison"):
            if args.only and args.only not in (kind, kind + "/" + action):
                continue
            where = " in offload" if action == "offload_poison" else ""
            suite.run(f"a handler that ends its process by {kind}{where} is charged, and nobody else", lambda: poisoned(
                kind, args.messages, action, **how))
    for action in ("poison", "offload_poison"):
        if not args.only or args.only in ("out_of_memory", "out_of_memory/" + action):
            where = " in offload" if action == "offload_poison" else ""
            suite.run(f"a handler that takes all memory{where} is charged, and nobody else", lambda: out_of_memory(
                args.messages, action))
    if not args.only or args.only == "stall":
        suite.run("a stall is named while it lasts", stall_is_named)
    suite.end()


if __name__ == "__main__":
    main()
