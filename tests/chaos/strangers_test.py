#!/usr/bin/python3
"""Connections that send without end, say nothing, or are too many: each is cut off, counted and logged; the broker's memory
and CPU stay, and an honest publisher beside them is confirmed."""

import os
import pathlib
import resource
import socket
import struct
import threading
import time

from kit import SANITIZED, WEIR, Deployment, Suite, plugin, rss_anon_mib, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: {session_timeout}, connections: {connections} }}
queues:
  work:
workers:
  w: {{ plugin: {plugin}, queues: [work], with: {{ ledger: {ledger} }} }}
"""
MIB = 1024 * 1024
# What a broker's memory may grow by while it finds out; what was tried without bounds took 500 to 1,000.
GROWS_MOST = 150 * (3 if SANITIZED else 1)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY_BODY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
READY = b"\x04" + bytes([len(READY_BODY)]) + READY_BODY
# A Frame, number 1, with the HELLO of an operator's client: magic, versions 2 to 2, kind CONTROL.
HELLO = b"\x08\x01\x12\x0b\x0d\x57\x45\x49\x52\x10\x02\x18\x02\x28\x03"


def deployment(session_timeout="10s", connections=10000):
    return Deployment(YAML, session_timeout=session_timeout, connections=connections, plugin=plugin("work"))


def part(payload, more):
    """One ZMTP 3.0 frame."""
    return bytes([(1 if more else 0) | 2]) + struct.pack(">Q", len(payload)) + payload


def connect(d):
    peer = socket.create_connection(("127.0.0.1", d.port), 10)
    peer.settimeout(10)
    return peer


def shaken(d):
    """A connection after ZMTP's handshake: libzmq takes messages from it."""
    peer = connect(d)
    peer.sendall(GREETING + READY)
    heard = b""
    while len(heard) < len(GREETING) or b"READY" not in heard:
        more = peer.recv(4096)
        assert more, "closed in the handshake"
        heard += more
    return peer


def sends_until_cut_off(peer, data, bytes_most):
    """How many bytes it could send before the connection ended."""
    sent = 0
    try:
        while sent < bytes_most:
            peer.sendall(data)
            sent += len(data)
    except OSError:
        return sent
    raise AssertionError(f"it sent {sent // MIB} MiB and was not cut off")


class Watch:
    """The most memory that a broker has while this runs, above what it had before, in MiB."""

    def __init__(self, broker):
        self.pid, self.before, self.most, self.on = broker.pid, rss_anon_mib(broker.pid), 0, True

    def __enter__(self):
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while self.on:
            self.most = max(self.most, rss_anon_mib(self.pid) - self.before)
            time.sleep(0.005)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()


def goes_on(d, number):
    d.publish([{"number": number, "action": "ack"}])
    wait_for(f"message {number} is confirmed, and counted", lambda: (d.queue() or {}).get("ready", 0) >= 1)


def log_of(d):
    return (d.folder / "broker.log").read_text()


def messages_without_end():
    """1 MiB parts, each with MORE: before a HELLO, and in a session."""
    with deployment() as d:
        broker = d.broker()
        told = []
        for name, first in (("a stranger", b""), ("a session", b"\x00" + bytes([len(HELLO)]) + HELLO)):
            with Watch(broker) as watch, shaken(d) as peer:
                peer.sendall(first)
                if first:
                    assert peer.recv(4096), "no WELCOME"
                sent = sends_until_cut_off(peer, part(bytes(MIB), True), 4096 * MIB)
            assert watch.most < GROWS_MOST, f"{name}: the broker grew by {watch.most:.0f} MiB"
            told.append(f"{name} sent {sent // MIB} MiB, the broker grew by {watch.most:.0f}")
        assert "a message that has no end" in log_of(d) and "connection_shut" in log_of(d), log_of(d)
        goes_on(d, 1)
        return "; ".join(told)


