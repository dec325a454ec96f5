"""The processes of a storm, and everything that may happen to them."""

import errno
import fcntl
import json
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from kit import BUILD, WEIR, Deployment, Tail, children, plugin, wait_for
from proxy import FAULTS, Proxy

SESSION_TIMEOUT = 3.0
YAML = """
engine: weir://127.0.0.1:{proxy}
broker: {{ data: {data}, listen: "127.0.0.1:{port}", session_timeout: 3s, reserve: 16MiB }}
queues:
  work: {{ ahead: {ahead}, attempts: 4, backoff: {{ first: 50ms, most: 1s }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    shards: 2
    window: {{ messages: 32, bytes: 16MiB }}
    timeout: 2s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
DISK_BYTES = 256 << 20
WHO = ("broker", "parent", "child", "publisher", "supervisor")
# Everything that may happen: the Storm's function, and in which forms. What stands twice happens twice as often.
EVENTS = {
    "kill": (*WHO, "broker", "child"),
    "stop": WHO,
    "cut": ("cut", "reset"),
    "half_open": ("client", "server"),
    "link": FAULTS,
    "loopback": ("down",),
    "full_disk": ("full",),
    "failing_disk": ("sync EIO", "sync ENOSPC", "write EIO", "write ENOSPC", "lost_sync EIO"),
    "wall_clock": ("forward", "back"),
}


class Shim:
    """The control block of shim.cpp."""

    NONE, TOLD, UNTOLD = range(3)  # what a failed sync loses, and whether it says so

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(40))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 40)

    def set(self, wall_offset_us=0, sync_errno=0, write_errno=0):
        self.map[:16] = struct.pack("<qii", wall_offset_us, sync_errno, write_errno)

    def lose_at_sync(self, loss):
        """To be told before the first write that may be lost."""
        self.map[32:40] = struct.pack("<q", loss)

    def failed(self):
        return struct.unpack_from("<q", self.map, 16)[0]

    def synced_after(self):
        return struct.unpack_from("<q", self.map, 24)[0]

    def environment(self, disk):
        return {**os.environ, "CHAOS_SHIM_DEVICE": str(disk.stat().st_dev),
                "LD_PRELOAD": str(BUILD / "bin" / "libchaos_shim.so"), "CHAOS_SHIM": str(self.path)}


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

    def __init__(self, storm, name):
        self.process = storm.start(name, BUILD / "bin" / "chaos_publisher", storm.engine_by_proxy, "work", "work.Task",
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.numbers, self.sent, self.answered, self.closing = storm.numbers, [], set(), False
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


class BrokerLog:
    """What brokers' logs tell: (when, pid) of each worker's session that ended other than by goodbye, and when one started.

    The time is when the line was read: the log's own is by the wall clock, which jumps.
    """

    def __init__(self, folder):
        self.folder, self.tails, self.closing = folder, {}, False
        self.lost, self.starts = [], []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while True:
            last = self.closing
            for log in self.folder.glob("up-*.log"):
                if log not in self.tails:
                    self.tails[log] = Tail(log)
                for line in self.tails[log].new():
                    if '"session_ended"' in line and '"goodbye"' not in line:
                        self.lost.append((time.monotonic(), int(json.loads(line)["worker"].split("/")[2])))
                    if '"broker_listening"' in line:
                        self.starts.append(time.monotonic())
            if last:
                return
            time.sleep(0.02)

    def end(self):
        """Both are whole, to the end of the logs; it follows no further."""
        self.closing = True
        self.thread.join()
        return self


class Storm:
    """`weir up`, a second worker and two publishers, all through a proxy, on a small disk; and what hurts them."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.numbers = Numbers(seed)
        self.proxy = Proxy(to=None, seed=seed)
        self.ahead = seed % 2 == 0
        self.deployment = Deployment(YAML, ahead=str(self.ahead).lower(), proxy=self.proxy.port, data="./disk/data",
                                     plugin=plugin("work"))
        self.proxy.to = self.deployment.port
        self.engine_by_proxy = f"weir://127.0.0.1:{self.proxy.port}"
        self.disk = self.deployment.folder / "disk"
        self.shim = Shim(self.deployment.folder / "shim")
        self.hurt = []       # (from, to, {pids})
        self.broker_log = BrokerLog(self.deployment.folder)
        self.log = []        # what was done, for people
        self.up = self.extra = None
        self.publishers, self.ended_publishers = [], []
        self.names = 0

    def __enter__(self):
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "weir-storm", self.disk], check=True)
        self.keep_running()
        return self

    def __exit__(self, kind, error, trace):
        for publisher in self.publishers:
            publisher.closing = True
        if self.up:
            for pid in [*children(self.up.pid), self.up.pid]:
                self.signal(pid, signal.SIGKILL)
        self.deployment.__exit__(kind, error, trace)
        subprocess.run(["umount", "-l", self.disk], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.deployment.folder, ignore_errors=True)

    def start(self, name, *argv, **options):
        self.names += 1
        return self.deployment.start(f"{name}-{self.names}", *argv, **options)

    def keep_running(self):
        """Starts what is not there (any more)."""
        if self.up is None or self.up.poll() is not None:
            # Its children end with it, each in its own time.
            wait_for("the port is free", lambda: not self.deployment.listening(), 20)
            self.up = self.start("up", WEIR, "--log", "json", "up", self.deployment.file, env=self.shim.environment(self.disk))
        if self.extra is None or self.extra.poll() is not None:
            self.extra = self.start("extra", WEIR, "--log", "json", "worker", self.deployment.file, "w")
        for publisher in list(self.publishers):
            if publisher.process.poll() is not None:
                publisher.gone()
                self.publishers.remove(publisher)
                self.ended_publishers.append(publisher)
        while len(self.publishers) < 2:
            self.publishers.append(Publisher(self, "publisher"))

    # Who is who.

    def processes(self):
        """{"broker": pid, "parent": [pids], "child": [pids], …} of what lives."""
        found = {"supervisor": [self.up.pid], "broker": [], "parent": [self.extra.pid], "child": [],
                 "publisher": [each.process.pid for each in self.publishers]}
        for pid in children(self.up.pid):
            try:
                words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            except OSError:
                continue
            if b"broker" in words:
                found["broker"].append(pid)
            elif b"worker" in words:
                found["parent"].append(pid)
        for parent in found["parent"]:
            found["child"] += children(parent)
        found["child"] = [pid for pid in found["child"] if pid not in found["parent"]]
        found["parent"] = list(dict.fromkeys(found["parent"]))
        found["child"] = list(dict.fromkeys(found["child"]))
        return found

    @staticmethod
    def signal(pid, what):
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            pass

    def mark_hurt(self, pids, seconds=0.0):
        """From now until some time after: a killed parent's child drains, and may be cut short."""
        now = time.monotonic()
        self.hurt.append((now - 0.05, now + seconds + 8.0, {pid for each in pids for pid in [each, *children(each)]}))

    # What happens.

    def kill(self, kind):
        there = self.processes()[kind]
        if not there:
            return None
        pid = self.chance.choice(there)
        if kind != "broker":
            self.mark_hurt([pid])
        self.signal(pid, signal.SIGKILL)
        return f"kill -9 {kind} {pid}"

    def stop(self, kind):
        there = self.processes()[kind]
        if not there:
            return None
        pid, seconds = self.chance.choice(there), self.chance.choice([0.1, 0.5, 2.0, SESSION_TIMEOUT * 1.5])
        if kind == "child":
            self.mark_hurt([pid], seconds)
        self.signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.signal(pid, signal.SIGCONT)
        return f"SIGSTOP {kind} {pid} for {seconds} s"

    def cut(self, how):
        done = sum(self.proxy.cut(how == "reset") for _ in range(self.chance.randrange(1, 8)))
        return done and f"{how} {done} connections"

    def half_open(self, side):
        done = sum(self.proxy.lose(side) for _ in range(self.chance.randrange(1, 4)))
        return done and f"{done} connections half-open, without the {side}"

    def link(self, fault):
        seconds = self.chance.choice([0.3, 1.0, 2.0, SESSION_TIMEOUT * 1.5])
        self.proxy.fault = fault
        time.sleep(seconds)
        self.proxy.fault = None
        return f"links {fault} for {seconds} s"

    def loopback(self, _down):
        seconds = self.chance.choice([0.3, 1.0, 2.0])
        set_loopback(False)
        time.sleep(seconds)
        set_loopback(True)
        return f"the link down for {seconds} s"

    def full_disk(self, _full):
        filler, seconds = self.disk / "filler", self.chance.choice([0.5, 2.0])
        try:
            with filler.open("wb", buffering=0) as out:
                while out.write(bytes(1 << 20)):
                    pass
        except OSError:
            pass
        time.sleep(seconds)
        filler.unlink()
        return f"the disk full for {seconds} s"

    def failing_disk(self, how):
        what, name = how.split()
        before = self.shim.failed()
        if what == "lost_sync":  # one sync says so, and what was not synced is lost
            self.shim.lose_at_sync(Shim.TOLD)
            time.sleep(0.1)
        self.shim.set(**{what.replace("lost_", "") + "_errno": getattr(errno, name)})
        time.sleep(self.chance.uniform(0.05, 0.5))
        self.shim.set()
        self.shim.lose_at_sync(Shim.NONE)
        failed = self.shim.failed() - before
        return failed and f"{how}, {failed} times"

    def wall_clock(self, way):
        seconds = self.chance.choice([5, 3600, 86400]) * (1 if way == "forward" else -1)
        self.shim.set(wall_offset_us=seconds * 1_000_000)
        time.sleep(self.chance.uniform(0.2, 2.0))
        self.shim.set()
        return f"the wall clock {seconds:+d} s and back"

    def heal(self):
        self.proxy.fault = None
        self.shim.set()
        set_loopback(True)
        for kind in self.processes().values():
            for pid in kind:
                self.signal(pid, signal.SIGCONT)

    def finish_publishing(self):
        """Waits for the last answers. What a dead publisher left over may stay unpublished: nobody was told otherwise."""
        for publisher in self.publishers:
            publisher.closing = True
        wait_for("the publishers end", lambda: all(p.process.poll() is not None for p in self.publishers), 60)
        for publisher in self.publishers:
            publisher.gone()
        self.ended_publishers += self.publishers
        self.publishers = []

    def wait_until_settled(self):
        """Until everything is handled or dead. How many had to wait for a clock.

        A broker goes by the wall clock at its start. One that started while the clock was ahead leaves retries behind that
        the next one, started by the right clock, finds due in an hour, or in a day: late, as the clock was wrong, but there.
        So that the storm can end, that hour passes: all of them but those must be settled by then.
        """
        late, end = 0, time.monotonic() + 120
        while not self.deployment.settled("work"):
            counts = self.deployment.queue("work")
            if time.monotonic() > end:
                raise AssertionError(f"everything is handled or dead: not within 120 s: {counts}")
            waits_for_its_time = counts and counts["ready"] + counts["leased"] == 0
            if not late and waits_for_its_time and time.monotonic() > end - 100:
                late = counts["delayed"]
                self.shim.set(wall_offset_us=(86400 + 3600) * 1_000_000)
                self.signal(self.processes()["broker"][0], signal.SIGKILL)
            time.sleep(0.2)
        return late

    # What is known in the end.

    def confirmed(self):
        """Number -> when its publisher heard it."""
        return {n: at for each in self.publishers + self.ended_publishers for n, at in each.confirmed.items()}


def set_loopback(up):
    """Of this network namespace, which is the test's own. SIOCGIFFLAGS, SIOCSIFFLAGS; IFF_UP is 1 (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(any_socket, 0x8913, request)
        flags = struct.unpack_from("h", request, 16)[0]
        struct.pack_into("h", request, 16, flags | 1 if up else flags & ~1)
        fcntl.ioctl(any_socket, 0x8914, request)
