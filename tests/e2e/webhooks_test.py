#!/usr/bin/python3
"""The webhooks example over the real broker: every delivery arrives byte-identical and signed, or is a dead letter that
says why. Options: --seed N."""

import argparse
import base64
import json
import random
import sys
import threading
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import deliveries
from deployment import ROOT, Deployment, free_port, main
from subscriber import TIMEOUT, Subscriber

SECRET = "a secret of the tests"
ATTEMPTS = 6
SHARDS, IN_FLIGHT = 2, 4  # webhooks.yaml's

options = argparse.ArgumentParser()
options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
SEED = options.parse_known_args()[0].seed


def deliver(all_of_them):
    """Sends them all, and checks what became of each."""
    subscriber = Subscriber(SEED, SECRET)
    refusing = Subscriber(SEED + 1, SECRET, late=True)
    nobody = f"http://127.0.0.1:{free_port()}/hook"  # for ever
    draw = random.Random(SEED)
    urls = [draw.choices([subscriber.url(), refusing.url(), nobody, "https://127.0.0.1/hook"], [90, 6, 2, 2])[0]
            for _ in all_of_them]
    try:
        with Deployment("workers/plugins/webhooks/webhooks.yaml", WEBHOOKS_PORT="{port}", WEBHOOKS_DATA="{folder}/data",
                        WEBHOOKS_SECRET=SECRET, WEBHOOKS_TIMEOUT=f"{TIMEOUT}s", WEBHOOKS_ATTEMPTS=ATTEMPTS,
                        WEBHOOKS_BACKOFF="20ms") as weir:
            opening = threading.Timer(2, refusing.open)
            opening.start()
            weir.publish("webhooks", "webhooks.Delivery", [
                {"url": url, "event": event, "id": str(number), "body": base64.b64encode(body).decode()}
                for number, ((event, body), url) in enumerate(zip(all_of_them, urls))])
            opening.join()
            weir.settled("webhooks", seconds=300)
            queue, dead = weir.queue("webhooks"), weir.dead("webhooks")
    finally:
        subscriber.stop()
        refusing.stop()

    expected = Counter()  # why each that did not arrive is dead
    for number, (delivery, url) in enumerate(zip(all_of_them, urls)):
        number = str(number)
        server = refusing if url == refusing.url() else subscriber
        if number in server.bodies:
            assert server.bodies[number] == delivery, f"seed {SEED}: delivery {number} arrived changed"
        elif url.startswith("https:"):
            expected["bad url: https is not in this version; use http"] += 1
        elif url == nobody:
            expected["no answer: Connection refused"] += 1
        else:
            seen = server.requests[number]
            mood = seen[-1][1] if seen else "none"
            assert len(seen) == ATTEMPTS or server.fate(number) or server is refusing, \
                f"seed {SEED}: delivery {number} is neither delivered nor dead after {seen}"
            expected[{"slow": f"timed out after {TIMEOUT}s", "hang up": "no answer: end of stream",
                      "none": "no answer: Connection refused",
                      "301": "the subscriber answered 301: redirects are not followed"}.get(
                          mood, f"the subscriber answered {mood[:3]}")] += 1
    assert Counter(letter["last_error"] for letter in dead) == expected, \
        f"seed {SEED}: dead are {Counter(letter['last_error'] for letter in dead)}, expected {expected}"
    arrived = len(subscriber.bodies) + len(refusing.bodies)
    assert queue["published"] == len(all_of_them) == arrived + len(dead), \
        f"seed {SEED}: {queue['published']} published, {arrived} arrived, {len(dead)} dead"

    for server in (subscriber, refusing):
        assert not server.wrong, f"seed {SEED}: {server.wrong}"
        assert len(set(server.names.values())) == len(server.names), f"seed {SEED}: two deliveries share a name"
        assert server.most_in_flight <= SHARDS * IN_FLIGHT, f"seed {SEED}: {server.most_in_flight} in flight at once"
        for number, seen in server.requests.items():
            assert sum(mood == "ok" for _, mood in seen) <= 1, f"seed {SEED}: delivery {number} came again after its 200: {seen}"
            for (when, mood), (then, _) in zip(seen, seen[1:]):
                assert not mood.startswith("503") or then - when >= 0.95, \
                    f"seed {SEED}: delivery {number} came {then - when:.2f} s after '{mood}'"
    repeats = Counter(mood for server in (subscriber, refusing) for seen in server.requests.values() for _, mood in seen)
    print(f"seed {SEED}: {arrived} arrived, {len(dead)} dead, {queue['retried']} retried; requests: {dict(repeats)}")


def test_every_github_delivery_arrives_unchanged_and_signed_or_is_dead_with_a_reason():
    deliver(deliveries.real())


def test_every_made_delivery_arrives_unchanged_and_signed_or_is_dead_with_a_reason():
    deliver(deliveries.made(SEED))


if __name__ == "__main__":
    tests = dict(globals())
    if deliveries.real():
        del tests["test_every_made_delivery_arrives_unchanged_and_signed_or_is_dead_with_a_reason"]
    else:
        name = "test_every_github_delivery_arrives_unchanged_and_signed_or_is_dead_with_a_reason"
        print(f"SKIP {name}: {deliveries.WHERE_FROM}")
        del tests[name]
    main(tests)
