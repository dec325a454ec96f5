#!/usr/bin/python3
"""Bad input to the real program: the words that a person reads, and whoever is beside it goes on.

tests/README.md has the whole list, with the tests of each part; here stands what only the program as a whole can show.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import zmq
from cli_test import DONE, FAILED, PLUGIN, WRONG_USAGE, Trial, expect, weir
from deployment import WEIR, Skipped, free_port, main, wait_until

MOST_BYTES = 16 * 1024 * 1024 + 1024 * 1024  # of a frame: broker.message_most and its head


def goes_on(trial, name):
    """Whatever was said to this broker before: it takes, delivers and settles."""
    trial.orders({"id": name})
    wait_until(lambda: f"{name} done" in trial.ledger(), f"a message is handled after {name}", 15)


class Stranger:
    """A socket that says what no client of Weir's would."""

    def __init__(self, trial):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.socket.connect(trial.engine.replace("weir://", "tcp://"))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.disable_monitor()
        self.socket.close()

    def hears(self, *words):
        assert self.socket.poll(10000), f"no answer within 10 s; expected {words}"
        answer = self.socket.recv()
        for word in words:
            assert word in answer, f"the answer lacks {word}: {answer}"

    def is_cut_off(self):
        assert self.monitor.poll(10000), "the connection was not closed within 10 s"


def test_bad_frames_are_answered_in_words_and_the_worker_beside_them_goes_on():
    cut = bytes.fromhex("0801" "5220" "0d57")  # a number, and the start of a field of 32 bytes
    with Trial() as trial:
        goes_on(trial, "start")
        for what, frame, words in (
                ("noise", [b"\xff\xff garbage"], [b"is not a weir.v1.Frame"]),
                ("truncated", [cut], [b"is not a weir.v1.Frame"]),
                ("empty", [b""], [b"a frame before HELLO; say HELLO first"]),
                ("parts", [b"one", b"two"], [b"a message of 2 frames; it must be exactly one"])):
            with Stranger(trial) as stranger:
                stranger.socket.send_multipart(frame)
                stranger.hears(*words)
            goes_on(trial, what)
        log = trial.log.read_text()
        assert "session_refused" in log and "is not a weir.v1.Frame" in log, log


def test_a_frame_over_the_limit_closes_its_connection_alone():
    with Trial() as trial, Stranger(trial) as stranger:
        stranger.socket.send(b"x" * (MOST_BYTES + 1))
        stranger.is_cut_off()
        goes_on(trial, "oversized")


def test_bytes_that_are_not_even_zeromq_harm_nobody():
    with Trial() as trial:
        for noise in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", os.urandom(4096), b""):
            with socket.create_connection(("127.0.0.1", trial.port), 5) as peer:
                peer.sendall(noise)
        goes_on(trial, "noise")


def test_a_payload_that_does_not_parse_is_a_dead_letter_that_says_so():
    with Trial() as trial:
        other = trial.folder / "other.proto"
        other.write_text('syntax = "proto3"; package trial; message Order { bytes id = 1; }')
        result = weir("publish", "orders", "--engine", trial.engine, "--type", "trial.Order", "--proto", str(other),
                      stdin='{"id": "/w=="}\n')
        expect(result, DONE, "published 1 in")
        wait_until(lambda: trial.dead("orders"), "it is a dead letter")
        [letter] = trial.dead("orders")
        assert letter["last_error"] == "payload of 3 bytes is no trial.Order" and letter["attempts"] == 1, letter
        goes_on(trial, "afterwards")


class Workers:
    """Groups that are wrong, on the engine of a deployment that is right."""

    def __init__(self, trial):
        self.trial = trial

    def start(self, plugin, queues="[orders, notes]", more=""):
        file = self.trial.folder / "wrong.yaml"
        file.write_text(f"engine: {self.trial.engine}\nbroker: {{ data: ./never }}\nqueues: {{ orders: , notes: , emails: }}\n"
                        f"workers:\n  wrong: {{ plugin: {plugin}, queues: {queues}{more} }}\n")
        return weir("worker", str(file), "wrong")


def changed_plugin(folder, field, value):
    """The trial's plugin as if built with something else: `field` is the number's place behind .weir.abi's magic."""
    whole = bytearray(PLUGIN.read_bytes())
    magic = subprocess.run(["readelf", "-x", ".weir.abi", PLUGIN], capture_output=True, text=True, check=True).stdout
    head = bytes.fromhex("".join(magic.split("0x", 1)[1].split()[1:3]))
    assert whole.count(head) >= 1, head
    at = whole.index(head) + 8 + 4 * field
    whole[at:at + 4] = value.to_bytes(4, "little")
    file = folder / "changed.so"
    file.write_bytes(whole)
    return file


