#!/usr/bin/python3
"""With `--log json` every line on standard error is JSON, names its message fully, and never holds a payload."""

import json
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from cli_test import DONE, FAILED, PLUGIN, WRONG_USAGE, weir
from deployment import WEIR, free_port, main, wait_until

MARK = "the-secret-of-one-payload"
ABOUT_A_MESSAGE = {"queue", "message", "attempt"}


def events_of(text):
    """Every line, read as JSON."""
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            raise AssertionError(f"no JSON: {line!r}") from None
        assert isinstance(event, dict) and {"time", "level", "event"} <= event.keys(), f"no event: {line!r}"
        if event.keys() & {"message", "attempt"}:
            assert ABOUT_A_MESSAGE <= event.keys(), f"it lacks {ABOUT_A_MESSAGE - event.keys()}: {line}"
            assert event["message"].startswith(event["queue"] + "/") and int(event["attempt"]) >= 1, line
        events.append(event)
    return events


class Logged:
    """Broker, worker and publisher as processes of their own, each with a log of its own, all at level debug."""

    def __init__(self, plugin=PLUGIN):
        self.folder = Path(tempfile.mkdtemp(prefix="weir-e2e-"))
        self.file = self.folder / "weir.yaml"
        self.engine = f"weir://127.0.0.1:{free_port()}"
        self.processes = {}
        self.file.write_text(f"engine: {self.engine}\nbroker: {{ data: ./data }}\n"
                             "queues: { orders: { attempts: 2, backoff: { first: 10ms, most: 10ms } }, notes: }\n"
                             f"workers:\n  trial: {{ plugin: {plugin}, queues: [orders, notes], timeout: 1s,\n"
                             "    with: { ledger: ledger } }\n")

    def __enter__(self):
        self.start("broker", self.file)
        wait_until(lambda: weir("queues", "--engine", self.engine).returncode == DONE, "the broker answers")
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command, *words):
        log = open(self.folder / f"{command}.log", "ab")
        self.processes[command] = subprocess.Popen([WEIR, "--log", "json", "--log-level", "debug", command, *words],
                                                   stderr=log, stdout=log, cwd=self.folder)

    def publish(self, *words, stdin=""):
        with open(self.folder / "publish.log", "a") as log:
            done = subprocess.run([WEIR, "--log", "json", "--log-level", "debug", "publish", *words, "--engine", self.engine],
                                  input=stdin, text=True, stdout=subprocess.DEVNULL, stderr=log, cwd=self.folder)
        assert done.returncode == DONE, f"publish {words}: {(self.folder / 'publish.log').read_text()}"

    def settled(self):
        for name in ("orders", "notes"):
            wait_until(lambda: sum(self.queue(name)[key] for key in ("ready", "delayed", "leased")) == 0, f"{name} is handled")

    def queue(self, name):
        queues = json.loads(weir("queues", "--json", "--engine", self.engine).stdout)
        return next(queue for queue in queues if queue["name"] == name)

    def stop(self):
        """Every log, by its process's name."""
        for name in ("worker", "broker"):
            if name in self.processes:
                self.processes[name].send_signal(signal.SIGTERM)
                assert self.processes[name].wait(20) == DONE, f"weir {name} ended with {self.processes[name].returncode}"
        return {log.stem: log.read_text() for log in self.folder.glob("*.log")}


def a_message_that_ends(what, event, error, **more):
    with Logged() as logged:
        logged.start("worker", logged.file, "trial")
        order = json.dumps({"id": MARK, "what": what, **more})
        logged.publish("orders", "--type", "trial.Order", "--plugin", str(PLUGIN), stdin=order + "\n")
        logged.settled()
        logs = logged.stop()
    for name, text in logs.items():
        assert MARK not in text, f"{name} logs a payload: {text}"
    events = {name: events_of(text) for name, text in logs.items()}
    told = [each for each in events["worker"] if each["event"] == event]
    assert told and error in told[0]["error"], events["worker"]
    assert ABOUT_A_MESSAGE <= told[0].keys() and told[0]["queue"] == "orders" and told[0]["attempt"] == 1, told
    assert events["broker"], logs


def test_a_failing_handler_is_logged_with_its_message_and_without_its_payload():
    a_message_that_ends("fail", "handler_failed", "asked to fail")


