"""A storm's publishers: what they are to send, and what they heard of it."""

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


class Publisher:
    """chaos_publisher, fed at a steady pace."""

    def __init__(self, storm, engine, numbers, **options):
        self.process = storm.start("publisher", BUILD / "bin" / "chaos_publisher", engine, "work", "work.Task",
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        self.numbers, self.sent, self.answered, self.closing = numbers, [], set(), False
        self.confirmed, self.refused = {}, set()  # the first: number -> when it was heard
        self.threads = [threading.Thread(target=self.feed, daemon=True), threading.Thread(target=self.read, daemon=True)]
        for thread in self.threads:
            thread.start()

    def feed(self):
        try:
            while not self.closing:
                for _ in range(4):
                    number = self.numbers.next()
                    self.sent.append(number)
                    data = self.numbers.payloads[number]
                    self.process.stdin.write(struct.pack("<I", len(data)) + data)
                self.process.stdin.flush()
                time.sleep(0.02)
            self.process.stdin.close()
        except (BrokenPipeError, ValueError):
            pass

    def read(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                return
            if line.startswith(b"sent "):
                continue
            what, first, count = line.split()
            numbers = {self.sent[n - 1] for n in range(int(first), int(first) + int(count))}
            if what == b"confirmed":
                self.confirmed.update(dict.fromkeys(numbers, time.monotonic()))
            else:
                self.refused.update(numbers)

    def gone(self):
        """It died: what it has not heard of is another's to publish."""
        self.closing = True
        for thread in self.threads:
            thread.join(10)
        self.numbers.publish_again([n for n in self.sent if n not in self.confirmed and n not in self.refused])
