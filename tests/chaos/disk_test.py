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

And a data folder that is taken away from under the broker, or made read-only, or whose file is cut off: it says so in words that
name the folder or file, and ends; and nothing is confirmed that cannot be found again. What is damaged on a stopped
broker's disk, `weir check-store` names, and the broker serves the rest.
"""

import argparse
import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
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


def taken_away(how, while_publishing, *words):
    """A broker from which `how` takes its data folder: what it says, and that nothing is confirmed from then on."""
    folder = in_memory()
    data = folder / "data"
    try:
        with Deployment(YAML, data=data, plugin=plugin("work")) as d:
            broker = d.broker()
            publisher = None
            if while_publishing:
                publisher = Publisher(d)
                wait_for("the first are confirmed", lambda: publisher.confirmed > 0)
            else:
                d.publish([{"number": 1, "action": "ack"}])
            how(data)
            time.sleep(0.1)  # what was confirmed before is heard
            confirmed = publisher.confirmed if publisher else 1
            wait_for("the broker ends", lambda: broker.poll() is not None, 5)
            said = (d.folder / "broker.log").read_text()
            assert any(one in said for one in words), f"the broker said: {said[-600:]}"
            assert str(data) in said.splitlines()[-1] or str(data) in said, "the folder is not named"
            if publisher:
                kill(publisher.process)
                publisher.reader.join(10)
                assert publisher.confirmed == confirmed, f"{publisher.confirmed - confirmed} were confirmed afterwards"
            return f"exit code {broker.returncode}"
    finally:
        subprocess.run(["chattr", "-R", "-i", str(data)], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def read_only(data):
    """By the file system's own flag, which holds for root and for what is open already."""
    subprocess.run(["chattr", "-R", "+i", str(data)], check=True, capture_output=True)


def cut_off(data):
    os.truncate(data / "data.mdb", 4096)


GONE = "was removed or replaced while the broker ran on it"
SIGNAL = "its store cannot be read or written any more"


def damaged_and_checked():
    """A byte of one message is another: it is named, the others are served."""
    folder = in_memory()
    data = folder / "data"
    try:
        with Deployment(YAML, data=data, plugin=plugin("work")) as d:
            broker = d.broker()
            for number in range(1, 41):  # a segment each: each command is a publish
                d.publish([{"number": number, "action": "ack"}])
                if number == 2:
                    running = d.weir("check-store", data, check=False)
                    assert running.returncode == 2 and "in use by a broker" in running.stderr, running
            kill(broker)
            whole = d.weir("check-store", data, "--json")
            assert json.loads(whole.stdout)["whole"], whole.stdout
            pages = (data / "data.mdb").read_bytes()
            at = pages.find(b"work.Task")
            assert at > 0, "no message found in data.mdb"
            message = pages[at:at + 40]  # with its time; in all copies: a page that is free again may have one
            (data / "data.mdb").write_bytes(pages.replace(message, b"W" + message[1:]))
            found = d.weir("check-store", data, "--json", check=False)
            report = json.loads(found.stdout)
            assert found.returncode == 1 and not report["whole"], found
            text = d.weir("check-store", data, check=False)
            assert text.returncode == 1 and "damaged" in text.stdout, text
            d.broker()
            d.worker("w")
            wait_for("the rest is handled", d.settled, 30, 0.1)
            lost = d.queue()["damaged"]
            starts, _ = d.runs()
            assert lost > 0 and len(starts) + lost == 40, f"{lost} damaged, {len(starts)} handled"
            wait_for("it is named", lambda: "store_value_damaged" in (d.folder / "broker.log").read_text())
            return f"{lost} of 40 damaged and named, {len(starts)} handled"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    suite.run("a folder that is removed under the broker ends it, and nothing more is confirmed", taken_away, shutil.rmtree, True, GONE)
    suite.run("also while it is idle", taken_away, lambda data: data.rename(data.parent / "away"), False, GONE)
    if shutil.which("chattr"):
        suite.run("one that is made read-only ends it with words", taken_away, read_only, True, "was made read-only", SIGNAL)
    else:
        print("SKIP one that is made read-only ends it with words: no chattr (e2fsprogs)")
    suite.run("a file that is cut off ends it with words", taken_away, cut_off, True, "its data.mdb was cut off", SIGNAL)
    suite.run("what is damaged is named by check-store, and the rest is served", damaged_and_checked)
    suite.end()


if __name__ == "__main__":
    main()