def test_a_plugin_that_cannot_be_used_is_refused_with_the_reason():
    with Trial() as trial:
        workers = Workers(trial)
        expect(workers.start("./none.so"), WRONG_USAGE, "cannot open plugin", "none.so: No such file or directory",
               "build it with weir_add_plugin, or correct the group's `plugin`")
        expect(workers.start("./wrong.yaml"), WRONG_USAGE, "wrong.yaml is not an ELF file; build it with weir_add_plugin")
        expect(workers.start("/lib/x86_64-linux-gnu/libc.so.6"), WRONG_USAGE,
               "libc.so.6 is no Weir plugin: it has no WEIR_PLUGIN")
        expect(workers.start(changed_plugin(trial.folder, 1, 99)), WRONG_USAGE,
               "was built with Weir's plugin interface 99, this weir with",
               "build the plugin again with what this weir was built with")
        expect(workers.start(changed_plugin(trial.folder, 3, 99)), WRONG_USAGE, "was built with clang 99, this weir with")
        expect(workers.start(PLUGIN, more=", with: { twice: yes }"), WRONG_USAGE, "worker group 'wrong' with plugin",
               "two handlers for type 'trial.Order' of queue 'orders'; register one")
        expect(workers.start(PLUGIN, "[orders, emails]"), WRONG_USAGE, "queue 'emails' has no handler; the plugin has "
               "handlers for 'notes', which workers.wrong.queues does not list; register one, or take the queue out of "
               "workers.wrong.queues")
        goes_on(trial, "beside")


def test_what_a_plugin_registers_wrongly_is_found_before_anything_runs():
    """By `check --load`, and by `up`; a plugin that dies of it takes nobody along."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        def write(queues, more):
            file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nqueues: {{ orders: , notes: , emails: }}\nworkers:\n"
                            f"  shop:\n    plugin: {PLUGIN}\n    queues: {queues}\n    with: {{ {more} }}\n")
        def found(*words):
            for command in (["check", "--load"], ["up"]):
                expect(weir(*command, str(file)), WRONG_USAGE, *words)
            assert sorted(each.name for each in Path(folder).iterdir()) == ["weir.yaml"], "something ran"
        write("[orders, emails]", "twice: yes, ledgre: here")
        expect(weir("check", str(file)), DONE, "good", "what they register is checked with --load, and by weir up")
        found("weir.yaml:5:13: workers.shop: two handlers for type 'trial.Order' of queue 'orders'; register one",
              "weir.yaml:6:22: workers.shop: queue 'emails' has no handler; the plugin has handlers for 'notes'",
              "weir.yaml:7:11: workers.shop.with has 'ledgre', which the plugin does not ask for")
        write("[orders, notes]", "registration: aborts")
        found("weir.yaml:5:13: workers.shop: while the plugin's handlers were registered, the process ended by signal 6")
        write("[orders, notes]", "registration: throws")
        found("workers.shop: registering its handlers failed: threw int, which is no std::exception")
        write("[orders, notes]", "ledger: here")
        expect(weir("check", "--load", str(file)), DONE, "good")


def test_a_handler_whose_queue_is_not_listed_is_a_warning():
    """No error: the same plugin may serve another group, which lists that queue."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nqueues: {{ orders: , notes: }}\n"
                        f"workers: {{ shop: {{ plugin: {PLUGIN}, queues: [orders] }} }}\n")
        log = Path(folder) / "log"
        up = subprocess.Popen([WEIR, "--log", "json", "up", file], stderr=open(log, "wb"))
        def warnings():
            return [line for line in log.read_text().splitlines() if "handlers_not_used" in line]
        wait_until(warnings, "it is logged", 20)
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == DONE, log.read_text()
        [line] = [json.loads(line) for line in warnings()]
        assert (line["worker"], line["plugin"], line["queue"], line["types"]) == ("shop", str(PLUGIN), "notes", "text"), line
        assert line["why"] == ("workers.shop.queues does not list 'notes'; list it there, unless another group handles it"
                               ), line


def test_a_group_of_a_queue_that_the_broker_lacks_ends_and_names_those_there_are():
    with Trial() as trial:
        expect(Workers(trial).start(PLUGIN, "[orders, notes, emails]"), WRONG_USAGE, "emails")
        expect(weir("publish", "emails", "--data", "x", "--engine", trial.engine), FAILED, "no queue 'emails'")
        goes_on(trial, "beside")


def test_a_broker_that_cannot_start_says_why():
    with socket.socket() as taken, tempfile.TemporaryDirectory() as folder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = Path(folder) / "weir.yaml"
        def start(broker, engine=port):
            file.write_text(f"engine: weir://127.0.0.1:{engine}\nbroker: {{ {broker} }}\nqueues: {{ orders: }}\n")
            return weir("broker", str(file))
        expect(start("data: ./data"), FAILED, f"cannot listen on 127.0.0.1:{port}: the port is in use by another program; "
               "stop that one, or choose another port in `broker.listen`")
        expect(start("listen: 0.0.0.0:7733"), WRONG_USAGE, "weir.yaml:2:", "listening off loopback needs keys (weir keys), "
               "not in this version; use 127.0.0.1")
        expect(start("data: ./weir.yaml", free_port()), FAILED, "data folder ", "name another folder in `broker.data`")
        expect(start("data: /proc/weir", free_port()), FAILED, "data folder /proc/weir cannot be used",
               "name another folder in `broker.data`")
        foreign = Path(folder) / "foreign"
        foreign.mkdir()
        (foreign / "data.mdb").write_bytes(b"not LMDB's" * 2000)
        expect(start("data: ./foreign", free_port()), FAILED, "data.mdb is not a store of Weir, or is damaged")


