#!/usr/bin/python3
"""Messages that end their process, among innocent ones: only they are charged, and they become dead letters.

    poison_test.py [--messages 10000] [--only KIND] [--long] [--seed N]
"""

import argparse
import json
import os
import random
import re
import signal
import threading
import time

import poison_mix
from kit import SANITIZED, Deployment, Suite, children, wait_for, plugin
from memory_limit import MemoryLimit

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: {session_timeout}s }}
queues:
  work: {{ attempts: {attempts}, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    shards: 2
    window: {{ messages: {window}, bytes: 16MiB }}
    timeout: {timeout}
    stall_after: {stall_after}
    drain: {drain}
    with: {{ ledger: {ledger} }}
"""


def deployment(attempts=2, timeout="20s", stall_after="100ms", drain="2s", window=256, session_timeout=10):
    return Deployment(YAML, attempts=attempts, timeout=timeout, stall_after=stall_after, drain=drain, window=window,
                      session_timeout=session_timeout, plugin=plugin("work"))


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


def tells_its_end(attempt, letter, kind, error, stack, grown):
    """That attempt's entry in a dead letter's history says how it ended its process."""
    assert re.fullmatch(error, attempt["error"]), attempt
    assert (f"poison::{kind}(" in attempt.get("stack", "")) == stack, attempt
    assert "memory_grown_bytes" in attempt and attempt["memory_grown_bytes"] >= grown, attempt
    last_words = f"takes_poison queue=work message={letter['id']} attempt={attempt['number']} kind={kind}"
    assert last_words in attempt.get("log", []), f"no '{last_words}' in {attempt}"


def poisoned(kind, messages, action="poison", *, error, stack=False, grown=float("-inf"), attempts=2, timeout="20s",
             drain="2s", memory=None):
    """3 poison messages among the others: exactly 3 dead letters, every other message handled, none charged."""
    with deployment(attempts, timeout, drain=drain) as d:
        d.broker()
        poison = [messages // 4, messages // 2, messages * 3 // 4]
        # Others wait beside them, in every slot of the window.
        tasks = [{"number": n, "action": action, "poison": kind} if n in poison else
                 {"number": n, "action": "sleep" if n % 3 == 0 else "ack", "millis": 20} for n in range(messages)]
        d.publish(tasks)
        with Keeper(d, memory) as keeper:
            counts = wait_for("all settled", d.settled, 120, 0.2)
        assert counts["dead"] == 3, f"{counts['dead']} dead letters: {d.dead()}"
        starts, ends = d.runs()
        missing = [n for n in range(messages) if ends[n] == 0 and n not in poison]
        assert not missing, f"{len(missing)} were not handled, e.g. {missing[:3]}"
        letters = histories(d)
        for letter in letters:
            assert [each["number"] for each in letter["history"]] == list(range(1, attempts + 1)), letter["history"]
            for attempt in letter["history"]:
                tells_its_end(attempt, letter, kind, error, stack, grown)
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
        for part in ("queue=work", "message=work/", "attempt=1", "type=work.Task", "still=true"):
            assert part in line, f"no '{part}' in {line}"
        assert re.search(r' stack=".*block\(', line), line
        held = re.search(r"held=([\d.]+)ms", line)
        assert held and 50 <= float(held[1]) < 1_500, line
        wait_for("settled", d.settled, 10)
        assert d.queue()["retried"] == 0
        worker.terminate()
        worker.wait(10)
        return f"after {float(held[1]):.0f} ms"


def stopping_suspects_nobody():
    """A second Ctrl-C kills what will not end: what ran is neither charged nor tried one by one."""
    with deployment() as d:
        broker_log = d.folder / "broker.log"
        d.broker()
        worker = d.worker()
        # As much as both windows hold. In each shard nine wait at most, then one holds the loop.
        d.publish([{"number": n, "action": "block" if n % 10 == 9 else "never", "millis": 8000} for n in range(512)])
        wait_for("both loops blocked", lambda: sum(n % 10 == 9 for n in d.runs()[0]) == 2, 5)
        worker.send_signal(signal.SIGINT)
        time.sleep(0.2)
        worker.send_signal(signal.SIGINT)
        worker.wait(10)
        counts = wait_for("all returned", lambda: (c := d.queue()) and c["leased"] == 0 and c, 5)
        assert counts["ready"] == 512 and counts["retried"] == 0, counts
        assert "suspect" not in broker_log.read_text(), broker_log.read_text()[-400:]
        assert "suspects" not in (d.folder / "worker-w.log").read_text()
        return "512 ready again"


def stopped_process_is_not_stuck():
    """A process that was stopped (SIGSTOP) for longer than its handlers' timeout is not ended for it, nobody charged."""
    with deployment(timeout="2s") as d:
        d.broker()
        worker = d.worker()
        d.publish([{"number": 1, "action": "block", "millis": 1500}])
        wait_for("started", lambda: d.runs()[0])
        child = wait_for("a child", lambda: children(worker.pid))[0]
        os.kill(child, signal.SIGSTOP)
        time.sleep(4)
        os.kill(child, signal.SIGCONT)
        wait_for("settled", d.settled, 10)
        assert worker.poll() is None and d.queue()["retried"] == 0, d.queue()
        assert "handler_stuck" not in (d.folder / "worker-w.log").read_text()
        return "4 s"


def throughput_comes_back(backlog=400_000):
    """A SIGKILL with 512 messages held, handlers of 10 ms: within 10 s it is as fast again as before, to 90 %."""
    with deployment() as d:
        d.broker()
        lines = d.folder / "lines"
        with lines.open("w") as out:
            for n in range(backlog):
                out.write('{"number":"%d","action":"sleep","millis":"10"}\n' % n)
        d.weir("publish", "work", "--engine", d.engine, "--type", "work.Task", "--plugin", plugin("work"), "--from",
               lines, timeout=300)

        def rate(seconds):
            first, begin = d.queue()["acked"], time.monotonic()
            time.sleep(seconds)
            return (d.queue()["acked"] - first) / (time.monotonic() - begin)

        with Keeper(d) as keeper:
            wait_for("it runs", lambda: d.queue()["acked"] > 1000)
            before = rate(2)
            wait_for("a full window", lambda: d.queue()["leased"] == 512, 5, 0.001)
            worker = next(p for p in reversed(d.processes) if "worker" in p.args)
            os.kill(children(worker.pid)[0], signal.SIGKILL)
            begin = time.monotonic()
            after = 0
            while after < 0.9 * before:
                assert time.monotonic() - begin < 10, f"{after:.0f} a second, {before:.0f} before"
                after = rate(0.5)
            took = time.monotonic() - begin
            assert d.queue()["ready"] > 0, "the backlog was too small: nothing is left to be fast with"
            assert keeper.deaths == 1 and d.queue()["retried"] == 0
        # As the broker says of each session that died.
        held = re.findall(r'session_ended .*signal 9" held=(\d+)', (d.folder / "broker.log").read_text())
        assert held == ["256", "256"], held
        return f"512 held; {before:.0f} a second before, {after:.0f} after {took:.1f} s"


def out_of_memory(messages, action):
    # So much that a process has room for 64 MiB more: under a sanitizer it needs twice as much before its first handler.
    with MemoryLimit(384 if SANITIZED else 192) as memory:
        note = poisoned("out_of_memory", messages, action, error=KILLED, memory=memory, grown=64 << 20)
        return f"{memory.kind}; {note}"


def mixed(kinds, good, attempts=3, seconds=120):
    """Each poison is charged `attempts` times, or acked before its process died; the good ones are handled, uncharged."""
    # A window in which few poisons meet: one that another's death cuts short is started once more for nothing.
    with deployment(attempts, window=8, session_timeout=2) as d:
        d.broker()
        tasks, poison = poison_mix.tasks(kinds, good)
        d.publish(tasks)
        begin = time.monotonic()
        with Keeper(d) as keeper:
            wait_for(f"all settled, of {kinds}", d.settled, seconds, 0.2)
        took = time.monotonic() - begin
        letters = {each["id"]: each["history"] for each in histories(d)}
        acked, starts = poison_mix.check(poison_mix.Ledger(d.ledger), poison, good, attempts, letters)
        told = " ".join(f"{kind}:{n}" for kind, n in starts.items())
        return (f"{len(kinds)} kinds among {good}, {keeper.deaths} deaths in {took:.0f} s; started: {told}; "
                f"acked before: {' '.join(acked) or 'none'}")


def corrupted():
    """A heap that is corrupted crashes whoever comes by: others may be charged. All is handled or dead in the end."""
    with deployment(5) as d:
        d.broker()
        tasks, poison = poison_mix.tasks(["heap_corruption"], 500)
        d.publish(tasks)
        with Keeper(d) as keeper:
            counts = wait_for("all settled", d.settled, 120, 0.2)
        _, ends = d.runs()
        missing = sum(ends[n] == 0 for n in range(len(tasks)) if n not in poison)
        assert missing <= counts["dead"], f"{missing} were not handled, {counts['dead']} are dead"
        return f"{keeper.deaths} deaths, {counts['retried']} retried, {counts['dead']} dead, {missing} of them innocent"


KILLED = "its process was killed: SIGKILL"
# `stack`: there is one. Of a process that is killed, or ends by _exit, nobody can take it.
KINDS = {
    "null_pointer": dict(error="killed its process: SIGSEGV at 0x10", stack=True),
    "abort": dict(error="killed its process: SIGABRT", stack=True),
    "stack_overflow": dict(error="killed its process: SIGSEGV at 0x[0-9a-f]+", stack=True),
    "exit": dict(error="ended its process: exit code 0", stack=True),
    # (The latter where another was on a CPU as well.)
    "exit_at_once": dict(error="(ended its process|its process ended): exit code 0"),
    "sigkill": dict(error=KILLED),
    "endless_loop": dict(error=r"stuck: on the CPU past its timeout, \d+\.\d{3}s after it started", stack=True,
                         timeout="2s", drain="100ms"),
}
# It takes 7 s to be found there, and 4 s more to end.
IN_OFFLOAD = {"endless_loop": dict(attempts=1)}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--messages", type=int, default=10_000)
    options.add_argument("--only")
    options.add_argument("--long", action="store_true", help="all kinds of poison in the mix, and a corrupted heap")
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="draws the mix")
    args, _ = options.parse_known_args()
    suite = Suite()
    for kind, how in KINDS.items():
        for action in ("poison", "offload_poison"):
            if args.only and args.only not in (kind, kind + "/" + action):
                continue
            where = " in offload" if action == "offload_poison" else ""
            if where:
                how = {**how, **IN_OFFLOAD.get(kind, {})}
            suite.run(f"a handler that ends its process by {kind}{where} is charged, and nobody else", lambda: poisoned(
                kind, args.messages, action, **how))
    for action in ("poison", "offload_poison"):
        if not args.only or args.only in ("out_of_memory", "out_of_memory/" + action):
            where = " in offload" if action == "offload_poison" else ""
            suite.run(f"a handler that takes all memory{where} is charged, and nobody else", lambda: out_of_memory(
                args.messages, action))
    if not args.only or args.only == "mix":
        kinds = poison_mix.ALL if args.long else poison_mix.drawn(args.seed)
        good = 3000 if args.long else 300
        suite.run(f"{len(kinds)} kinds of poison at once are each charged alone (--seed {args.seed})", lambda: mixed(
            kinds, good, seconds=600))
    if args.long and (not args.only or args.only == "heap"):
        suite.run("a corrupted heap ends", corrupted)
    if not args.only or args.only == "stall":
        suite.run("a stall is named while it lasts", stall_is_named)
    if not args.only or args.only == "throughput":
        suite.run("throughput comes back after a SIGKILL", throughput_comes_back)
    if not args.only or args.only == "stop":
        suite.run("a second Ctrl-C makes no suspects", stopping_suspects_nobody)
        suite.run("a stopped process is not stuck", stopped_process_is_not_stuck)
    suite.end()


if __name__ == "__main__":
    main()
