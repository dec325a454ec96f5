#!/usr/bin/python3
"""Restarts, blocked loops and cut connections: nothing runs twice, nothing is stored twice, the window holds.

    restart_test.py [--restarts 20] [--cuts 1000]
"""

import argparse
import os
import random
import signal
import subprocess
import threading
import time

from kit import SANITIZED, WEIR, Deployment, Suite, Tail, children, kill, plugin, rss_anon_mib, wait_for
from proxy import Proxy

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: {session_timeout} }}
queues:
  work: {{ attempts: 3, backoff: {{ first: 50ms, most: 1s }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    window: {{ messages: {window}, bytes: 16MiB }}
    timeout: {timeout}
    drain: 2s
    with: {{ ledger: {ledger} }}
"""

# What is not hurt goes on within so many seconds; and what a machine that has other work to do may add.
CARRY_ON, SLACK = 2.0, 1.0


def deployment(session_timeout="10s", window=256, timeout="60s"):
    return Deployment(YAML, session_timeout=session_timeout, window=window, timeout=timeout, plugin=plugin("work"))


def restarts_under_long_handlers(rounds):
    """Broker restarts while handlers of 10 s run: none runs twice."""
    with deployment() as d:
        broker = d.broker()
        d.worker()
        d.publish({"number": n, "action": "sleep", "millis": 10000} for n in range(64))
        wait_for("64 started", lambda: sum(d.runs()[0].values()) == 64)
        begin = time.monotonic()
        done = 0
        while done < rounds and time.monotonic() - begin < 60:
            kill(broker)
            broker = d.broker()
            done += 1
            if done % 7 == 0:
                # Fresh work between the restarts, so that there is always something held.
                d.publish({"number": 1000 + done * 10 + i, "action": "sleep", "millis": 10000} for i in range(4))
            time.sleep(random.uniform(0.05, 0.6))
        wait_for("all done", d.settled, 40)
        starts, ends = d.runs()
        twice = [n for n, count in starts.items() if count != 1]
        assert not twice, f"ran twice: {twice}"
        assert starts == ends
        assert done == rounds, f"only {done} restarts"
        return f"{done} restarts, {len(starts)} handlers, none twice"


def blocked_loop_keeps_its_lease():
    """A handler that blocks its loop for longer than the session's timeout neither loses its lease nor runs twice."""
    with deployment(session_timeout="2s", timeout="40s") as d:
        d.broker()
        d.worker()
        d.publish([{"number": 1, "action": "block", "millis": 20000}])
        d.publish({"number": n, "action": "ack"} for n in range(2, 10))
        wait_for("all done", d.settled, 40)
        starts, ends = d.runs()
        assert all(count == 1 for count in starts.values()), starts
        assert len(ends) == 9
        counts = d.queue()
        assert counts["retried"] == 0, counts
        return "20 s under a session_timeout of 2 s"


def killed_worker_returns_its_messages():
    """A worker's child that is killed is reported by its parent: what it held runs again at once, uncharged.

    All had started, so all are suspects: one at first, and with each that settles one more at once.
    """
    with deployment(session_timeout="30s") as d:
        d.broker()
        worker = d.worker(name="first")
        d.publish({"number": n, "action": "sleep", "millis": 1000} for n in range(20))
        wait_for("started", lambda: len(d.runs()[0]) == 20)
        child = wait_for("a child", lambda: children(worker.pid))[0]
        os.kill(child, signal.SIGKILL)
        begin = time.monotonic()
        d.worker(name="second")
        wait_for("the first again", lambda: sum(d.runs()[0].values()) > 20, 10)
        took = time.monotonic() - begin
        wait_for("all again", lambda: sum(d.runs()[0].values()) == 40, 20)
        wait_for("all done", d.settled, 15)
        assert d.queue()["retried"] == 0
        assert took < 5, f"{took:.1f} s under a session_timeout of 30 s: the death was not reported"
        return f"back after {took:.1f} s"


class Peaks:
    """The most anonymous memory that each of some processes had, in MiB, from now on."""

    def __init__(self):
        self.most, self.pids, self.ending = {}, {}, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.ending:
            for name, pid in list(self.pids.items()):
                self.most[name] = max(self.most.get(name, 0), rss_anon_mib(pid))
            time.sleep(0.02)

    def end(self):
        self.ending = True
        self.thread.join()
        return self.most


def peaks_under_a_backlog(messages):
    """Publishes them and has a worker hold a window of them for ever; the peaks of both, from start to end."""
    with deployment(window=256, timeout="1h") as d:
        peaks = Peaks()
        peaks.pids["broker"] = d.broker().pid
        lines = d.folder / "lines"
        with lines.open("w") as out:
            for n in range(messages):
                out.write('{"number":"%d","action":"never"}\n' % n)
        d.weir("publish", "work", "--engine", d.engine, "--type", "work.Task", "--plugin", plugin("work"), "--from",
               lines, timeout=300)
        worker = d.worker()
        peaks.pids["worker"] = wait_for("a child", lambda: children(worker.pid))[0]
        wait_for("256 started", lambda: len(d.runs()[0]) >= 256, 20)
        leased = 0
        for _ in range(20):
            leased = max(leased, d.queue()["leased"])
            time.sleep(0.1)
        most = peaks.end()
        assert d.queue()["ready"] == messages - 256, d.queue()
        assert len(d.runs()[0]) == 256, len(d.runs()[0])
        assert leased == 256, leased
        return most


def window_holds_under_a_backlog(messages=1_000_000):
    """Handlers that never finish: no more than the window in flight, and ten times the backlog costs no memory.

    Under sanitizers the window alone: the bounds are of Weir's own memory.
    """
    if SANITIZED:
        peaks_under_a_backlog(messages // 10)
        return f"{messages // 10} waiting, 256 in flight; their memory is measured without sanitizers alone"
    few, many = peaks_under_a_backlog(messages // 10), peaks_under_a_backlog(messages)
    told = "; ".join(f"{name} RssAnon at most {few[name]:.1f} and {many[name]:.1f} MiB" for name in ("broker", "worker"))
    assert many["worker"] - few["worker"] < 2, told
    assert many["broker"] - few["broker"] < 8, told
    assert many["broker"] < 64, told
    return f"{messages // 10} and {messages} waiting, 256 in flight; {told}"


def gaps_and_most_at_once(d):
    """From the ledger: the longest time between two starts, and the most handlers between their start and their end."""
    times = [(float(at), 1 if what == "start" else -1) for what, *_, at in map(str.split, d.ledger.read_text().splitlines())]
    times.sort()  # of equal times the end comes first
    starts = [at for at, step in times if step > 0]
    running = most = 0
    for _, step in times:
        running += step
        most = max(most, running)
    return max(after - before for before, after in zip(starts, starts[1:])), most, len(starts) / (starts[-1] - starts[0])


class Samples:
    """The queue's counts and what its workers hold, asked for again and again on a thread of its own."""

    def __init__(self, d):
        self.d, self.queues, self.held, self.ending = d, [], [], False
        self.thread = threading.Thread(target=self.take)
        self.thread.start()

    def take(self):
        while not self.ending:
            counts, workers = self.d.queue(), self.d.workers()
            if counts:
                self.queues.append(counts)
            self.held += [worker["held_messages"] for worker in workers or []]
            time.sleep(0.05)

    def end(self):
        self.ending = True
        self.thread.join()


def cut_connections(cuts, seed):
    """Connections cut at random: the window is never exceeded and never starves, nothing is stored twice."""
    random.seed(seed)
    window, handler, backlog = 64, 0.2, 1000
    with deployment(window=window) as d:
        d.broker()
        proxy = Proxy(d.port, seed)
        # Workers and publisher go through the proxy; the ledger's numbers tell what was stored twice.
        through = d.folder / "proxied.yaml"
        through.write_text(d.file.read_text().replace(f":{d.port}", f":{proxy.port}"))
        # More than the worker can do before the next lines, at every moment: its window has no excuse not to be full.
        d.publish({"number": n, "action": "sleep", "millis": int(handler * 1000)} for n in range(2 * backlog))
        published = 2 * backlog
        d.start("worker", WEIR, "worker", through, "w")
        publisher = d.start("publisher", WEIR, "publish", "work", "--engine", f"weir://127.0.0.1:{proxy.port}", "--type",
                            "work.Task", "--plugin", plugin("work"), stdin=subprocess.PIPE)
        wait_for("the window is full", lambda: (d.queue() or {}).get("leased") == window)
        samples = Samples(d)
        ledger = Tail(d.ledger)
        done = started = 0
        begin = time.monotonic()
        while done < cuts and time.monotonic() - begin < 60 + cuts * 0.4:
            started += sum(line.startswith("start") for line in ledger.new())
            while published - started < 2 * backlog:
                publisher.stdin.write(b'{"number":"%d","action":"sleep","millis":"%d"}\n' % (published, handler * 1000))
                published += 1
            publisher.stdin.flush()
            if proxy.cut(reset=random.random() < 0.5):
                done += 1
            time.sleep(random.uniform(0.01, 0.15))
        took = time.monotonic() - begin
        samples.end()
        publisher.stdin.close()
        assert publisher.wait(60) == 0, "the publisher did not get all confirmed"
        wait_for("all done", d.settled, 60)
        assert done >= cuts, f"only {done} cuts"
        starts, ends = d.runs()
        counts = d.queue()
        assert counts["published"] == published, f"stored {counts['published']} of {published}"
        assert set(ends) == set(range(published)), "some were never handled"
        twice = sum(1 for count in starts.values() if count > 1)
        assert twice == 0, f"{twice} ran twice"
        assert min(each["ready"] for each in samples.queues) > 0, "there was no backlog: the test saw nothing of starvation"
        # `leased` may be more: what the worker has settled is not in its window while its settlements are sent again.
        held, leased = max(samples.held), max(each["leased"] for each in samples.queues)
        assert held <= window, f"{held} held under a window of {window}"
        gap, at_once, pace = gaps_and_most_at_once(d)
        assert at_once <= window, f"{at_once} ran at once under a window of {window}"
        assert gap <= CARRY_ON + SLACK, f"no handler started for {gap:.2f} s, with a backlog"
        return (f"{done} cuts in {took:.0f} s, {published} messages, at most {held} held, {leased} leased and {at_once} at "
                f"once, no gap above {gap:.2f} s, {pace:.0f} of {window / handler:.0f} starts a second, seed {seed}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--restarts", type=int, default=20)
    options.add_argument("--cuts", type=int, default=200)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options.add_argument("--only")
    args, _ = options.parse_known_args()
    suite = Suite()
    cases = [
        ("20 broker restarts under 10 s handlers run none twice", restarts_under_long_handlers, args.restarts),
        ("a blocked loop neither loses its lease nor runs twice", blocked_loop_keeps_its_lease),
        ("a killed worker's messages return at once", killed_worker_returns_its_messages),
        ("a backlog of a million costs neither window nor memory", window_holds_under_a_backlog),
        ("cut connections double nothing and starve nobody", cut_connections, args.cuts, args.seed),
    ]
    for name, function, *rest in cases:
        if not args.only or args.only in function.__name__:
            suite.run(name, function, *rest)
    suite.end()


if __name__ == "__main__":
    main()
