#!/usr/bin/env python3
"""seeds.py: writes corpus/TARGET anew, from real frames, files and small programs in the targets' own languages.

The inputs that fuzzing adds are not kept here, only what leads it quickly to every kind of thing: well below 200 KB.
"""
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
generated = tempfile.mkdtemp()
subprocess.run(["protoc", f"--proto_path={root}/proto", f"--python_out={generated}"]
               + [f"weir/v1/{name}.proto" for name in ("message", "control", "wire", "store")], check=True)
sys.path.insert(0, generated)
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
from weir.v1 import message_pb2, store_pb2, wire_pb2 as wire  # noqa: E402

MAGIC = 0x52494557


def keep(target, name, content):
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def block(content):
    return struct.pack("<H", len(content)) + content


def hello(kind, **fields):
    return wire.Frame(number=1, hello=wire.Hello(magic=MAGIC, version_lowest=2, version_highest=2, kind=kind, **fields))


def index(count, types=("a.A",), length=4, **columns):
    type_of = [i % len(types) for i in range(count)] if len(types) > 1 else []
    return message_pb2.Index(lengths=[length] * count, types=types, type_of=type_of, **columns)


def body(payload):
    return message_pb2.Body(payload=payload).SerializeToString()


token = bytes([1]) * 16
one = body(b"ab")  # 4 bytes
window = wire.Window(epoch=1, messages=8, bytes=1000)
from_clients = {
    "hello-worker": hello(wire.WORKER, build="seed", process_token=token, group="shop", window=window,
                          attach=[wire.Attach(queue="orders", types=["a.A"])]),
    "hello-claims": hello(wire.WORKER, process_token=token, window=window, attach=[wire.Attach(queue="orders")],
                          store=bytes(16),
                          held=[wire.Claim(queue=1, segment=1, count=3, incarnation=1, lease=1)],
                          settled=[wire.Claim(queue=1, segment=1, first=3, count=1, incarnation=1, lease=4)]),
    "hello-of-another-store": hello(wire.WORKER, process_token=token, window=window, store=bytes([2]) * 16, heard=9,
                                    attach=[wire.Attach(queue="orders")],
                                    held=[wire.Claim(queue=1, segment=1, count=3, incarnation=1, lease=1)]),
    "hello-of-a-later-store": hello(wire.PUBLISHER, publisher=token, lowest_unanswered=3, store=bytes(16), heard=99,
                                    publish_to=["orders"]),
    "hello-part": hello(wire.WORKER, process_token=token, more=True, window=window),
    "hello-publisher": hello(wire.PUBLISHER, publisher=token, lowest_unanswered=1, publish_to=["orders", "bounded"]),
    "hello-control": hello(wire.CONTROL),
    "hello-keeper": hello(wire.KEEP_ALIVE),
    "publish": wire.Frame(number=2, publish=wire.Publish(groups=[
        wire.Group(queue=1, first_number=1, index=index(3)),
        wire.Group(queue=2, priority=9, first_number=4, index=index(2, ("a.A", "a.B"), key=[b"k", b"l"],
                                                                    delay_us=[0, 1000]))]), run=one * 5),
    "settle": wire.Frame(number=2, settle=wire.Settle(
        runs=[wire.Settle.Run(lease=1, count=2, outcome=wire.ACK),
              wire.Settle.Run(lease=3, count=1, outcome=wire.RETRY, delay_us=1000, error="no")],
        outputs=[wire.Group(queue=1, index=index(1), source=[1])]), run=one),
    "window": wire.Frame(number=2, window=wire.Window(epoch=2, messages=1, bytes=1)),
    "keep-alive": wire.Frame(number=2, keep_alive=wire.KeepAlive(
        process_token=token, shards=[wire.ShardState(shard=0, since_turn_us=5, running="orders/1.1", stuck=True)])),
    "death": wire.Frame(number=2, death=wire.DeathReport(process_token=token, signal=11, started=[
        wire.Started(queue="orders", segment=1, index=0, part=wire.Started.CULPRIT,
                     attempt=message_pb2.Attempt(error="killed", stack="f", log=["line"])),
        wire.Started(queue="orders", segment=1, index=1, part=wire.Started.ON_CPU)])),
    "interest": wire.Frame(number=2, interest=wire.Interest(publish_to=["refusing", "nowhere"])),
    "goodbye": wire.Frame(number=2, goodbye=wire.Goodbye()),
}
for request in ("list_queues", "list_workers", "list_dead", "show_dead", "replay_dead", "purge_dead"):
    frame = wire.Frame(number=2)
    frame.control.id = 7
    getattr(frame.control, request).SetInParent()
    if request not in ("list_queues", "list_workers"):
        getattr(frame.control, request).queue = "orders"
    if request in ("replay_dead", "purge_dead"):
        getattr(frame.control, request).ids.append("orders/1.0")
    from_clients["control-" + request] = frame

