#!/usr/bin/python3
"""A failed fsync is never followed by a confirmation.

    disk_test.py [--rounds 4] [--seed N]

The broker runs on a disk that fails one fsync at a random instant while messages are published, and loses what was written
since the one before, as Linux may. Its next fsync would succeed: so a broker that asked again, or went on, would confirm
what is not there. It must end at once, without another sync; and once it runs again, every message that its publisher
heard confirmed is handled.

On a disk with less than 1 MiB free a failed sync cannot be told from a write that found no room: there the broker may give up
its ballast and carry out the same commit once more, whole, and go on if that is synced. It does, and the disk fails another
sync: nothing is lost that was confirmed before, between or after.

A disk that loses the same without a word must be found out by this test: else it proves nothing.
"""

import argparse
import errno
import pathlib
import random
import shutil
import tempfile
import time

from kit import WEIR, Deployment, Suite, kill, plugin, wait_for
from machines import Shim
from publishers import FedPublisher, task

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {data}, reserve: 4MiB }}
queues: {{ work: }}
workers:
  w: {{ plugin: {plugin}, queues: [work], with: {{ ledger: {ledger} }} }}
"""


class Publisher(FedPublisher):
    """Numbers from 1, as fast as they are confirmed, until it is killed."""

    def __init__(self, d):
        self.number = self.confirmed = 0
        super().__init__(self.start(d, d.engine, "work", "work.Task"), burst=8, pause=0.001)

    def next(self):
        self.number += 1
        return task(self.number, "ack", 0)

    def heard(self, what, first, count=0):
        if what == "confirmed":
            self.confirmed = max(self.confirmed, first + count - 1)  # in order: one queue, nothing refused


def hurt(folder, loss, how):
    """A broker, its disk and its publisher, to which `how` happens. How many were confirmed, and how many of those are not
    there once the broker runs again."""
    with Deployment(YAML, data=folder / "data", plugin=plugin("work")) as d:
        shim = Shim(d.folder / "shim")
        shim.lose_at_sync(loss)
        broker = d.start("broker", WEIR, "broker", d.file, env=shim.environment(folder))
        wait_for("broker listening", d.listening)
        publisher = Publisher(d)
        wait_for("the first are confirmed", lambda: publisher.confirmed > 0)
        how(d, shim, broker, publisher)
        time.sleep(0.1)  # what was sent is heard
        kill(publisher.process)
        publisher.reader.join(10)
        d.broker()
        d.worker("w")
        wait_for("everything is handled", d.settled, 30, 0.1)
        starts, _ = d.runs()
        return publisher.confirmed, sum(1 for number in range(1, publisher.confirmed + 1) if number not in starts)


def one_failure(chance, loss, folder):
    def how(d, shim, broker, _):
        time.sleep(chance.uniform(0.0, 0.5))
        shim.set(sync_errno=errno.EIO)
        wait_for("a sync fails", shim.failed)
        if loss == Shim.TOLD:
            wait_for("the broker ends", lambda: broker.poll() is not None)
            assert broker.returncode == 1, f"the broker ended with {broker.returncode}"
            assert "writing failed" in (d.folder / "broker.log").read_text(), "the broker does not say why it ended"
            assert shim.synced_after() == 0, f"{shim.synced_after()} syncs after the one that failed"
        else:
            time.sleep(0.2)
            kill(broker)

    return hurt(folder, loss, how)


def two_failures_and_no_room(chance, folder):
    """The first when the disk is full but for the ballast."""
    def how(_, shim, broker, publisher):
        time.sleep(chance.uniform(0.0, 0.3))
        shim.free_at_most(512 * 1024)
        shim.set(sync_errno=errno.EIO)
        wait_for("a sync fails", lambda: shim.failed() == 1)
        wait_for("the commit is carried out again", lambda: shim.synced_after() > 0)
        before = publisher.confirmed
        wait_for("it is confirmed", lambda: publisher.confirmed > before)
        time.sleep(chance.uniform(0.0, 0.3))
        assert broker.poll() is None and not (folder / "data" / "ballast").exists(), "the ballast was not what it went on by"
        shim.free_at_most(None)
        shim.set(sync_errno=errno.EIO)
        wait_for("the broker ends", lambda: broker.poll() is not None)
        assert shim.failed() == 2, f"{shim.failed()} syncs failed"

    return hurt(folder, Shim.TOLD, how)


def in_memory():
    """A folder on a device of its own, where syncs take no time."""
    return pathlib.Path(tempfile.mkdtemp(prefix="weir-test-", dir="/dev/shm"))


def failed_syncs(rounds, seed):
    chance, total = random.Random(seed), 0
    for _ in range(rounds):
        folder = in_memory()
        try:
            confirmed, lost = one_failure(chance, Shim.TOLD, folder)
        finally:
            shutil.rmtree(folder)
        assert lost == 0, f"{lost} of {confirmed} confirmed messages are lost; seed {seed}"
        total += confirmed
    return f"{rounds} failed syncs, {total} confirmed, 0 lost; seed {seed}"


def failed_syncs_without_room(rounds, seed):
    chance, total = random.Random(seed), 0
    for _ in range(rounds):
        folder = in_memory()
        try:
            confirmed, lost = two_failures_and_no_room(chance, folder)
        finally:
            shutil.rmtree(folder)
        assert lost == 0, f"{lost} of {confirmed} confirmed messages are lost; seed {seed}"
        total += confirmed
    return f"{rounds} failed syncs on a full disk, {total} confirmed, 0 lost; seed {seed}"


def a_lying_disk(seed):
    folder = in_memory()
    try:
        confirmed, lost = one_failure(random.Random(seed), Shim.UNTOLD, folder)
    except AssertionError as error:
        return f"found: {error}"  # its store is damaged
    finally:
        shutil.rmtree(folder)
    assert lost > 0, f"all {confirmed} are there: the test would find nothing"
    return f"found: {lost} of {confirmed} are lost"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    args, _ = options.parse_known_args()
    suite = Suite()
    suite.run("a failed fsync is never followed by a confirmation", failed_syncs, args.rounds, args.seed)
    suite.run("one on a full disk is followed by the whole commit once more", failed_syncs_without_room,
              (args.rounds + 1) // 2, args.seed)
    suite.run("a disk that loses writes without a word is found out", a_lying_disk, args.seed)
    suite.end()


if __name__ == "__main__":
    main()
