"""Publishers that are fed, and tell what they heard of it; and what a storm's are to send."""

import random
import struct
import subprocess
import threading
import time

from kit import BUILD


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def task(number, action, millis):
    """A work.Task."""
    name = action.encode()
    return b"\x08" + varint(number) + b"\x12" + varint(len(name)) + name + b"\x18" + varint(millis)


class Numbers:
    """What publishers are to send: fresh numbers with something to do, and those that a dead publisher had not heard of."""

    def __init__(self, seed):
        self.chance, self.actions, self.payloads = random.Random(seed), {}, {}
        self.again, self.published_again = [], set()
        self.lock = threading.Lock()

    def next(self):
        with self.lock:
            if self.again:
                return self.again.pop()
            number = len(self.actions)
            action, millis = self.chance.choices(
                [("ack", 0), ("sleep", self.chance.randrange(5, 300)), ("fail", 0), ("reject", 0), ("block", 20),
                 ("never", 0)], [600, 300, 40, 20, 30, 2])[0]
            self.actions[number] = action
            self.payloads[number] = task(number, action, millis)
            return number

    def publish_again(self, numbers):
        with self.lock:
            self.again += numbers
            self.published_again.update(numbers)


class FedPublisher:
    """chaos_publisher, fed at a steady pace: next() is its next payload, or None for a pause; heard() is what it tells."""

    def __init__(self, process, burst, pause):
        self.process, self.burst, self.pause, self.closing = process, burst, pause, False
        self.feeder = threading.Thread(target=self.feed, daemon=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.feeder.start()
        self.reader.start()

    @staticmethod
    def start(deployment, engine, queue, type_name, **options):
        return deployment.start("publisher", BUILD / "bin" / "chaos_publisher", engine, queue, type_name,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def feed(self):
        try:
            while not self.closing:
                for _ in range(self.burst):
                    data = self.next()
                    if data is None:
                        break
                    self.process.stdin.write(struct.pack("<I", len(data)) + data)
                self.process.stdin.flush()
                time.sleep(self.pause)
            self.process.stdin.close()
        except (BrokenPipeError, ValueError):
            pass

    def read(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                return
            what, *numbers = line.split()
            self.heard(what.decode(), *map(int, numbers))


class Publisher(FedPublisher):
    """A storm's."""

    def __init__(self, storm, engine, numbers, **options):
        self.numbers, self.sent = numbers, []
        self.confirmed, self.refused = {}, set()  # the first: number -> when it was heard
        super().__init__(self.start(storm, engine, "work", "work.Task", **options), burst=4, pause=0.02)

    def next(self):
        number = self.numbers.next()
        self.sent.append(number)
        return self.numbers.payloads[number]

    def heard(self, what, first, count=0):
        if what == "sent":
            return
        numbers = {self.sent[n - 1] for n in range(first, first + count)}
        if what == "confirmed":
            self.confirmed.update(dict.fromkeys(numbers, time.monotonic()))
        else:
            self.refused.update(numbers)

    def gone(self):
        """It died: what it has not heard of is another's to publish."""
        self.closing = True
        self.feeder.join(10)
        self.reader.join(10)
        self.numbers.publish_again([n for n in self.sent if n not in self.confirmed and n not in self.refused])