def handshakes_without_end():
    """A command of 8 MiB where READY is expected, from twenty strangers at once."""
    with deployment() as d:
        broker = d.broker()
        peers = [connect(d) for _ in range(20)]
        command = b"\x06" + struct.pack(">Q", 16 * MIB) + bytes(8 * MIB)
        with Watch(broker) as watch:
            senders = [threading.Thread(target=lambda p=p: quietly(p.sendall, GREETING + command)) for p in peers]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            for peer in peers:
                assert is_closed(peer, 5), "it was not cut off"
        assert watch.most < GROWS_MOST, f"the broker grew by {watch.most:.0f} MiB"
        goes_on(d, 1)
        return f"the broker grew by {watch.most:.0f} MiB"


def quietly(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass


def is_closed(peer, seconds):
    """True once the other side has ended it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peer.settimeout(max(0.01, end - time.monotonic()))
        try:
            if not peer.recv(4096):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def strangers_that_say_nothing():
    """600 connections without a HELLO: 256 are borne, for one session_timeout."""
    with deployment(session_timeout="2s") as d:
        broker = d.broker()
        before = descriptors(broker)
        peers = [shaken(d) for _ in range(600)]
        wait_for("no more than 256 are borne", lambda: descriptors(broker) - before <= 256, 3)
        goes_on(d, 1)
        wait_for("none is borne for long", lambda: descriptors(broker) - before <= 2, 6)
        assert "of more than 256 connections without a session it was the oldest" in log_of(d), log_of(d)
        del peers


def descriptors(broker):
    return len(os.listdir(f"/proc/{broker.pid}/fd"))


def cpu_seconds(broker):
    fields = pathlib.Path(f"/proc/{broker.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def few_descriptors():
    """A soft limit is raised; where the hard one is low, the broker says how many it takes, and never spins."""
    with deployment(session_timeout="2s") as d:
        broker = d.start("broker", WEIR, "broker", d.file,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200)))
        wait_for("broker listening", d.listening)
        limits = pathlib.Path(f"/proc/{broker.pid}/limits").read_text()
        assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files")] == [["200", "200"]]
        assert "few_descriptors" in log_of(d), log_of(d)
        peers = []
        used = cpu_seconds(broker)
        begin = time.monotonic()
        while time.monotonic() - begin < 3:
            for _ in range(20):
                peers.append(connect(d))
            time.sleep(0.1)
        share = (cpu_seconds(broker) - used) / (time.monotonic() - begin)
        assert share < 0.3, f"{share:.0%} of a core with {len(peers)} connections that say nothing"
        goes_on(d, 1)
        return f"{len(peers)} connections at 200 descriptors: {share:.0%} of a core"


def too_many_sessions():
    """Sessions beyond broker.connections are told so, in words; when one ends another is taken."""
    with deployment(session_timeout="2s", connections=3) as d:
        d.broker()
        hello = b"\x00" + bytes([len(HELLO)]) + HELLO
        taken = []
        for _ in range(3):
            taken.append(shaken(d))
            taken[-1].sendall(hello)
            assert taken[-1].recv(4096)
        with shaken(d) as one_more:
            one_more.sendall(hello)
            assert b"takes no more than 3 connections at once; raise broker.connections" in one_more.recv(4096)
            assert is_closed(one_more, 10), "it is not ended"
        assert "connections_full connections=4 most=3 " in log_of(d), log_of(d)  # itself included
        taken.pop().close()
        wait_for("there is room again", lambda: d.weir("queues", "--engine", d.engine, check=False).returncode == 0)


def main():
    suite = Suite()
    for name, test in (("a message without end is cut off", messages_without_end),
                       ("a handshake without end is cut off", handshakes_without_end),
                       ("strangers that say nothing are borne for a while, and not too many", strangers_that_say_nothing),
                       ("out of descriptors the broker says so, and does not spin", few_descriptors),
                       ("sessions beyond the limit are told so", too_many_sessions)):
        suite.run(name, test)
    suite.end()


if __name__ == "__main__":
    main()