from_brokers = {
    "welcome": wire.Frame(number=1, welcome=wire.Welcome(
        version=2, incarnation=1, store=token, commits=5, publisher_known=True, session_timeout_us=10_000_000, message_most_bytes=1 << 20,
        queues=[wire.QueueInfo(id=i + 1, name=name, in_file=True, window=wire.Window(epoch=1, messages=9, bytes=999))
                for i, name in enumerate(("orders", "emails"))],
        claims=[wire.ClaimAnswer(queue=1, segment=1, count=2, lease=9)])),
    "deliver": wire.Frame(number=2, deliver=wire.Deliver(deliveries=[
        wire.Delivery(queue=1, segment=1, lease=1, attempt=1, index=index(3, ("a.A", "a.B"))),
        wire.Delivery(queue=2, segment=2, lease=4, attempt=2, index=index(1, key=[b"k"]))], commits=6), run=one * 4),
    "settled": wire.Frame(number=2, settled=wire.Settled(
        frames=[wire.Settled.Range(first=2, last=3)],
        runs=[wire.Settled.Run(lease=1, count=1, answer=wire.Settled.STALE),
              wire.Settled.Run(lease=2, count=1, answer=wire.Settled.STORE_FULL)])),
    "confirmed": wire.Frame(number=2, confirmed=wire.Confirmed(runs=[
        wire.Confirmed.Run(first=1, count=2, queue=1, segment=1),
        wire.Confirmed.Run(first=3, count=1, answer=wire.Confirmed.REFUSED, reason="full")])),
    "window": wire.Frame(number=2, window=wire.Window(queue=1, epoch=2, messages=1, bytes=10)),
    "beat": wire.Frame(number=2, beat=wire.Beat()),
    "error": wire.Frame(number=2, error=wire.Error(code=wire.Error.REPLACED, message="no", fatal=True)),
}
for name, column in {"delay": {"delay_us": [(1 << 63) - 1, (1 << 64) - 1]}, "deliver-at": {"deliver_at_us": [-1 << 63, 1 << 62]}}.items():
    from_clients["publish-" + name] = wire.Frame(number=2, publish=wire.Publish(groups=[
        wire.Group(queue=1, first_number=10, index=index(2, **column))]), run=one * 2)
for name, frame in {**from_clients, **from_brokers}.items():
    keep("frame", name, frame.SerializeToString())
segment = store_pb2.Segment(index=index(3, ("a.A", "a.B")), published_at_us=5, run=one * 3).SerializeToString()
keep("frame", "segment", segment)

# The broker: what each step is called there (broker.cpp, Play::step).
RAW, NUMBERED, WORKER, PUBLISHER, PUBLISH, SETTLE, ALIVE, DEATH, CONTROL, PASS, COMMIT, SEAL, DONE, RESTART, GONE, ROOM, \
    WINDOW, OTHER = range(18)


def framed(peer, name):
    return bytes([NUMBERED, peer]) + block(from_clients[name].SerializeToString())


for name in from_clients:
    first = "hello-publisher" if name.startswith("publish") or name in ("interest", "window") else "hello-worker"
    keep("broker", "say-" + name, framed(0, "hello-publisher") + framed(0, "publish") + bytes([COMMIT])
         + framed(1, first) + bytes([COMMIT]) + framed(1, name) + bytes([COMMIT, PASS, 4, COMMIT]))
