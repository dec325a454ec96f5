#!/usr/bin/python3
"""Workers that do not read what they are sent: the broker holds little for them, ends what stands still for session_timeout,
and keeps the leases of a process that is vouched for: nothing is stale, and nothing runs twice."""

import os
import subprocess
import sys
import tempfile
import threading
import time

import zmq
from kit import SANITIZED, Deployment, Suite, plugin, rss_anon_mib, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GENERATED = tempfile.TemporaryDirectory(prefix="weir-readers-")
subprocess.run(["protoc", f"--proto_path={ROOT}/proto", f"--python_out={GENERATED.name}"]
               + [f"weir/v1/{name}.proto" for name in ("message", "control", "wire")], check=True)
sys.path[:0] = [GENERATED.name, os.path.join(ROOT, "tests", "e2e", "python_client")]
import session  # noqa: E402
from weir.v1 import message_pb2, wire_pb2 as wire  # noqa: E402

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, durability: os, session_timeout: {session_timeout} }}
queues:
  work: {{ attempts: 3 }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    window: {{ messages: 16384, bytes: 64MiB }}
    concurrency: 16
    timeout: 60s
    with: {{ ledger: {ledger} }}
"""
# What may be unread by all workers together, a frame for each, and what it takes beside that.
UNREAD_MOST = (64 + 40) * (3 if SANITIZED else 1)


def deployment(session_timeout):
    return Deployment(YAML, session_timeout=session_timeout, plugin=plugin("work"))


def log_of(d):
    return (d.folder / "broker.log").read_text()


def hello(token, window=1 << 62, **more):
    return wire.Hello(kind=wire.WORKER, process_token=token, shard=0, group="python",
                      attach=[wire.Attach(queue="work", types=["work.Task"])],
                      window=wire.Window(epoch=1, messages=window, bytes=1 << 40), **more)


class Small(zmq.Context):
    """Sockets that take few frames, as one of a client's that leaves libzmq's marks low."""

    def socket(self, *arguments, **options):
        made = super().socket(*arguments, **options)
        made.setsockopt(zmq.RCVHWM, 16)
        made.setsockopt(zmq.RCVBUF, 128 * 1024)
        made.setsockopt(zmq.SNDTIMEO, 1000)  # to a connection that is lost
        return made


class Vouching:
    """Keep-alives for a process, on a thread and a session of their own."""

    def __init__(self, d, token):
        self.d, self.token, self.on = d, token, True
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.on = False
        self.thread.join()

    def run(self):
        mine = session.Session(self.d.engine, wire.Hello(kind=wire.KEEP_ALIVE, process_token=self.token))
        while self.on:
            mine.keep_alive(self.token)
            mine.receive(0.05)
        mine.close()


class Worker:
    """Acks what it took once it has taken more, or nothing comes; over a new session it claims what it holds, and says again
    what is not confirmed."""

    def __init__(self, d, context):
        self.d, self.token = d, os.urandom(16)
        session.zmq.Context.instance = staticmethod(lambda: context)
        self.held = {}         # place -> lease
        self.later = []        # places, a list a frame
        self.unconfirmed = {}  # settle frame -> places
        self.again = set()     # leases under which something was settled again
        self.runs, self.stale, self.sessions, self.session = {}, 0, 0, None
        self.open()

    def claims(self, places):
        return [wire.Claim(queue=q, segment=s, first=i, count=1, incarnation=self.session.welcome.incarnation,
                           lease=self.held[q, s, i]) for q, s, i in places]

    def open(self):
        settled = [place for places in self.unconfirmed.values() for place in places]
        said = hello(self.token, window=10000, settled=self.claims(settled),
                     held=self.claims(place for places in self.later for place in places))
        said.window.epoch = self.sessions + 1
        self.session = session.Session(self.d.engine, said, self.session)
        self.sessions += 1
        told = set(settled)
        for answer in self.session.welcome.claims:
            for i in range(answer.count):
                place = (answer.queue, answer.segment, answer.first + i)
                self.held[place] = answer.lease + i
                if answer.stale:  # of what it had settled: it was confirmed, and the confirmation lost
                    self.stale += place not in told
                    told.discard(place)
        self.unconfirmed = {}
        self.again = {self.held[place] for place in told}
        if told:
            self.settle(list(told))

    def take(self, seconds):
        """False if nothing came."""
        frame = self.session.receive(seconds)
        if frame is None:
            while self.later:
                self.settle(self.later.pop(0))
            return False
        places, at = [], 0
        for delivery in frame.deliver.deliveries:
            for i, length in enumerate(delivery.index.lengths):
                body = message_pb2.Body.FromString(frame.run[at:at + length])
                at += length
                places.append((delivery.queue, delivery.segment, delivery.first + i))
                self.held[places[-1]] = delivery.lease + i
                self.runs[body.payload[:8]] = self.runs.get(body.payload[:8], 0) + 1
        if places:
            self.later.append(places)
        while len(self.later) > 1:
            self.settle(self.later.pop(0))
        for done in frame.settled.frames:
            for number in range(done.first, done.last + 1):
                self.unconfirmed.pop(number, None)
        for run in frame.settled.runs:
            if run.answer == wire.Settled.STALE:  # of what was settled again: it was done before
                self.stale += sum(lease not in self.again for lease in range(run.lease, run.lease + run.count))
        return True

    def settle(self, places):
        settle = wire.Settle()
        for place in places:
            settle.runs.add(lease=self.held[place], count=1, outcome=wire.ACK)
        self.unconfirmed[self.session.sent + 1] = places
        try:
            self.session.send(settle=settle)
        except zmq.Again as lost:
            raise session.Ended("the connection is lost") from lost

    def take_all(self, messages):
        """Over as many sessions as it needs."""
        quiet = 0
        while len(self.runs) < messages or self.later or self.unconfirmed:
            try:
                quiet = 0 if self.take(0.1) else quiet + 1
                if quiet < 20:
                    continue
            except session.Ended:
                pass
            quiet = 0
            self.open()


def a_python_worker_that_stands_still():
    """It reads nothing for 5 s under a session_timeout of 1 s, vouched for; 10,000 messages wait."""
    with deployment("1s") as d:
        d.broker()
        d.publish({"number": n, "action": "ack", "poison": "x" * 1000} for n in range(10000))
        worker = Worker(d, Small())
        with Vouching(d, worker.token):
            for _ in range(4):
                worker.take(1)
            end = time.monotonic() + 5
            wait_for("its connection is shut", lambda: "it has read nothing of what it was sent for" in log_of(d), 10)
            time.sleep(max(0, end - time.monotonic()))
            worker.take_all(10000)
        twice = [payload for payload, count in worker.runs.items() if count != 1]
        assert len(worker.runs) == 10000 and not twice and worker.stale == 0, \
            f"{len(worker.runs)} ran, {len(twice)} of them twice; {worker.stale} stale"
        counts = wait_for("all are acked", d.settled)
        assert counts["acked"] == 10000 and counts["retried"] == 0, counts
        return f"{worker.sessions} sessions"


def a_worker_whose_handlers_block():
    """A C++ worker whose loop is blocked for 6 s under a session_timeout of 1 s; 10,000 messages wait."""
    with deployment("1s") as d:
        d.broker()
        d.publish([{"number": 0, "action": "block", "millis": 6000}])
        d.publish({"number": n, "action": "ack", "poison": "x" * 1000} for n in range(1, 10000))
        d.worker()
        counts = wait_for("all are settled", d.settled, 40)
        starts, _ = d.runs()
        twice = [n for n, count in starts.items() if count != 1]
        assert len(starts) == 10000 and not twice, f"{len(starts)} ran, {len(twice)} of them twice"
        assert counts["retried"] == 0 and counts["dead"] == 0, counts


def workers_that_never_read():
    """Twenty with a window without end before 200 MB: the broker holds 64 MiB for them, and lets them go."""
    with deployment("2s") as d:
        broker = d.broker()
        d.publish({"number": n, "action": "ack", "poison": "x" * 100000} for n in range(2000))
        before = most = rss_anon_mib(broker.pid)
        stuck = []
        for _ in range(20):
            stuck.append(Worker(d, Small()))
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            most = max(most, rss_anon_mib(broker.pid))
            time.sleep(0.01)
        assert most - before < UNREAD_MOST, f"the broker grew by {most - before:.0f} MiB"
        wait_for("they are let go", lambda: "it has read nothing of what it was sent for" in log_of(d), 10)
        d.worker()
        counts = wait_for("an honest worker gets all", d.settled, 40)
        assert counts["acked"] == 2000 and counts["dead"] == 0, counts
        return f"the broker grew by {most - before:.0f} MiB"


def main():
    suite = Suite()
    for name, test in (("what nobody reads is bounded", workers_that_never_read),
                       ("a Python worker that stands still loses its connection and no lease", a_python_worker_that_stands_still),
                       ("a worker whose handlers block loses nothing", a_worker_whose_handlers_block)):
        suite.run(name, test)
    suite.end()


if __name__ == "__main__":
    main()
