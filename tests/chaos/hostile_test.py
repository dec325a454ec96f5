#!/usr/bin/python3
"""Ten hostile clients, held to a tenth of a core in all, beside an honest publisher and worker.

Of each attack: what the broker answers, its memory before and after, and what the honest ones keep of their rate and
latency: at least half, and below 250 ms for the slowest hundredth. `--long`: ten seconds an attack, and what becomes of
memory after a spike.
"""

import multiprocessing
import os
import struct
import sys
import time

import zmq
from hostile import (HELLO, PUBLISH, SETTLE, WORKER, Hostiles, attacks, block, frame, hello, number, publisher_hello,
                     window)
from kit import SANITIZED, Deployment, Suite, rss_anon_mib, wait_for

LONG = "--long" in sys.argv
SECONDS = 10.0 if LONG else 1.5
YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 30s }}
queues:
  honest:
  trap:
{more}
"""
BATCH, BATCHES = 128, 4  # of the honest publisher, and how many are unanswered at once
PAYLOAD = 240


def fields(data):
    """(number, value) of each field; a value is an int, or bytes."""
    at, out = 0, []

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = read()
        if tag & 7 == 0:
            out.append((tag >> 3, read()))
        elif tag & 7 == 2:
            size = read()
            out.append((tag >> 3, data[at:at + size]))
            at += size
        else:
            size = 8 if tag & 7 == 1 else 4
            out.append((tag >> 3, data[at:at + size]))
            at += size
    return out


def first(data, wanted, default=None):
    return next((value for key, value in fields(data) if key == wanted), default)


class Session:
    def __init__(self, context, port, body):
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.sent = 0
        self.say(HELLO, body)
        self.welcome = None
        while self.welcome is None:
            assert self.socket.poll(20_000), "no WELCOME"
            self.welcome = first(self.socket.recv(), 3)

    def say(self, kind, body, run=b""):
        self.sent += 1
        data = frame(self.sent, kind, body)
        self.socket.send(data + (block(15, run) if run else b""))


def honest(port, told, stop):
    """Publishes, takes and acks, as fast as it gets answers; tells (seconds, messages, latencies) each time it is asked."""
    context = zmq.Context()
    publisher = Session(context, port, publisher_hello("honest"))
    worker = Session(context, port, hello(WORKER, block(9, os.urandom(16)) + block(11, b"honest") +
                                          block(12, block(1, b"honest")) + block(13, window(4096, 64 << 20))))
    info = next(v for k, v in fields(publisher.welcome) if k == 4 and first(v, 2) == b"honest")
    queue, epoch = first(info, 1), first(first(info, 3), 1)
    poller = zmq.Poller()
    poller.register(publisher.socket, zmq.POLLIN)
    poller.register(worker.socket, zmq.POLLIN)
    next_number, unanswered, handled, latencies, began = 1, 0, 0, [], time.monotonic()
    while not stop.is_set():
        while unanswered < BATCH * BATCHES:
            stamp = struct.pack("<d", time.monotonic()).ljust(PAYLOAD, b"x")
            body = block(15, stamp)
            index = block(1, struct.pack("<I", len(body)) * BATCH) + block(2, b"T")
            group = number(1, queue) + number(3, next_number) + number(4, epoch) + block(5, index)
            publisher.say(PUBLISH, number(1, next_number - unanswered) + block(2, group), body * BATCH)
            next_number += BATCH
            unanswered += BATCH
        for socket, _ in poller.poll(200):
            while True:
                try:
                    data = socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                parts = fields(data)
                for kind, value in parts:
                    if kind == 5:  # confirmed
                        unanswered -= sum(first(run, 2, 0) for key, run in fields(value) if key == 1)
                    elif kind == 9:
                        epoch = max(epoch, first(value, 1))
                    elif kind == 6:  # deliver
                        run = parts[-1][1]
                        latencies.append(time.monotonic() - struct.unpack("<d", run[-PAYLOAD:-PAYLOAD + 8])[0])
                        body = b""
                        for key, delivery in fields(value):
                            if key != 1:
                                continue
                            count = len(first(first(delivery, 6), 1)) // 4
                            handled += count
                            body += block(1, number(1, first(delivery, 4)) + number(2, count) + number(3, 1))
                        worker.say(SETTLE, body)
                    elif kind == 16:
                        raise SystemExit(f"the honest one was refused: {value}")
        if time.monotonic() - began >= 0.25:
            told.put((time.monotonic() - began, handled, latencies))
            handled, latencies, began = 0, [], time.monotonic()


class Honest:
    def __init__(self, port):
        context = multiprocessing.get_context("spawn")
        self.told, self.stop = context.Queue(), context.Event()
        self.process = context.Process(target=honest, args=(port, self.told, self.stop))
        self.process.start()
        self.told.get(timeout=30)

    def measure(self, seconds):
        """Messages a second, and the slowest hundredth's latency in ms."""
        while not self.told.empty():
            self.told.get()
        passed, handled, latencies = 0.0, 0, []
        while passed < seconds:
            assert self.process.is_alive(), "the honest one has ended"
            one = self.told.get(timeout=30)
            passed, handled, latencies = passed + one[0], handled + one[1], latencies + one[2]
        latencies.sort()
        return handled / passed, 1000 * (latencies[int(len(latencies) * 0.99)] if latencies else seconds)

    def end(self):
        self.stop.set()
        self.process.join(10)