publishes = bytes([PUBLISHER, 0, 1, 0, PUBLISH, 0, 0, 0, 0, 4, 0, 3, 10, COMMIT])
works = bytes([WORKER, 1, 1, 0, 0, 0, 100, 100, 0, COMMIT])
settles = {name: bytes([SETTLE, 1, 0, 0, 0, 0, outcome, 3, 5]) for name, outcome in
           (("ack", 1), ("retry", 2), ("reject", 3), ("release", 4), ("defer", 5), ("throttled", 6))}
for name, step in settles.items():
    keep("broker", name, publishes + works + step + bytes([COMMIT]) + bytes([PASS, 4, COMMIT, PASS, 5, COMMIT]))
keep("broker", "restart", publishes + works + bytes([RESTART, 0]) + bytes([WORKER, 1, 1, 0, 0, 0, 100, 100, 1, 0, 0, 1, 1])
     + settles["ack"] + bytes([COMMIT]) + bytes([PASS, 4] * 6) + bytes([COMMIT]))
keep("broker", "death", publishes + works + bytes([OTHER, 2, 0, DEATH, 2, 1, 9, 1, 2, 0, 0, 2, 0, 0, 0, 1, 1, COMMIT])
     + bytes([WORKER, 3, 2, 0, 0, 0, 100, 100, 0, COMMIT, PASS, 3, COMMIT]))
keep("broker", "lost", publishes + works + bytes([PASS, 4] * 6) + bytes([COMMIT]) + works + bytes([PASS, 3, COMMIT]))
keep("broker", "dead-replayed", publishes + works + settles["reject"] + bytes([COMMIT])
     + bytes([OTHER, 2, 1, CONTROL, 2, 1, 0, 4, 0, 0, COMMIT, CONTROL, 2, 1, 0, 5, 0, 0, COMMIT]))
keep("broker", "bounded", bytes([PUBLISHER, 0, 1, 1, PUBLISHER, 2, 2, 1]) + bytes([PUBLISH, 0, 0, 1, 0, 4, 0, 18, 10]) * 2
     + bytes([COMMIT, ROOM, 1, PUBLISH, 2, 0, 1, 0, 4, 0, 3, 10, COMMIT, ROOM, 0, COMMIT]))
keep("broker", "delayed", bytes([PUBLISHER, 0, 1, 0, PUBLISH, 0, 0, 0, 0, 4, 6, 2, 10, 1, 2, 3, COMMIT]) + works
     + bytes([PASS, 4, COMMIT, PASS, 4, COMMIT]))

# The worker (worker.cpp) and the publisher (publisher.cpp).
open_welcome = bytes([14, 1, 10, 100, 0, 0])
deliver = bytes([4, 0, 0, 1, 0, 1, 1, 0, 3, 20])
for name, frame in from_brokers.items():
    keep("worker", "say-" + name, open_welcome + bytes([1]) + block(frame.SerializeToString()) + bytes([7, 8, 255]))
    keep("publisher", "say-" + name, bytes([4, 0, 9, 2, 3, 0, 1, 10, 1, 50, 50, 50, 50, 4, 128, 9, 9, 6, 1])
         + block(frame.SerializeToString()))
for outcome in range(6):
    keep("worker", f"outcome-{outcome}", open_welcome + deliver + bytes([7, 8, 7, outcome, 0, outcome, 200, 1, 5, 0, 0])
         + bytes([6, 1, 1, 0]))
keep("worker", "again", open_welcome + deliver + bytes([7, 8, 1, 0, 0, 11]) + bytes([2, 3, 2, 10, 100, 0, 0])
     + deliver + bytes([6, 5, 1, 0, 3, 1, 0, 2, 1, 1, 7]))
