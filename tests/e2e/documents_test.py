#!/usr/bin/python3
"""The documents example over the real broker: every file is in the index, or a dead letter that says why."""

import gzip
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from deployment import BUILD, ROOT, Deployment, main, wait_until

PLUGIN = ROOT / "workers/plugins/documents"


def a_folder(parent):
    """Files of every kind: some hundreds that can be read, and what each other one will be dead for."""
    folder = Path(parent, "docs")
    folder.mkdir()
    good = {f"plain {i}.txt": f"document {i}\nfree software number{i}\n".encode() for i in range(300)}
    good |= {f"packed{i}.gz": gzip.compress(f"free as in weir, packed{i}".encode()) for i in range(100)}
    good |= {"empty": b"", "latin1": b"caf\xe9 free", "utf8 \u00fc": "frei f\u00fcr".encode(),
             'odd "name"\\\n\t': b"free all the same"}
    bad = {"image.png": b"\x89PNG\r\n\x1a\n\0\0", "archive.gz": gzip.compress(b"\0" * 100),
           "damaged.gz": gzip.compress(b"free" * 1000)[:30], "bell": b"\a\a\a", "none": b"\x81\x8d",
           "bomb.gz": gzip.compress(b"a" * 9_000_000), "large": b"a" * 9_000_000}
    for name, data in (good | bad).items():
        Path(folder, name).write_bytes(data)
    Path(folder, "more").mkdir()
    Path(folder, "more", "link").symlink_to(folder / "empty")  # no file of its own
    why = Counter({"not text: it has NUL bytes": 2, "not text: it has control bytes": 1, "damaged gzip": 1,
                   "not text: neither UTF-8 nor Latin-1": 1, "too large: over 8 MiB": 2})
    return folder, len(good), why


def search(index, *words):
    result = subprocess.run([BUILD / "bin/documents-search", index, *words], capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout


def test_every_file_is_indexed_or_dead_with_a_reason():
    with tempfile.TemporaryDirectory() as parent:
        folder, good, why = a_folder(parent)
        with Deployment(PLUGIN / "documents.yaml", DOCUMENTS_PORT="{port}", DOCUMENTS_DATA="{folder}/data",
                        DOCUMENTS_INDEX="{folder}/index.db") as weir:
            lines = subprocess.run([PLUGIN / "list", folder], capture_output=True, check=True).stdout
            weir.answer("publish", "documents", "--type", "documents.Document", input=lines)
            weir.settled("documents", "index")
            queue, dead = weir.queue("documents"), weir.dead("documents")
            index = weir.folder / "index.db"
            assert search(index, "--count").strip() == str(good), search(index, "--count")
            assert search(index, "number7").startswith(f"1 of {good} documents"), search(index, "number7")
            assert "odd" in search(index, "all the same")
            # What is handled again changes nothing.
            weir.answer("publish", "documents", "--type", "documents.Document", input=lines)
            weir.settled("documents", "index")
            assert search(index, "--count").strip() == str(good), search(index, "--count")
    assert Counter(letter["last_error"] for letter in dead) == why, Counter(letter["last_error"] for letter in dead)
    assert queue["published"] == good + len(dead) and queue["acked"] == good, queue


def test_a_file_that_appears_later_is_indexed_by_a_replay():
    with tempfile.TemporaryDirectory() as parent:
        file = Path(parent, "late")
        with Deployment(PLUGIN / "documents.yaml", DOCUMENTS_PORT="{port}", DOCUMENTS_DATA="{folder}/data",
                        DOCUMENTS_INDEX="{folder}/index.db") as weir:
            weir.publish("documents", "documents.Document", [{"path": str(file)}])
            dead = wait_until(lambda: weir.dead("documents"), "the message is dead")
            assert dead[0]["last_error"] == "no such file", dead
            file.write_text("better late than never")
            weir.answer("dead", "replay", "documents", dead[0]["id"])
            weir.settled("documents", "index")
            assert not weir.dead("documents")
            assert search(weir.folder / "index.db", "never").startswith("1 of 1")


def test_the_quickstart_accounts_for_every_file():
    with tempfile.TemporaryDirectory() as parent:
        folder, good, why = a_folder(parent)
        environment = {**os.environ, "WEIR_BUILD": str(BUILD), "QUICKSTART_DATA": str(Path(parent, "data"))}
        result = subprocess.run([ROOT / "deploy/quickstart", folder], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, f"it ended with {result.returncode}: {result.stdout}{result.stderr}"
    said = {name: int(number) for name, number in re.findall(r"^  (\w+) +(\d+)", result.stdout, flags=re.M)}
    dead = sum(why.values())
    assert (said["published"], said["indexed"], said["dead"]) == (good + dead, good, dead), result.stdout
    for reason, times in why.items():
        assert re.search(rf"^ +{times}  {re.escape(reason)}$", result.stdout, flags=re.M), result.stdout


if __name__ == "__main__":
    main(globals())