def fill_trap(port):
    """What the hostile ones take, and never settle."""
    context = zmq.Context()
    publisher = Session(context, port, publisher_hello("trap"))
    info = next(v for k, v in fields(publisher.welcome) if k == 4 and first(v, 2) == b"trap")
    queue, epoch = first(info, 1), first(first(info, 3), 1)
    body = block(15, b"x" * 100)
    for i in range(40):
        index = block(1, struct.pack("<I", len(body)) * 256) + block(2, b"T")
        group = number(1, queue) + number(3, 1 + 256 * i) + number(4, epoch) + block(5, index)
        publisher.say(PUBLISH, number(1, 1) + block(2, group), body * 256)
    answered = 0
    while answered < 40 * 256:
        assert publisher.socket.poll(20_000), "the trap is not filled"
        for kind, value in fields(publisher.socket.recv()):
            if kind == 5:
                answered += sum(first(run, 2, 0) for key, run in fields(value) if key == 1)
    publisher.socket.close()
    context.term()


def attack(d, broker, honest_one, index):
    """The machine may be busy with something else: up to three times, then."""
    for _ in range(2):
        try:
            return attack_once(d, broker, honest_one, index)
        except AssertionError as failed:
            print(f"    once more: {failed}", flush=True)
    return attack_once(d, broker, honest_one, index)


def attack_once(d, broker, honest_one, index):
    alone, _ = honest_one.measure(1.0)
    before = rss_anon_mib(broker.pid)
    hostiles = Hostiles(d.port, index)
    time.sleep(0.5)
    rate, p99 = honest_one.measure(SECONDS)
    peak = rss_anon_mib(broker.pid)
    answer, sessions = hostiles.end()
    assert broker.poll() is None, "the broker ended"
    after = rss_anon_mib(broker.pid)
    note = (f"answer '{answer}'; {sessions} sessions; memory {before:.0f} -> {peak:.0f} -> {after:.0f} MiB; "
            f"honest {rate:,.0f} of {alone:,.0f} msg/s, p99 {p99:.0f} ms")
    if not SANITIZED:
        assert rate > alone / 2, note
        assert p99 < 250, note
        assert peak < before + 256, note
    return note


def memory_is_given_back(d, broker, honest_one):
    """A session that takes 256 MiB and reads nothing, then leaves."""
    before = rss_anon_mib(broker.pid)
    context = zmq.Context()
    publisher = Session(context, d.port, publisher_hello("spike"))
    info = next(v for k, v in fields(publisher.welcome) if k == 4 and first(v, 2) == b"spike")
    queue, epoch = first(info, 1), first(first(info, 3), 1)
    body = block(15, b"x" * (1 << 20))
    for i in range(200):
        index = block(1, struct.pack("<I", len(body))) + block(2, b"T")
        group = number(1, queue) + number(3, 1 + i) + number(4, epoch) + block(5, index)
        publisher.say(PUBLISH, number(1, 1 + i) + block(2, group), body)
        answered = False
        while not answered:
            assert publisher.socket.poll(20_000)
            answered = any(kind == 5 for kind, _ in fields(publisher.socket.recv()))
    deaf = context.socket(zmq.DEALER)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.setsockopt(zmq.RCVBUF, 4096)
    deaf.connect(f"tcp://127.0.0.1:{d.port}")
    deaf.send(frame(1, HELLO, hello(WORKER, block(9, os.urandom(16)) + block(11, b"deaf") + block(12, block(1, b"spike"))
                                    + block(13, window(65_536, 1 << 40)))))
    peak = wait_for("a spike of memory", lambda: (rss_anon_mib(broker.pid) > before + 120) and rss_anon_mib(broker.pid), 30)
    deaf.close(0)
    alone, _ = honest_one.measure(2)
    since = time.monotonic()
    wait_for("memory given back", lambda: rss_anon_mib(broker.pid) < before + 64, 60, 0.25)
    took = time.monotonic() - since
    rate, p99 = honest_one.measure(2)
    context.destroy(0)
    return f"{before:.0f} -> {peak:.0f} -> {rss_anon_mib(broker.pid):.0f} MiB after {took:.0f} s; p99 {p99:.0f} ms"


def main():
    suite = Suite()
    more = "".join(f"  q{i}:\n" for i in range(200)) + "  spike:\n"
    with Deployment(YAML, more=more) as d:
        broker = d.broker()
        fill_trap(d.port)
        honest_one = Honest(d.port)
        try:
            for index, one in enumerate(attacks()):
                suite.run(f"test_beside_{one.name.replace(' ', '_').replace(',', '')}", attack, d, broker, honest_one,
                          index)
            if LONG and not SANITIZED:
                suite.run("test_memory_is_given_back_after_a_spike", memory_is_given_back, d, broker, honest_one)
        finally:
            honest_one.end()
    suite.end()


if __name__ == "__main__":
    main()