keep("worker", "again-stale", open_welcome + deliver + bytes([7, 8, 1, 0, 0, 11]) + bytes([2, 3, 2, 10, 100, 0, 5, 7]))
keep("worker", "drain", open_welcome + deliver + bytes([7, 12, 0]) + deliver + bytes([8, 255, 0, 0, 0, 0, 0, 0]))
offers = bytes([4, 0, 9, 2, 3, 0, 1, 10, 1, 50, 50, 50, 50, 4, 128, 9, 9, 4, 1, 20, 5, 0x24, 5, 7, 6])
keep("publisher", "confirmed", offers + bytes([7, 0, 9, 10, 0, 1, 1, 0]))
keep("publisher", "refused", offers + bytes([7, 1, 9, 2, 1, 1, 1, 0, 7, 3, 1, 1, 1, 0]))
keep("publisher", "again", offers + bytes([10, 2, 3, 0, 1, 10, 1, 50, 50, 50, 50, 7, 0, 9, 10, 0, 1, 1, 0]))
keep("publisher", "forgotten", offers + bytes([10, 2, 3, 1, 1, 10, 1, 50, 50, 50, 50]))
keep("publisher", "window", offers + bytes([11, 0, 1, 0, 0, 4, 128, 9, 9, 11, 0, 1, 100, 100, 4, 128, 9, 9, 6]))

# Stored values (stored.cpp): how many damages, then each: database, place, lane, key, what happens to it.
place = {"queues": 0, "segments": 1, "heads": 2, "records": 3, "due": 4, "dead": 5, "sessions": 6, "publishers": 7}
record = store_pb2.Record(type="a.A", priority=4, attempts=1, due_us=1, key=b"k", body=one)
values = {
    "queues": (0, 0, 0, store_pb2.QueueState(name="orders", segments_reserved=5, delivery_marks=[3] * 12)),
    "segments": (0, 1, 0, store_pb2.Segment(index=index(5, ("a.A", "a.B")), run=one * 5)),
    "heads": (0, 1, 0, store_pb2.SegmentHead(count=5, bytes=50, types=["a.A"], settled=b"\x05")),
    "records": (0, 0, 0, record),
    "dead": (0, 0, 1, record),
    "sessions": (0, 0, 0, store_pb2.SessionNote(group="g", host="h", pid=5)),
    "publishers": (0, 0, 0, store_pb2.PublisherMark(mark=5, refused=[store_pb2.PublisherMark.Range(first=1, last=2)])),
}
for name, (queue, segment_at, at, value) in values.items():
    content = value.SerializeToString()
    extra = bytes([3]) if name in ("sessions", "publishers") else b""
    spot = bytes([place[name], queue, segment_at, at, 1, 1])
    keep("stored", name, bytes([0]) + spot + extra + bytes([3]) + block(content) + bytes([0, 0, 1, 2, 3, 4, 5]))
    keep("stored", name + "-byte", bytes([0]) + spot + extra + bytes([1, 3, 1, 0xff, 0x7f]))
    keep("stored", name + "-gone", bytes([0]) + spot + extra + bytes([0]))
    keep("stored", name + "-cut", bytes([0]) + spot + extra + bytes([2, 5]))
keep("stored", "due", bytes([0, 4, 0, 0, 0, 1, 1, 1, 3]) + block(struct.pack(">QI", 1, 4)))
keep("stored", "lane", bytes([0, 2, 0, 1, 0, 0, 200, 1, 3]) + block(store_pb2.SegmentHead(count=5).SerializeToString()))

for name, text in {
    "small": "queues: {orders: }\nworkers:\n  shop:\n    plugin: shop.so\n    queues: [orders]\n",
    "whole": "engine: weir://127.0.0.1:7744\nbroker: { data: ./weir-data, durability: os, session_timeout: 2s,"
             " message_most: 1MiB, reserve: 32MiB, listen: \"127.0.0.1:${PORT}\" }\nqueues:\n  orders:\n    attempts: 7\n"
             "    backoff: { first: 250ms, factor: 1.5, most: 10m, jitter: 0.1 }\n"
             "    most: { messages: 1000000, bytes: 4GiB, on_full: refuse }\n"
             "    dead: { keep: 90d, most: 100000, on_full: oldest }\n    unknown_grace: 2h\n  emails:\nworkers:\n"
             "  shop:\n    plugin: ./shop.so\n    queues: [orders, emails]\n    processes: { least: 2, most: 2 }\n"
             "    shards: 2\n    window: { messages: 256, bytes: 1MiB }\n    concurrency: 10\n    timeout: 5s\n"
             "    options: { url: \"${SNEAKY}\", empty: ${EMPTY:-x}, plain: $${PORT} }\n",
    "wrong": "engine: amqp://x\nqeues: [1, 2]\nqueues: {a b: 1, c: {attempts: -1, backoff: 5}}\nworkers: {w: }\n",
    "variables": "queues: {orders: {attempts: ${NOPE}, unknown_grace: ${PORT}s}}\nworkers: {a: {plugin: ${}, queues: [${PORT}]}}\n",
    "anchors": "queues: &q {orders: &o {attempts: 3}, emails: *o}\nworkers: {w: {plugin: a, queues: [orders], <<: *o}}\n",
    "tags": "%YAML 1.2\n---\nqueues: !!map {? orders : !!null , \"e\\u00e9\": 'x''y'}\n...\n---\nworkers: |\n  text\n",
}.items():
    keep("deployment", name, text.encode())

