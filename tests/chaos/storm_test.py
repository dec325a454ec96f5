#!/usr/bin/python3
"""A storm: for a minute everything happens to everybody, and in the end the ledger must balance.

    storm_test.py [--minutes 1] [--seed N] [--only kill,stop,…]

kill -9 and SIGSTOP of broker, workers (parent or child), publishers and supervisor; connections cut, reset, half-open,
slow, throttled, deaf, mute, silent and refused; this machine's link down, or the cable to a second one out; the disk full,
or failing to sync or write (EIO, ENOSPC), or losing what it was to sync; either machine's wall clock off by a day: storm.py's
EVENTS, each form once before any comes again, and in 4 minutes each. Then all heals, and:
nothing that was confirmed is neither handled nor dead; nothing ran twice but for a cause (the broker's log says that its
session ended, or that its process drained; or it failed, or timed out, and was charged for it); nothing was stored twice
unless its publisher, or its broker, died before the confirmation was heard (not its broker by odd seeds, whose queue says
`ahead: false`). Needs root, for a small disk and networks of its own.
"""

import argparse
import collections
import os
import random
import subprocess
import sys
import time

from kit import Suite, wait_for
from ledger import Judge, read
from machines import set_loopback
from storm import EVENTS, HANDLER_TIMEOUT, Storm


class Deck:
    """The events in a random order, each form once before any comes again."""

    def __init__(self, chance, kinds):
        self.chance, self.all, self.left = chance, [(kind, form) for kind in kinds for form in EVENTS[kind]], []

    def draw(self):
        if not self.left:
            self.left = self.all.copy()
            self.chance.shuffle(self.left)
        return self.left.pop()

    def later(self, event):
        """It could not happen now: nobody was there, or nothing was written."""
        self.left.insert(0, event)


def storm(minutes, seed, kinds):
    print(f"  seed {seed}", flush=True)
    with Storm(seed) as s:
        wait_for("the first are confirmed", s.confirmed, 20)
        end = time.monotonic() + minutes * 60
        deck, done = Deck(s.chance, kinds), collections.Counter()
        while time.monotonic() < end:
            kind, form = deck.draw()
            said = getattr(s, kind)(form)
            if said:
                done[kind, form] += 1
                print(f"  {time.monotonic() - end + minutes * 60:6.1f} s: {said}", flush=True)
            else:
                deck.later((kind, form))
            time.sleep(s.chance.uniform(0.1, 1.5))
            s.keep_running()
        s.heal()
        s.keep_running()
        s.finish_publishing()
        late = s.wait_until_settled()
        counts = s.deployment.queue()
        confirmed = s.confirmed()
        dead = {letter["id"] for letter in s.deployment.dead()}
        log = s.broker_log.end()
        judge = Judge(read(s.deployment.ledger), s.numbers.actions, log, HANDLER_TIMEOUT)
        lost = judge.lost_messages(confirmed, dead)
        assert not lost, f"{len(lost)} confirmed messages vanished, e.g. {sorted(lost)[:5]}"
        explained, without = judge.doubles()
        assert not without, f"{len(without)} ran twice without a cause: {'; '.join(without[:5])}"
        refused = {n for each in s.ended_publishers for n in each.refused}
        assert not refused, f"{len(refused)} were refused, or are in doubt, e.g. {sorted(refused)[:5]}"
        shared = judge.places_of_two()
        assert not shared, f"{len(shared)} places were given twice, e.g. {sorted(shared)[:5]}"
        renamed, shared = judge.renamed(s.numbers.published_again)
        assert not renamed, f"{len(renamed)} ran under several names, e.g. {sorted(renamed)[:5]}"
        assert not shared, f"{len(shared)} names were two messages', e.g. {sorted(shared)[:5]}"
        # In a queue that writes first no broker's death excuses anything.
        twice = judge.stored_twice(confirmed, s.numbers.published_again, log.starts if s.ahead else [])
        assert not twice, f"{len(twice)} stored twice, e.g. {sorted(twice)[:5]}"
        assert counts["dead"] == len(dead), counts
        missing = set(deck.all) - set(done)
        assert not missing or minutes < 4, f"there was no {sorted(missing)}"
        events = ", ".join(f"{sum(done[kind, form] for form in set(EVENTS[kind]))} {kind}" for kind in kinds)
        return (f"{len(confirmed)} confirmed, {len(dead)} dead, 0 lost, {sum(explained.values())} again for a cause "
                f"({', '.join(f'{count} {cause}' for cause, count in explained.items())}), "
                f"{late} late by a clock that was wrong when their broker started; "
                f"{len(done)} of {len(set(deck.all))} forms: {events}; ahead: {str(s.ahead).lower()}; seed {seed}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options.add_argument("--only", default=",".join(EVENTS))
    args, _ = options.parse_known_args()
    if os.environ.get("STORM_INSIDE") != "1":
        try_it = ["unshare", "--net", "--mount", "sh", "-c", "mount -t tmpfs none /mnt && ip link add type veth"]
        if subprocess.run(try_it, capture_output=True, check=False).returncode != 0:
            print("SKIP a storm loses nothing confirmed: needs unshare --net, mount(2) and veth, as root has them")
            return
        os.environ["STORM_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv, "--seed", str(args.seed)])
    set_loopback(True)
    suite = Suite()
    suite.run("a storm loses nothing confirmed", storm, args.minutes, args.seed, args.only.split(","))
    suite.end()


if __name__ == "__main__":
    main()
