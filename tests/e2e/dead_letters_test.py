#!/usr/bin/python3
"""A queue with as many dead letters as it may have: the oldest go, or publishes are refused."""

import json
import re

from deployment import Deployment, main, wait_until

REFUSED = b"queue 'orders' has 2 dead letters, which is its most; look at them (weir dead list orders), then replay or purge"


def full(on_full):
    return Deployment("tests/e2e/dead_letters.yaml", TRIAL_PORT="{port}", TRIAL_FOLDER="{folder}", TRIAL_ON_FULL=on_full)


def reject(weir, *ids):
    weir.publish("orders", "trial.Order", [{"id": each, "what": "reject"} for each in ids])
    weir.settled("orders")


def wait_for_dead(weir, *names):
    """Waits until these orders are the dead letters, in the order of their places."""
    def is_so():
        shown = [weir.ask("dead", "show", "orders", each["id"], "--payload").stdout for each in weir.dead("orders")]
        # One that is shown as nothing was trimmed since it was listed.
        return [re.findall(r"order-\d", each.decode())[:1] for each in shown] == [[name] for name in names]
    wait_until(is_so, f"the dead letters are {', '.join(names)}")


def test_the_oldest_go_if_there_are_too_many():
    with full("oldest") as weir:
        reject(weir, *[f"order-{i}" for i in range(5)])
        wait_for_dead(weir, "order-3", "order-4")
        log = re.findall(r"dead_letters_trimmed.* queue=orders messages=(\d+)", weir.log.read_text())
        assert sum(map(int, log)) == 3, weir.log.read_text()

        reject(weir, "order-5")
        wait_for_dead(weir, "order-4", "order-5")


def test_publishes_are_refused_if_there_are_too_many_and_failures_are_kept():
    with full("refuse") as weir:
        def publish(number):
            return weir.ask("publish", "orders", "--type", "trial.Order", "--data", json.dumps({"id": f"order-{number}"}))

        def refused(number):
            said = publish(number)
            return said.returncode == 1 and REFUSED.replace(b"2 dead", b"%d dead" % weir.queue("orders")["dead"]) in said.stderr

        reject(weir, *[f"order-{i}" for i in range(3)])
        wait_for_dead(weir, "order-0", "order-1", "order-2")  # one more, and none is dropped
        assert refused(3), publish(3)
        oldest, middle, _ = [each["id"] for each in weir.dead("orders")]
        weir.answer("dead", "purge", "orders", oldest, "--yes")
        assert refused(4), publish(4)

        weir.answer("dead", "purge", "orders", middle, "--yes")
        assert publish(5).returncode == 0, publish(5)

        weir.settled("orders")
        wait_for_dead(weir, "order-2")
        ledger = (weir.folder / "ledger").read_text().splitlines()
        assert [line for line in ledger if line.endswith("done")] == ["order-5 done"], ledger  # what was refused never ran


if __name__ == "__main__":
    main(globals())
