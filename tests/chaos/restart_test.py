#!/usr/bin/python3
"""Restarts, blocked loops and cut connections: nothing runs twice, nothing is stored twice, the window holds.

    restart_test.py [--restarts 20] [--cuts 1000]
"""

import argparse
import os
import random
import signal
import subprocess
import time

from kit import WEIR, Deployment, Suite, children, kill, plugin, rss_anon_mib, wait_for
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
    """A worker's child that is killed is reported by its parent: what it held runs again at once, uncharged."""
    with deployment(session_timeout="30s") as d:
        d.broker()
        worker = d.worker(name="first")
        d.publish({"number": n, "action": "sleep", "millis": 3000} for n in range(20))
        wait_for("started", lambda: len(d.runs()[0]) == 20)
        child = wait_for("a child", lambda: children(worker.pid))[0]
        os.kill(child, signal.SIGKILL)
        begin = time.monotonic()
        d.worker(name="second")
        wait_for("started again", lambda: sum(d.runs()[0].values()) == 40, 10)
        took = time.monotonic() - begin
        wait_for("all done", d.settled, 15)
        assert d.queue()["retried"] == 0
        assert took < 8, f"{took:.1f} s under a session_timeout of 30 s: the death was not reported"
        return f"back after {took:.1f} s"


def window_holds_under_a_backlog(messages=1_000_000):
    """Handlers that never finish, a large backlog: no more than the window in flight, and no memory for the backlog."""
    with deployment(window=256, timeout="1h") as d:
        broker = d.broker()
        lines = d.folder / "lines"
        with lines.open("w") as out:
            for n in range(messages):
                out.write('{"number":"%d","action":"never"}\n' % n)
        d.weir("publish", "work", "--engine", d.engine, "--type", "work.Task", "--plugin", plugin("work"), "--from",
               lines, timeout=300)
        worker = d.worker()
        wait_for("256 started", lambda: len(d.runs()[0]) == 256, 20)
        child = children(worker.pid)[0]
        before = rss_anon_mib(child)
        most = 0
        for _ in range(20):
            most = max(most, d.queue()["leased"])
            time.sleep(0.1)
        assert len(d.runs()[0]) == 256, len(d.runs()[0])
        assert most == 256, most
        after = rss_anon_mib(child)
        assert after - before < 2, f"the worker grew from {before:.1f} to {after:.1f} MiB"
        memory = rss_anon_mib(broker.pid)
        assert memory < 64, f"broker RssAnon {memory:.1f} MiB"
        return f"{messages} waiting: 256 in flight, broker RssAnon {memory:.1f} MiB, worker {after:.1f} MiB"


def cut_connections(cuts, seed):
    """Connections cut at random: the window is never exceeded and never starves, nothing is stored twice."""
    random.seed(seed)
    with deployment(window=64) as d:
        d.broker()
        proxy = Proxy(d.port, seed)
        # Workers and publisher go through the proxy; the ledger's numbers tell what was stored twice.
        through = d.folder / "proxied.yaml"
        through.write_text(d.file.read_text().replace(f":{d.port}", f":{proxy.port}"))
        d.start("worker", WEIR, "worker", through, "w")
        publisher = d.start("publisher", WEIR, "publish", "work", "--engine", f"weir://127.0.0.1:{proxy.port}", "--type",
                            "work.Task", "--plugin", plugin("work"), stdin=subprocess.PIPE)
        published = 0
        done = 0
        over = 0
        begin = time.monotonic()
        while done < cuts and time.monotonic() - begin < 240:
            for _ in range(20):
                publisher.stdin.write(b'{"number":"%d","action":"sleep","millis":"5"}\n' % published)
                published += 1
            publisher.stdin.flush()
            if proxy.cut():
                done += 1
            if done % 5 == 0:
                counts = d.queue()
                over = max(over, counts["leased"] if counts else 0)
            time.sleep(random.uniform(0.01, 0.15))
        publisher.stdin.close()
        assert publisher.wait(60) == 0, "the publisher did not get all confirmed"
        wait_for("all done", d.settled, 60)
        starts, ends = d.runs()
        counts = d.queue()
        assert counts["published"] == published, f"stored {counts['published']} of {published}"
        assert set(ends) == set(range(published)), "some were never handled"
        twice = sum(1 for count in starts.values() if count > 1)
        assert twice == 0, f"{twice} ran twice"
        assert over <= 64, f"{over} leased under a window of 64"
        assert done >= cuts, f"only {done} cuts"
        return f"{done} cuts, {published} messages, at most {over} leased, seed {seed}"


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
        ("the window holds under a backlog of a million", window_holds_under_a_backlog),
        ("cut connections double nothing and starve nobody", cut_connections, args.cuts, args.seed),
    ]
    for name, function, *rest in cases:
        if not args.only or args.only in function.__name__:
            suite.run(name, function, *rest)
    suite.end()


if __name__ == "__main__":
    main()
