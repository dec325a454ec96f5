#!/usr/bin/python3
"""worker ENGINE QUEUE TYPE [OUTPUT_QUEUE]: prints each payload, and acks it; with OUTPUT_QUEUE, an answer leaves with the ack.
On standard error it says what it was delivered, each under its name: what to deduplicate by.
A payload that starts with `bad` is rejected, one with `again` retried once. Ends after 2 s without work."""

import os
import sys
import time

from session import Session
from weir.v1 import message_pb2, wire_pb2 as wire

WINDOW = 64


def names(index):
    """Of each message, as text: who published it, and which of his it is. The same at every attempt."""
    return [f"{run.publisher.hex()}.{run.first + i}" for run in index.names for i in range(run.count)]


class Worker:
    def __init__(self, engine, queue, message_type, output=None):
        self.token = os.urandom(16)
        self.session = Session(engine, wire.Hello(
            kind=wire.WORKER, process_token=self.token, shard=0, group="python",
            attach=[wire.Attach(queue=queue, types=[message_type])],
            window=wire.Window(epoch=1, messages=WINDOW, bytes=1 << 20)))
        self.output = output and self.session.queues[output].id
        self.unconfirmed = set()  # settle frames
        self.handled = self.most_held = 0

    def work(self, idle):
        quiet = time.monotonic()
        while self.unconfirmed or time.monotonic() - quiet < idle:
            self.session.keep_alive(self.token)
            frame = self.session.receive(0.2)
            if frame is None:
                continue
            quiet = time.monotonic()
            if frame.HasField("deliver"):
                self.handle(frame)
            for first_last in frame.settled.frames:
                self.unconfirmed -= set(range(first_last.first, first_last.last + 1))

    def handle(self, frame):
        settle, run, at, held = wire.Settle(), b"", 0, 0
        for delivery in frame.deliver.deliveries:
            for i, (length, name) in enumerate(zip(delivery.index.lengths, names(delivery.index), strict=True)):
                body = message_pb2.Body.FromString(frame.run[at:at + length])
                at, held, lease = at + length, held + 1, delivery.lease + i
                print(name, body.payload.decode(), file=sys.stderr)
                outcome, why = self.outcome(body.payload, delivery.attempt)
                settle.runs.add(lease=lease, count=1, outcome=outcome, error=why,
                                started_at_us=int(time.time() * 1e6), duration_us=1)
                if outcome == wire.ACK and self.output:
                    answer = message_pb2.Body(payload=b"done " + body.payload).SerializeToString()
                    settle.outputs.add(queue=self.output, source=[lease],
                                       index=message_pb2.Index(lengths=[len(answer)], types=["test.Answer"]))
                    run += answer
        self.most_held = max(self.most_held, held)
        self.session.send(settle=settle, run=run)
        self.unconfirmed.add(self.session.sent)

    def outcome(self, payload, attempt):
        if payload.startswith(b"bad"):
            return wire.REJECT, "it is bad"
        if payload.startswith(b"again") and attempt == 1:
            return wire.RETRY, "once more"
        self.handled += 1
        print(payload.decode())
        return wire.ACK, ""


if __name__ == "__main__":
    worker = Worker(*sys.argv[1:])
    worker.work(idle=2)
    worker.session.close()
    assert worker.most_held <= WINDOW, f"{worker.most_held} held in a window of {WINDOW}"
