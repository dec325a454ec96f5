#!/usr/bin/python3
"""A publisher and a worker in Python, written from proto/README.md alone, exchange messages with the real broker."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from deployment import BUILD, ROOT, Deployment, main

CLIENT = Path(__file__).parent / "python_client"
FILE = """
engine: weir://127.0.0.1:${PORT}
broker: { data: "${DATA}" }
queues:
  orders: { attempts: 3, backoff: { first: 10ms, factor: 1, most: 10ms, jitter: 0 } }
  answers:
"""


class Clients:
    """A broker without workers, and what runs a client against it."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weir-python-")
        generated = Path(self.folder.name)
        protoc = ["protoc", f"--proto_path={ROOT}/proto", f"--python_out={generated}"]
        subprocess.run(protoc + [f"weir/v1/{name}.proto" for name in ("message", "control", "wire")], check=True)
        self.environment = {**os.environ, "PYTHONPATH": str(generated)}
        file = generated / "orders.yaml"
        file.write_text(FILE)
        self.weir = Deployment(file, PORT="{port}", DATA="{folder}/data").__enter__()
        return self

    def __exit__(self, *error):
        self.weir.__exit__(*error)
        self.folder.cleanup()

    def run(self, client, *arguments, lines=""):
        result = subprocess.run([sys.executable, CLIENT / f"{client}.py", self.weir.engine, *arguments], input=lines,
                                env=self.environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, f"{client}.py ended with {result.returncode}: {result.stderr}"
        self.said = result.stderr.splitlines()
        return result.stdout.splitlines()


def test_what_a_python_publisher_publishes_a_python_worker_handles():
    lines = [f"order {i}" for i in range(3000)]
    with Clients() as clients:
        assert clients.run("publisher", "orders", "test.Order", lines="\n".join(lines)) == ["3000 confirmed"]
        handled = clients.run("worker", "orders", "test.Order")
        queue = clients.weir.queue("orders")
    assert handled == lines, f"{len(handled)} of 3000 were handled, or out of order"
    assert (queue["published"], queue["acked"], queue["ready"], queue["leased"]) == (3000, 3000, 0, 0), queue


def test_each_outcome_ends_as_it_should():
    with Clients() as clients:
        clients.run("publisher", "orders", "test.Order", lines="fine\nbad one\nagain please")
        handled = clients.run("worker", "orders", "test.Order")
        queue, dead = clients.weir.queue("orders"), clients.weir.dead("orders")
    assert sorted(handled) == ["again please", "fine"], handled
    assert (queue["acked"], queue["retried"], queue["dead"]) == (2, 1, 1), queue
    assert [letter["last_error"] for letter in dead] == ["it is bad"], dead


def test_a_message_has_the_same_name_at_every_attempt_and_so_have_outputs_of_their_own():
    with Clients() as clients:
        clients.run("publisher", "orders", "test.Order", lines="fine\nagain please\nbad one")
        clients.run("worker", "orders", "test.Order", "answers")
        named = dict(line.split(" ", 1) for line in clients.said)
        dead = clients.weir.dead("orders")
        clients.run("worker", "answers", "test.Answer")
        answers = [line.split(" ", 1)[0] for line in clients.said]
    assert sorted(named.values()) == ["again please", "bad one", "fine"], clients.said
    publishers = {name.split(".")[0] for name in named}
    assert len(publishers) == 1 and sorted(int(name.split(".")[1]) for name in named) == [1, 2, 3], named
    assert [named[letter["name"]] for letter in dead] == ["bad one"], dead
    assert len(set(answers)) == 2 and not set(answers) & set(named), answers


def test_outputs_leave_with_their_ack():
    with Clients() as clients:
        clients.run("publisher", "orders", "test.Order", lines="a\nb")
        clients.run("worker", "orders", "test.Order", "answers")
        answers = clients.run("worker", "answers", "test.Answer")
    assert answers == ["done a", "done b"], answers


def test_what_weir_publishes_a_python_worker_handles():
    with Clients() as clients:
        clients.weir.answer("publish", "orders", "--data", "hello")
        queue = clients.weir.queue("orders")
        assert queue["ready"] == 1, queue
        handled = clients.run("worker", "orders", "text")
    assert handled == ["hello"], handled


if __name__ == "__main__":
    main(globals())