for name, text in {
    "order": b'{"id": "7", "cents": 5, "items": [{"name": "x"}], "paid": true, "rate": 1.5}\n',
    "crlf": b'{"id": "a"}\r\n\r\n{"id": "b"}',
    "nested": b'{"parent": {"parent": {"id": "deep"}}, "counts": {"a": 1}, "kind": "SOME", "number": 4}\n',
    "bytes": b'{"raw": "aGVsbG8=", "at": "2026-01-02T03:04:05Z", "mail": "\\u00e9\\ud83d\\ude00"}\n',
    "wrong": b'{"nosuch": 1}\n[1]\n{\n"text"\nnull\n{"cents": "x"}\n{"id": "\xff"}\n{"rate": 1e999}\n',
}.items():
    keep("lines", name, text)

# The recorder: a shape, the map's size, then patches: region, which, offset, bytes.
shape = bytes([2, 4, 1, 14]) + struct.pack("<H", 60)


def patch(region, which, offset, content):
    return bytes([region, which, offset, len(content)]) + content


names = patch(5, 0, 0, b"orders\nemails\n")
map_line = patch(6, 0, 0, b"1000-2000 r-xp 00000000 08:01 12 /usr/lib/libc.so.6\n")
log = patch(1, 0, 0, struct.pack("<QI", 1, 5) + b"hello") + patch(1, 1, 0, struct.pack("<QI", 2, 5) + b"world")
slot = struct.pack("<QQQQqqQ", 3, 7, 1 << 32 | 2, 2 << 32, 10, 20, 4096)
thread = struct.pack("<QqiI", 2, 15, 1234, 0)
mark = struct.pack("<IiiiQqQQII", 2, 11, 1, 0, 0xdead, 30, 2, 3, 2, 0) + struct.pack("<QQ", 0x1004, 0x1008)
keep("recorder", "started", bytes([7]) + shape + names + patch(4, 1, 0, slot))
keep("recorder", "on-cpu", bytes([7]) + shape + names + log + patch(4, 1, 0, slot) + patch(2, 0, 0, thread))
keep("recorder", "signal", bytes([7]) + shape + names + log + map_line + patch(4, 1, 0, slot) + patch(2, 0, 0, thread)
     + patch(3, 0, 0, mark))
keep("recorder", "stuck", bytes([7]) + shape + names + patch(4, 1, 0, slot) + patch(3, 0, 0, struct.pack("<I", 3) + mark[4:]))
keep("recorder", "header", bytes([0]) + struct.pack("<QIIIIIIIIqQQQ", 0x5448474952494557, 1, 1, 4, 0, 8, 0, 1, 0, 5, 1, 2, 3))
keep("recorder", "map", bytes([2, 0xf2, 0x10, 0x04]) + b"1000-2000 r-xp 00000000 08:01 12 /lib/a.so\n3000-4000 r--p 00001000 0 0 /lib/a.so\n")
with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder) / "f.c"
    source.write_text("int one(int x) { return x + 1; }\nint two(int x) { return one(x) * 2; }\n")
    subprocess.run(["gcc", "-shared", "-nostdlib", "-s", "-Wl,-z,max-page-size=64,--build-id=none", "-o",
                    f"{folder}/f.so", source], check=True)
    elf = (pathlib.Path(folder) / "f.so").read_bytes()
    keep("recorder", "elf", bytes([1, 0xf2, 0x02, 0x00]) + elf)
shutil.rmtree(generated)
