#!/usr/bin/python3
"""The data folder is wiped, or an older copy of it put back, under workers and publishers that live on.

    replaced_store_test.py [--only CASE]

What they hold and have unanswered is of a store that is no more. The new one gives the same numbers to other messages:
each of those must be handled, whatever is settled under an old lease. The old one's messages may be lost: that is what
the operator did.
"""

import argparse
import os
import shutil
import signal
import threading
import time

from kit import Deployment, Suite, children, kill, plugin, wait_for
from publishers import FedPublisher, task

HELD, NEW = 64, 1000
HOLD = 1500  # ms

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 4s }}
queues:
  work: {{ attempts: 2, backoff: {{ first: 50ms, most: 1s }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    window: {{ messages: 64, bytes: 16MiB }}
    drain: 2s
    with: {{ ledger: {ledger} }}
"""


class LivingPublisher(FedPublisher):
    """Publishes a quick message every few milliseconds, from 1,000,000 on, while it has leave to."""

    def __init__(self, d):
        self.sent, self.answers, self.going = 0, {}, threading.Event()
        super().__init__(self.start(d, d.engine, "work", "work.Task"), burst=2, pause=0.005)

    def next(self):
        if not self.going.is_set():
            return None
        self.sent += 1
        return task(1_000_000 + self.sent, "ack", 0)

    def heard(self, what, first, count=0):
        if what != "sent":
            self.answers.update(dict.fromkeys(range(first, first + count), what))

    def numbers(self, what):
        return {1_000_000 + n for n, answer in list(self.answers.items()) if answer == what}


def hold(d, first):
    """So many messages are in the hands of the worker, for as long as HOLD."""
    d.publish([{"number": str(first + n), "action": "sleep", "millis": HOLD} for n in range(HELD)])
    wait_for("handlers start", lambda: sum(first <= n < first + HELD for n in d.runs()[0]) >= HELD)


def log_lines(d, event):
    return [line for line in (d.folder / "broker.log").read_text().splitlines() if event in line]


def check_new_ones(d, before, publisher, sent_before):
    """All that is published from now on is handled, and the living go on."""
    wait_for("all of the new ones end", lambda: set(range(10_000, 10_000 + NEW)) <= set(d.runs()[1]), 30)
    heard = set(publisher.answers)
    wait_for("the publisher goes on", lambda: sum(n > sent_before and a == "confirmed"
                                                  for n, a in list(publisher.answers.items())) > 100, 20)
    publisher.going.clear()
    wait_for("all of its messages are answered", lambda: len(publisher.answers) == publisher.sent, 20)
    counts = wait_for("the queue is empty", d.settled, 20)
    _, ends = d.runs()
    confirmed_since = {n for n in publisher.numbers("confirmed") if n - 1_000_000 not in heard}
    missing = confirmed_since - set(ends)
    assert not missing, f"{len(missing)} were confirmed by the new store and never handled, such as {min(missing)}"
    assert counts["dead"] == 0, f"{counts['dead']} dead letters: {d.dead()[:1]}"
    assert not log_lines(d, "MALFORMED"), log_lines(d, "MALFORMED")[:2]
    back = [line for line in log_lines(d, "worker_attached") + log_lines(d, "worker_back")][before:]
    assert len(back) <= 4, f"the worker came back {len(back)} times: {back[-1]}"


def replaced(how):
    with Deployment(YAML, plugin=plugin("work")) as d:
        broker = d.broker()
        worker = d.worker()
        publisher = LivingPublisher(d)
        if how == "copy":
            d.publish([{"number": "1", "action": "ack"}])
            wait_for("it is handled", d.settled)
            broker.terminate()
            broker.wait()
            shutil.copytree(d.folder / "data", d.folder / "copy")
            broker = d.broker()
        # The first leases of a start: those that the new store gives first, too.
        hold(d, 1000)
        publisher.going.set()
        wait_for("the publisher is confirmed", lambda: len(publisher.answers) > 50)
        before = len(log_lines(d, "worker_attached")) + len(log_lines(d, "worker_back"))
        kill(broker)
        time.sleep(HOLD / 1000)  # what was held is settled, and nobody has heard it
        parent_and_child = [worker.pid, *children(worker.pid)]
        for pid in parent_and_child:
            os.kill(pid, signal.SIGSTOP)
        sent_before = publisher.sent
        shutil.rmtree(d.folder / "data")
        if how == "copy":
            shutil.copytree(d.folder / "copy", d.folder / "data")
        d.broker()
        d.publish([{"number": str(10_000 + n), "action": "ack"} for n in range(NEW)])
        for pid in parent_and_child:
            os.kill(pid, signal.SIGCONT)
        check_new_ones(d, before, publisher, sent_before)
        event = "store_is_older" if how == "copy" else "store_is_another"
        said = log_lines(d, event)
        assert 1 <= len(said) <= 2, f"said {len(said)} times, of a worker and a publisher: {said}"
        return f"{len(publisher.numbers('in_doubt'))} in doubt; said {len(said)} times"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    args, _ = options.parse_known_args()
    suite = Suite()
    for name, how in [("a wiped folder acks nothing by what was settled before", "wiped"),
                      ("an older copy acks nothing by what was settled since", "copy")]:
        if args.only in name:
            suite.run(name, replaced, how)
    suite.end()


if __name__ == "__main__":
    main()
