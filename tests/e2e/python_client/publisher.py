#!/usr/bin/python3
"""publisher ENGINE QUEUE TYPE: publishes each line of standard input; ends when all are confirmed."""

import os
import sys

from session import Session
from weir.v1 import message_pb2, wire_pb2 as wire

GROUP_MOST = 256


class Publisher:
    def __init__(self, engine, queue):
        self.session = Session(engine, wire.Hello(kind=wire.PUBLISHER, publisher=os.urandom(16), lowest_unanswered=1,
                                                  publish_to=[queue]))
        if queue not in self.session.queues:
            raise SystemExit(f"no queue '{queue}'; there are {', '.join(self.session.queues)}")
        self.queue = self.session.queues[queue].id
        self.window = self.session.queues[queue].window
        self.number = 1  # of the next message
        self.unanswered = {}  # number -> bytes
        self.refused = []

    def publish(self, message_type, payloads):
        """Publishes all, never more at once than the window allows; returns when each is answered."""
        waiting = [message_pb2.Body(payload=payload).SerializeToString() for payload in payloads]
        while waiting or self.unanswered:
            bodies, held = [], sum(self.unanswered.values())
            while waiting and len(bodies) < min(GROUP_MOST, self.window.messages - len(self.unanswered)):
                held += len(waiting[0])
                if held > self.window.bytes and (bodies or self.unanswered):
                    break
                bodies.append(waiting.pop(0))
            if bodies:
                self.send(message_type, bodies)
            else:
                self.hear(self.session.receive(10))

    def send(self, message_type, bodies):
        index = message_pb2.Index(lengths=map(len, bodies), types=[message_type])
        group = wire.Group(queue=self.queue, first_number=self.number, epoch=self.window.epoch, index=index)
        answered_below = min(self.unanswered, default=self.number)
        self.session.send(publish=wire.Publish(answered_below=answered_below, groups=[group]), run=b"".join(bodies))
        for body in bodies:
            self.unanswered[self.number] = len(body)
            self.number += 1

    def hear(self, frame):
        if frame is None:
            raise SystemExit(f"{len(self.unanswered)} messages are not answered")
        if frame.HasField("window") and frame.window.queue == self.queue and frame.window.epoch > self.window.epoch:
            self.window = frame.window
        for run in frame.confirmed.runs:
            for number in range(run.first, run.first + run.count):
                if self.unanswered.pop(number, None) is not None and run.answer == wire.Confirmed.REFUSED:
                    self.refused.append((number, run.reason))


if __name__ == "__main__":
    publisher = Publisher(sys.argv[1], sys.argv[2])
    publisher.publish(sys.argv[3], [line.rstrip(b"\n") for line in sys.stdin.buffer])
    publisher.session.close()
    for number, reason in publisher.refused:
        print(f"message {number} was refused: {reason}", file=sys.stderr)
    print(f"{publisher.number - 1 - len(publisher.refused)} confirmed")
    sys.exit(bool(publisher.refused))