def test_a_file_that_is_wrong_is_said_with_line_and_column():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        def check(text):
            file.write_bytes(text)
            return weir("up", str(file))
        expect(check(b"queues:\n  orders: { backof: { first: 1s } }\n"), WRONG_USAGE,
               "weir.yaml:2:13: unknown key 'backof' in queues.orders; did you mean 'backoff'?")
        expect(check(b"queues:\n  orders: { backoff: { first: 5 parsecs } }\n"), WRONG_USAGE, "weir.yaml:2:31: "
               "queues.orders.backoff.first is '5 parsecs': expected a duration such as 250ms, 1s, 5m, 1h or 90d")
        expect(check(b"queues:\n  orders: { attempts: -3 }\n"), WRONG_USAGE,
               "weir.yaml:2:23: queues.orders.attempts is '-3': expected a whole number, from 1 to 1000")
        expect(check(b"queues: [orders\n"), WRONG_USAGE, "weir.yaml:2:1: not YAML: end of sequence flow not found")
        expect(check(b"\x7fELF\x00\x01\x02"), WRONG_USAGE, "not YAML: it holds binary data")


class SmallDisk:
    """A file system of 24 MiB of its own, or why there is none."""

    def __init__(self, folder):
        self.folder, self.libc = folder, ctypes.CDLL(None, use_errno=True)

    def mount(self):
        if self.libc.mount(b"tmpfs", os.fsencode(self.folder), b"tmpfs", 0, b"size=24m") == 0:
            return ""
        return f"mount(2): {os.strerror(ctypes.get_errno())}"

    def unmount(self):
        self.libc.umount2(os.fsencode(self.folder), 2)


def test_on_a_full_disk_publishing_waits_failures_still_become_dead_letters_and_it_recovers():
    total, every = 30000, 10
    with tempfile.TemporaryDirectory() as folder:
        disk = SmallDisk(Path(folder) / "disk")
        disk.folder.mkdir()
        lacks = disk.mount()
        if lacks:
            raise Skipped(f"needs root: {lacks}")
        started = []
        try:
            file = Path(folder) / "weir.yaml"
            file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nbroker: {{ data: ./disk/data, reserve: 4MiB }}\n"
                            f"queues: {{ orders: , notes: }}\nworkers:\n  trial: {{ plugin: {PLUGIN}, queues: [orders, notes], "
                            "with: { ledger: /dev/null } }\n")
            log = Path(folder) / "log"
            lines = Path(folder) / "lines"
            lines.write_text("".join(json.dumps({"id": "x" * 900, "what": "" if i % every else "reject"}) + "\n"
                                     for i in range(total)))
            def start(*words, **options):
                started.append(subprocess.Popen([WEIR, *words], stderr=open(log, "ab"), **options))
                return started[-1]
            def queue():
                result = weir("queues", "-f", str(file), "--json")
                return json.loads(result.stdout)[-1] if result.returncode == DONE else None
            broker = start("broker", file)
            wait_until(queue, "the broker answers")
            publish = start("publish", "orders", "-f", file, "--type", "trial.Order", stdin=open(lines, "rb"),
                            stdout=subprocess.PIPE, text=True)
            wait_until(lambda: "store_low_on_room" in log.read_text(), "the broker says that room is low")
            with open(disk.folder / "foreign", "wb", buffering=0) as foreign:  # the rest, to the last byte
                try:
                    while foreign.write(b"f" * 4096):
                        pass
                except OSError:
                    pass
            assert publish.poll() is None, "publishing ended on a full disk"
            assert queue()["name"] == "orders" and queue()["published"] < total, queue()

            worker = start("worker", file, "trial")
            wait_until(lambda: queue()["dead"] > 0, "failures become dead letters on the full disk")
            wait_until(lambda: queue()["acked"] > 1000, "settling goes on on the full disk")
            (disk.folder / "foreign").unlink()

            assert publish.wait(120) == DONE, log.read_text()
            assert publish.stdout.read().startswith("published 30000 in "), "all was published once there was room"
            wait_until(lambda: queue()["acked"] + queue()["dead"] == total, f"all is handled: {queue()}", 120)
            assert queue()["dead"] == total // every, queue()
            assert "store_has_room" in log.read_text()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == DONE
            broker.send_signal(signal.SIGTERM)
            assert broker.wait(30) == DONE, log.read_text()
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            disk.unmount()


if __name__ == "__main__":
    main(globals())
