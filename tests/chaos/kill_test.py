#!/usr/bin/python3
"""kill -9 of the worker, the broker, the publisher, and of all, at random instants while webhooks are delivered.

    kill_test.py [--rounds 8] [--seed N] [--only broker]

A kill counts only if, at that instant, requests were in flight and messages that weir::Publisher had taken were
unconfirmed (where broker or publisher was killed, they still are once it is dead). In the end every message whose publish
was confirmed was delivered (a 2xx was sent for it) or is itself among the dead letters; a second 2xx is allowed only where
the rules allow a duplicate: it was in the hands of a worker that was killed, or its publisher died before it heard the
confirmation and was run again, or its broker was killed before it confirmed the publish (delivered ahead of its commit, and
published again; not in a queue that says `ahead: false`, where the broker is killed as often once more). A 2xx of another attempt (X-Weir-Attempt) is no duplicate: its worker had given up waiting
for the answer before, which happens where this subscriber lags by a second.

Each message comes under one name (X-Weir-Delivery), however often and whoever was killed, unless its publisher was, and published
it anew.
"""

import argparse
import base64
import concurrent.futures
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import deliveries
from kit import WEIR, Deployment, Suite, children, kill, plugin, wait_for
from publishers import FedPublisher
from subscriber import Subscriber

SECRET = "it is a secret"
HTTP_TIMEOUT = 1.0
# The publisher waits while more are not delivered: at full pace a loaded machine's worker would be minutes behind.
WAITING_MOST = 3000
# A request that ended so long before its worker was killed is settled: the worker sends settlements at the end of a turn
# of its loop, the broker commits within milliseconds. (Seconds; what is left is for a machine that has other work to do.)
IN_HAND = 1.0
YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 3s }}
queues:
  webhooks: {{ ahead: {ahead}, attempts: 8, backoff: {{ first: 50ms, most: 400ms }} }}
workers:
  delivery:
    plugin: {plugin}
    queues: [webhooks]
    shards: 2
    window: {{ messages: 64, bytes: 16MiB }}
    timeout: 10s
    drain: 5s
    with: {{ secret: {secret}, timeout: 1s, in_flight_per_host: 32 }}
