"""Clients that say what no client of Weir's would, ten at a time and held to a tenth of a core; frames are made by hand."""

import multiprocessing
import os
import time

import zmq

MAGIC = 0x52494557
PUBLISHER, WORKER, CONTROL, KEEP_ALIVE = 2, 1, 3, 4
# Frame's bodies
HELLO, PUBLISH, SETTLE, WINDOW, KEEP_ALIVE_FRAME, CONTROL_FRAME, DEATH, INTEREST = 2, 4, 7, 9, 11, 12, 17, 18


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, value=b""):
    return varint(field << 3 | 2) + varint(len(value)) + value


def frame(n, kind, body):
    return number(1, n) + block(kind, body)


def hello(kind, rest=b"", more=False):
    return (varint(1 << 3 | 5) + MAGIC.to_bytes(4, "little") + number(2, 2) + number(3, 2) + number(5, kind)
            + (number(6, 1) if more else b"") + rest)


def publisher_hello(*queues):
    return hello(PUBLISHER, block(16, os.urandom(16)) + b"".join(block(18, q.encode()) for q in queues))


def window(messages, size, epoch=1):
    return number(1, epoch) + number(2, messages) + number(3, size)


def worker_hello(queue, messages, token=None, rest=b"", more=False):
    return hello(WORKER, block(9, token or os.urandom(16)) + block(11, b"hostile")
                 + block(12, block(1, queue.encode())) + block(13, window(messages, 1 << 40)) + rest, more)


def claim(segment):
    return number(1, 1) + number(2, segment) + number(4, 1) + number(5, 1) + number(6, segment)


class Attack:
    """What each of the hostile clients does: `hello` opens a session (frames), `goes_on` is said again and again."""

    def __init__(self, name, hello_frames, goes_on):
        self.name, self.hello_frames, self.goes_on = name, hello_frames, goes_on


def bomb(kind, part, size):
    """A body of `size` bytes, of nothing but `part`."""
    body = part * (size // len(part))
    return lambda n: frame(n, kind, body)


def naming():
    """All that a HELLO may name, in parts."""
    parts, each = [], 4000
    claims = [block(14, claim(1 + i)) for i in range(each)]
    body = b"".join(claims)[:60_000]
    body = b"".join(claims[:len(body) // len(claims[-1])])
    count = len(claims[:len(body) // len(claims[0])])
    token = os.urandom(16)
    for i in range(262_144 // max(1, count)):
        rest = body if i else body[:0]
        parts.append(worker_hello("honest", 10, token, rest, True) if i == 0 else hello(WORKER, body, True))
    parts.append(hello(WORKER, b"", False))
    return parts


def attacks():
    as_publisher = [publisher_hello("honest")]
    as_worker = [worker_hello("trap", 65_536)]
    as_control = [hello(CONTROL)]
    million_names = bomb(INTEREST, block(1), 4 << 20)
    known_names = bomb(INTEREST, block(1, b"honest"), 60_000)
    return [
        Attack("two million names", as_publisher, million_names),
        Attack("a queue's name, 7,500 times", as_publisher, known_names),
        Attack("8 MiB of empty groups", as_publisher, bomb(PUBLISH, block(2), 8 << 20)),
        Attack("64 KiB of empty groups", as_publisher, bomb(PUBLISH, block(2), 64_000)),
        Attack("a million settlements of nothing", as_worker, bomb(SETTLE, block(1), 1_000_000)),
        Attack("release all that is held", as_worker,
               lambda n: frame(n, SETTLE, block(1, number(1, 1) + number(2, 1) + number(3, 4)))),
        Attack("a HELLO that names 262,144 messages", None, None),
        Attack("deaths of 60,000 handlers", as_control,
               bomb(DEATH, block(4, block(1, b"honest") + number(2, 5)), 1_000_000)),
        Attack("keep-alives of 10,000 shards", as_control, bomb(KEEP_ALIVE_FRAME, block(2, number(1, 7)), 60_000)),
        Attack("looking at all queues and workers", as_control,
               lambda n: frame(n, CONTROL_FRAME, number(1, n) + block(2 + n % 2))),
        Attack("windows that change", as_worker, lambda n: frame(n, WINDOW, window(65_536, 1 << 40, n))),
    ]


class Client:
    """One hostile client; `answer` is the last error that it heard."""

    def __init__(self, context, port, attack):
        self.context, self.port, self.attack = context, port, attack
        self.socket, self.answer, self.sent, self.sessions = None, b"", 0, 0
        self.open()

    def open(self):
        if self.socket is not None:
            self.socket.close(0)
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.socket.setsockopt(zmq.SNDHWM, 4)
        self.socket.connect(f"tcp://127.0.0.1:{self.port}")
        self.sessions += 1
        self.sent = 0
        self.waits = list(self.attack.hello_frames if self.attack.hello_frames is not None else naming())

    def step(self):
        """Says one thing, and reads what is there."""
        ended = False
        while True:
            try:
                answer = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            at = answer.find(b"\x82\x01")  # field 16: an error
            if 0 <= at < 12:
                self.answer = answer[at:]
                ended = ended or self.answer.endswith(b"\x18\x01")  # fatal
        if ended or (not self.waits and self.attack.goes_on is None):
            return self.open()
        body = self.waits[0] if self.waits else None
        data = frame(self.sent + 1, HELLO, body) if body is not None else self.attack.goes_on(self.sent + 1)
        try:
            self.socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return
        self.sent += 1
        if body is not None:
            self.waits.pop(0)


def run(port, attack_number, clients, share, stop, told):
    """Ten of them, until `stop`; all together take no more than `share` of a core."""
    attack = attacks()[attack_number]
    context = zmq.Context()
    all_of_them = [Client(context, port, attack) for _ in range(clients)]
    began, used = time.monotonic(), time.process_time()
    while not stop.is_set():
        for client in all_of_them:
            client.step()
            while (time.process_time() - used) > share * (time.monotonic() - began) and not stop.is_set():
                time.sleep(0.002)
    words = max((c.answer for c in all_of_them), key=len)
    text = "".join(chr(b) if 32 <= b < 127 else " " for b in words).strip()
    told.put((text[:90], sum(c.sessions for c in all_of_them)))
    for client in all_of_them:
        client.socket.close(0)
    context.term()


class Hostiles:
    """The clients of one attack, in a process of their own."""

    def __init__(self, port, attack_number, clients=10, share=0.1):
        context = multiprocessing.get_context("spawn")
        self.stop, self.told = context.Event(), context.Queue()
        self.process = context.Process(target=run, args=(port, attack_number, clients, share, self.stop, self.told))
        self.process.start()

    def end(self):
        self.stop.set()
        answer = self.told.get(timeout=20)
        self.process.join(20)
        return answer
