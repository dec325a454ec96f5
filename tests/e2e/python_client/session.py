"""One session with a Weir broker: a DEALER socket, frames numbered from 1 in each direction, HELLO and WELCOME first."""

import os
import socket
import time

import zmq
from weir.v1 import wire_pb2 as wire

MAGIC = 0x52494557


class Ended(Exception):
    """The broker ended the session; the text says why."""


class Session:
    def __init__(self, engine, hello, before=None):
        """`before`: this client's last session, if what it holds or has unanswered is of that."""
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        # libzmq's own reconnecting would lose frames in mid-stream; a client that must go on makes a new Session.
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.socket.connect(engine.replace("weir://", "tcp://"))
        self.sent = self.received = 0
        hello.magic, hello.version_lowest, hello.version_highest = MAGIC, 2, 2
        hello.build, hello.host, hello.pid = "python_client", socket.gethostname(), os.getpid()
        if before:
            hello.store, hello.start, hello.heard = before.welcome.store, before.welcome.start, before.heard
        self.heard = 0  # commits of the store
        self.send(hello=hello)
        self.welcome = self.receive(5)
        if self.welcome is None:
            raise Ended("no WELCOME within 5 s")
        self.welcome = self.welcome.welcome
        self.heard = self.welcome.commits
        self.queues = {queue.name: queue for queue in self.welcome.queues}
        self.beaten = time.monotonic()

    def send(self, run=b"", **body):
        self.sent += 1
        self.socket.send(wire.Frame(number=self.sent, run=run, **body).SerializeToString())

    def receive(self, seconds):
        """The next frame that is not a BEAT, or None after so long."""
        end = time.monotonic() + seconds
        while self.socket.poll(max(0, end - time.monotonic()) * 1000):
            frame = wire.Frame.FromString(self.socket.recv())
            if frame.WhichOneof("body") == "error":
                raise Ended(frame.error.message)
            self.received += 1
            if frame.number != self.received:
                raise Ended(f"frame {frame.number} came where {self.received} was due")
            if frame.WhichOneof("body") != "beat":
                self.heard = max(self.heard, frame.deliver.commits, frame.confirmed.commits, frame.settled.commits,
                                 frame.control_reply.commits)
                return frame
        return None

    def keep_alive(self, token):
        """Vouches for this process; call it several times within the session timeout."""
        if time.monotonic() - self.beaten > self.welcome.session_timeout_us / 1e6 / 4:
            self.beaten = time.monotonic()
            self.send(keep_alive=wire.KeepAlive(process_token=token, shards=[wire.ShardState(shard=0)]))

    def close(self):
        self.send(goodbye=wire.Goodbye())
        self.socket.close()