def test_a_rejecting_handler_is_logged_with_its_message_and_without_its_payload():
    a_message_that_ends("reject", "rejected", "asked to reject")


def test_a_handler_that_takes_too_long_is_logged_with_its_message_and_without_its_payload():
    a_message_that_ends("sleep", "handler_failed", "timed out", milliseconds=60_000)


def test_a_handler_that_ends_its_process_is_logged_with_its_message_and_without_its_payload():
    with Logged() as logged:
        logged.start("worker", logged.file, "trial")
        logged.publish("orders", "--type", "trial.Order", "--plugin", str(PLUGIN),
                       stdin=json.dumps({"id": MARK, "what": "crash"}) + "\n")
        assert logged.processes["worker"].wait(30) != DONE
        del logged.processes["worker"]
        logs = logged.stop()
    for name, text in logs.items():
        assert MARK not in text, f"{name} logs a payload: {text}"
        events_of(text)
    [told] = [each for each in events_of(logs["worker"]) if each["event"] == "handler_ended_its_process"]
    assert ABOUT_A_MESSAGE <= told.keys() and told["queue"] == "orders" and told["attempt"] == 1, told


def test_no_log_has_a_payload():
    """By --data and by --type, of messages that are handled, fail, are rejected, and that nobody can parse or knows."""
    with Logged() as logged:
        logged.start("worker", logged.file, "trial")
        logged.publish("notes", "--data", MARK)
        logged.publish("notes", stdin=f"{MARK}\n" * 3)
        other = logged.folder / "other.proto"
        other.write_text('syntax = "proto3"; package trial; message Order { bytes id = 1; }')
        logged.publish("orders", "--type", "trial.Order", "--proto", str(other), stdin='{"id": "/w=="}\n')
        logged.publish("orders", "--type", "trial.Order", "--plugin", str(PLUGIN), stdin="".join(
            json.dumps({"id": MARK, "what": what}) + "\n" for what in ("", "fail", "reject")))
        logged.settled()
        logged.publish("orders", "--data", MARK)  # of a type that no handler takes: it waits for one that does
        assert logged.queue("orders")["ready"] == 1
        assert (logged.folder / "ledger").read_text().count(MARK) >= 4, "the worker saw no payload"
        logs = logged.stop()
    assert {"broker", "worker", "publish"} <= logs.keys(), logs.keys()
    for name, text in logs.items():
        assert MARK not in text, f"{name} logs a payload: {text}"
        events_of(text)


def json_alone(result, code, *words):
    """It failed as it should, said so, and in JSON lines only."""
    assert result.returncode == code, f"{result.args} ended with {result.returncode}: {result.stderr}"
    events = events_of(result.stderr)
    assert any(event["level"] == "error" for event in events), result.stderr
    for word in words:
        assert word in result.stderr, f"{result.args} did not say {word!r}: {result.stderr}"


def test_a_port_in_use_is_json_alone():
    with socket.socket() as taken, tempfile.TemporaryDirectory() as folder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = Path(folder) / "weir.yaml"
        file.write_text(f"engine: weir://127.0.0.1:{taken.getsockname()[1]}\nqueues: {{orders: }}\n")
        for command in ("broker", "up"):
            json_alone(weir("--log", "json", command, str(file)), FAILED, "the port is in use")


def test_a_plugin_that_is_missing_is_json_alone():
    with Logged(plugin="./none.so") as logged:
        for words in (("worker", str(logged.file), "trial"), ("up", str(logged.file))):
            result = weir("--log", "json", *words)
            assert result.returncode in (FAILED, WRONG_USAGE), result
            json_alone(result, result.returncode, "none.so", "No such file or directory")


def test_a_plugin_without_a_handler_for_its_queue_is_json_alone():
    """What only the worker's child finds out, three processes deep."""
    with Logged() as logged:
        text = logged.file.read_text().replace("notes: }", "notes: , emails: }").replace("[orders, notes]", "[emails]")
        logged.file.write_text(text)
        result = weir("--log", "json", "worker", str(logged.file), "trial")
        assert result.returncode in (FAILED, WRONG_USAGE), result
        json_alone(result, result.returncode, "queue 'emails' has no handler")


if __name__ == "__main__":
    main(globals())
