"""Real webhook deliveries: (event, body) pairs."""

import json
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = "@octokit/webhooks-examples@7.6.1"


def real_deliveries():
    """From the folder beside the checkout, else from the npm package; None if neither can be had."""
    beside = ROOT.parent / "shared" / "data" / "github-webhooks.jsonl"
    if beside.exists():
        lines = map(json.loads, beside.read_text().splitlines())
        return [(one["event"], json.dumps(one["payload"]).encode()) for one in lines]
    if not shutil.which("npm"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True)
        archives = list(pathlib.Path(folder).glob("*.tgz"))
        if packed.returncode != 0 or not archives:
            return None
        shutil.unpack_archive(archives[0], folder)
        found = []
        for file in sorted(pathlib.Path(folder, "package", "api.github.com").rglob("*.json")):
            content = json.loads(file.read_text())
            if file.name == "index.json":
                for event in content:
                    found += [(event["name"], json.dumps(example).encode()) for example in event["examples"]]
        return found or None