"""


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(url, event, name, body):
    """A webhooks.Delivery."""
    return field(1, url.encode()) + field(2, event.encode()) + field(3, name.encode()) + field(4, body)


def name_in(payload):
    """Field 3 of a webhooks.Delivery, whose fields are all strings."""
    at = 0
    while at < len(payload):
        key = length = shift = 0
        key, at = payload[at], at + 1
        while True:
            length |= (payload[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if payload[at - 1] < 128:
                break
        if key == 3 << 3 | 2:
            return payload[at:at + length].decode()
        at += length
    raise AssertionError("a dead letter's payload is no Delivery")


def dead_names(d, queue):
    """name -> why, of every dead letter."""
    def name_and_why(letter):
        shown = json.loads(d.weir("dead", "show", queue, letter["id"], "--payload", "--json", "--engine", d.engine).stdout)
        return name_in(base64.b64decode(shown["payload_base64"])), letter["last_error"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(pool.map(name_and_why, d.dead(queue)))


class Messages:
    """Deliveries, round and round, each under a name of its own; and those that are to be published again."""

    def __init__(self, prefix, all_of_them, bodies, subscriber):
        self.prefix, self.deliveries, self.bodies, self.subscriber = prefix, all_of_them, bodies, subscriber
        self.url = f"http://127.0.0.1:{subscriber.port}/hook"
        self.made = 0
        self.first = []
        self.lock = threading.Lock()  # a killed publisher's feeder may still be at it

    def again(self, names):
        with self.lock:
            self.first = [*names, *self.first]

    def waiting(self):
        return self.made - len(self.subscriber.ok) - len(self.subscriber.refused)

    def next(self):
        with self.lock:
            if self.first:
                name = self.first.pop(0)
            else:
                name = f"{self.prefix}-{self.made}"
                self.bodies[name] = self.deliveries[self.made % len(self.deliveries)][1]
                self.made += 1
            event = self.deliveries[int(name.rsplit("-", 1)[1]) % len(self.deliveries)][0]
        return name, encode(self.url, event, name, self.bodies[name])


class Publisher(FedPublisher):
    """It tells which messages it has sent and which were confirmed."""

    def __init__(self, deployment, messages):
        self.names = []            # in the order of their numbers
        self.sent = 0              # so many of them weir::Publisher has taken
        self.confirmed = set()
        self.unwanted = []
        self.messages = messages
        super().__init__(self.start(deployment, deployment.engine, "webhooks", "webhooks.Delivery"), burst=8, pause=0.008)

    def next(self):
        if self.messages.waiting() > WAITING_MOST:
            return None
        name, data = self.messages.next()
        self.names.append(name)
        return data

    def heard(self, what, first, count=0):
        if what == "sent":
            self.sent = first
        elif what != "confirmed":
            self.unwanted.append(f"{what} {first} {count}")  # nothing is refused here, and nobody away for an hour
        else:
            self.confirmed.update(self.names[first - 1:first - 1 + count])

    def unconfirmed(self):
        sent = self.sent  # first: the reader goes on meanwhile, and too few is the safe side
        return sent - len(self.confirmed)

    def unconfirmed_of(self, first):
        """Of the first so many."""
        return set(self.names[:first]) - self.confirmed

    def finish(self):
        self.closing = True
        if self.process.wait(60) != 0:
            raise AssertionError("the publisher ended with " + str(self.process.returncode))
        self.reader.join(10)
        assert not self.unwanted, self.unwanted[:3]


def kill_rounds(target, rounds, seed, all_of_them, ahead=True):
    chance = random.Random(f"{seed}/{target}")
    bodies = {}
    with Deployment(YAML, plugin=plugin("webhooks"), secret=SECRET, ahead=str(ahead).lower()) as d:
        subscriber = Subscriber(SECRET, bodies, seed, HTTP_TIMEOUT)

        source = Messages(target, all_of_them, bodies, subscriber)
        may_double = set()
        published_again = set()  # by another publisher: under another name
        worker_kills = []  # when, how many processes, whether the parent
        confirmed = set()
        broker, worker, publisher = d.broker(), d.worker("delivery"), Publisher(d, source)
        counted = tried = 0
        while counted < rounds:
            tried += 1
            assert tried < rounds * 20, f"only {counted} of {tried} kills counted"
            time.sleep(chance.uniform(0.15, 0.9))
            # The very instant: a kill that finds nothing in flight, or nothing unconfirmed, proves nothing.
            for _ in range(2000):
                in_flight, unconfirmed = subscriber.in_flight, publisher.unconfirmed()
                if in_flight > 0 and unconfirmed > 0:
                    break
                time.sleep(0.0005)
            else:
                d.ended(broker, "broker")  # by itself: then nothing will ever be in flight
                continue
            sent = publisher.sent
            if target in ("worker", "all"):
                # Parent, child, or both at once.
                pair = [worker.pid, *children(worker.pid)]
                if len(pair) < 2:
                    continue  # what is in flight is the last child's: the next is yet to be born
                killed = chance.choice([pair, pair[:1], pair[1:]]) if target == "worker" else pair
                killed_at = time.monotonic()
                worker_kills.append((killed_at, len(killed), killed[0] == worker.pid))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            if target in ("broker", "all"):
                kill(broker)
            if target in ("publisher", "all"):
                publisher.closing = True
                kill(publisher.process)
                publisher.reader.join(10)
                publisher.feeder.join(10)
            if target != "worker":
                # What the broker said before it died is heard by now, and nobody says more.
                time.sleep(0.05)
                unconfirmed = len(publisher.unconfirmed_of(sent))
            if target in ("broker", "all") and ahead:
                may_double |= publisher.unconfirmed_of(publisher.sent)
            if unconfirmed > 0:
                counted += 1
            print(f"  {target} {counted}: in flight {in_flight}, unconfirmed {unconfirmed}"
                  f"{'' if unconfirmed else ': does not count'}", flush=True)
            if target in ("worker", "all"):
                worker.wait(30)  # a parent whose child was killed reports it first; its child drains if it was the parent
                if killed != pair[:1]:
                    subscriber.forget()  # requests that are still in buffers were in its hands too
                may_double |= subscriber.asked_since(killed_at - IN_HAND)
                worker = None
            if target in ("publisher", "all"):
                confirmed |= publisher.confirmed
                assert not publisher.unwanted, publisher.unwanted[:3]
                again = [n for n in publisher.names if n not in publisher.confirmed]
                may_double.update(again)
                published_again.update(again)
                publisher = None
            if target in ("broker", "all"):
                broker = d.broker()
            if worker is None:
                worker = d.worker("delivery")
            if publisher is None:
                # Run again without ids: what was not heard confirmed is published once more.
                source.again(again)
                publisher = Publisher(d, source)
        publisher.finish()
        confirmed |= publisher.confirmed
        counts = wait_for("everything delivered or dead", lambda: d.settled("webhooks"), 90, 0.2)
        time.sleep(0.2)  # the last answer is counted just after it was sent
        dead = dead_names(d, "webhooks")
        assert counts["dead"] >= len(dead), f"{counts['dead']} are counted dead, {len(dead)} listed"
        assert all(dead.values()), f"a dead letter says not why: {dead}"
        with subscriber.lock:
            delivered = set(subscriber.ok)
            may_double |= subscriber.late
            doubled = {n for n, times in subscriber.ok.items() if len(times) > 1}
            assert not subscriber.wrong, subscriber.wrong[:3]
            named = dict(subscriber.named)
        renamed = {n for n, names in named.items() if len(names) > 1} - published_again
        assert not renamed, f"{len(renamed)} came under several names, e.g. {[(n, named[n]) for n in sorted(renamed)[:3]]}"
        assert len(set().union(*named.values())) == sum(map(len, named.values())), "two messages came under one name"
        vanished = confirmed - delivered - set(dead)
        assert not vanished, f"{len(vanished)} confirmed messages are neither delivered nor dead: {sorted(vanished)[:3]}"
        unheard = {name for name in doubled - may_double if subscriber.was_unheard(name)}
        forbidden = doubled - may_double - unheard
        for name in sorted(forbidden)[:5]:
            (first, attempt), *others = subscriber.ok[name]
            near = [(round(at - first, 2), *what) for at, *what in worker_kills if first - 4 < at < others[-1][0] + 1]
            print(f"  {name}: attempt {attempt}, again {[(round(at - first, 2), number) for at, number in others]} (s, attempt); "
                  f"kills (processes, parent): {near}")
        assert not forbidden, f"{len(forbidden)} delivered twice without cause, e.g. {sorted(forbidden)[:3]}"
        return (f"{counted} kills, {len(confirmed)} confirmed, {len(delivered & confirmed)} delivered, {len(dead)} dead, "
                f"{len(doubled)} twice and allowed ({len(unheard)} as their first answer came too late), seed {seed}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options.add_argument("--only", choices=["worker", "broker", "publisher", "all"])
    args, _ = options.parse_known_args()
    all_of_them = deliveries.real()
    if not all_of_them:
        print(f"  with made deliveries: {deliveries.WHERE_FROM}", flush=True)
        all_of_them = deliveries.made(args.seed)
    suite = Suite()
    for target in [args.only] if args.only else ["worker", "broker", "publisher", "all"]:
        suite.run(f"kill -9 of {target} loses nothing confirmed", kill_rounds, target, args.rounds, args.seed,
                  all_of_them)
        if target == "broker":
            suite.run("kill -9 of broker doubles nothing in a queue that writes first", kill_rounds, target, args.rounds,
                      args.seed, all_of_them, False)
    suite.end()


if __name__ == "__main__":
    main()
