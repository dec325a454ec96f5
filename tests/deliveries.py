"""Webhook deliveries, as (event, body) pairs: GitHub's own where they can be had, made ones elsewhere."""

import json
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared/data/github-webhooks.jsonl"
PACKAGE = "@octokit/webhooks-examples@7.6.1"
COUNT = 329
WHERE_FROM = f"neither ../shared/data nor npm (its package {PACKAGE}) is there"


def real():
    """The 329 of GitHub's examples: from the folder beside the checkout, else from npm; None if neither can be had."""
    if BESIDE.exists():
        lines = map(json.loads, BESIDE.read_text().splitlines())
        found = [(line["event"], line["payload"]) for line in lines]
    else:
        found = from_npm()
    assert not found or len(found) == COUNT, f"{len(found)} deliveries instead of {COUNT}"
    return found and [(event, json.dumps(payload, ensure_ascii=False).encode()) for event, payload in found]


def from_npm():
    if not shutil.which("npm"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, timeout=120,
                                check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode != 0 or not archives:
            return None
        shutil.unpack_archive(archives[0], folder)
        found = []
        for file in sorted(Path(folder, "package/api.github.com").glob("**/*.json")):
            held = json.loads(file.read_text())
            if isinstance(held, list):  # index.json: [{name, examples}]
                found += [(event["name"], example) for event in held for example in event["examples"]]
            elif file.name != "index.json":
                found.append((file.parent.name, held))
        return found or None


def made(seed):
    """As many of any bytes."""
    draw = random.Random(seed)
    return [("made", draw.randbytes(draw.choice([0, 1, 300, 5000, 70000]))) for _ in range(COUNT)]
