#!/usr/bin/python3
"""The documents example by hand: what its README and the quickstart say to type works, from the project's root.

Nothing is set but a free port. The root is a copy with the same folders, so that no data of a real one is touched.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from deployment import BUILD, ROOT, free_port, main, wait_until

EXAMPLE = Path("workers/plugins/documents")
COPIED = (EXAMPLE / "documents.yaml", EXAMPLE / "list", Path("deploy/local.yaml"))


class Root:
    """A project's root with a build, and a shell in it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="weir-e2e-"))
        for file in COPIED:
            (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, self.folder / file)
        (self.folder / "build").symlink_to(BUILD)
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items()
                if name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LLVM_PROFILE_FILE") or name.endswith("SAN_OPTIONS")}
        self.environment = {**kept, "DOCUMENTS_PORT": str(self.port), "WEIR_PORT": str(self.port)}
        self.log = self.folder / "up.log"
        self.process = None

    def __enter__(self):
        self.documents = self.folder / "documents"
        self.documents.mkdir()
        for i in range(20):
            (self.documents / f"{i}.txt").write_text(f"free software, number{i}\n")
        (self.documents / "picture").write_bytes(b"\0\1\2")
        return self

    def __exit__(self, kind, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind:
            print(f"the end of {self.log}:", *self.log.read_text(errors="replace").splitlines()[-20:], sep="\n  ")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, line):
        """As typed, and left running."""
        self.process = subprocess.Popen("exec " + line, shell=True, cwd=self.folder, env=self.environment,
                                        stdout=open(self.log, "wb"), stderr=subprocess.STDOUT)
        wait_until(lambda: self.queues() or self.process.poll() is not None, "the broker answers", 20)
        assert self.process.poll() is None, f"{line}: it ended with {self.process.returncode}"

    def type(self, lines):
        """As typed, with the free port for the usual one; what it printed."""
        done = subprocess.run(lines.replace(":7733", f":{self.port}"), shell=True, cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{lines}: it ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def queues(self):
        done = subprocess.run([self.folder / "build/bin/weir", "queues", "--json", "--engine", f"weir://127.0.0.1:{self.port}"],
                              capture_output=True, text=True, env=self.environment, cwd=self.folder)
        return done.returncode == 0 and {queue["name"]: queue for queue in json.loads(done.stdout)}

    def indexes(self):
        """All documents are in the index or dead, and the workers are well."""
        def all_done():
            assert self.process.poll() is None, f"weir up ended with {self.process.returncode}"
            assert "process_died" not in self.log.read_text(), self.log.read_text()
            queues = self.queues()
            return queues["index"]["acked"] == 20 and queues["documents"]["dead"] == 1
        wait_until(all_done, "20 documents are indexed and 1 is dead", 30)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, f"weir up ended with {self.process.returncode}"


def readme_lines():
    """Of the example's README: what is started, what is typed then, and the search."""
    block = re.search(r"By hand.*?```\n(.*?)```", (ROOT / EXAMPLE / "README.md").read_text(), re.DOTALL)[1]
    up, publish, search = re.sub(r"\|\n", "| ", block).strip().splitlines()
    assert " up " in up and "publish" in publish and "documents-search" in search, block
    return up, publish, search


def what_to_try_next():
    """The quickstart's last words: what a line is about -> the line to type."""
    script = (ROOT / "deploy/quickstart").read_text()
    words = re.search(r"What to try next:\n(.*?)^END$", script, re.DOTALL | re.MULTILINE)[1]
    deployment = re.search(r"^deployment=(.*)$", script, re.MULTILINE)[1]
    for name, value in (("$here", "build"), ("$deployment", deployment), ("\\$", "$")):
        words = words.replace(name, value)
    lines = [re.split(r"   +", line.strip())[0] for line in re.sub(r"\|\n +", "| ", words).splitlines()]
    known = ("documents-search", "less", " up ", " publish ", " queues ", "./tests/run")
    assert len(lines) == len(known), lines
    return {what.strip(): next(line for line in lines if what in line + " ") for what in known}


def test_the_readme_of_documents_works_as_typed():
    up, publish, search = readme_lines()
    with Root() as root:
        root.start(up)
        said = root.type(publish.replace("/usr/share/doc", str(root.documents)))
        assert said.startswith("published 21 in "), said
        root.indexes()
        said = root.type(search)
        assert said.startswith("20 of 20 documents"), said
        root.stop()


def test_what_the_quickstart_says_to_try_next_works_as_typed():
    lines = what_to_try_next()
    with Root() as root:
        root.start(lines["up"])
        root.environment["HOME"] = str(root.documents)
        assert root.type(lines["publish"]).startswith("published 21 in ")
        root.indexes()
        assert "documents" in root.type(lines["queues"])
        root.stop()
    for tool in ("less", "./tests/run"):
        assert (ROOT / lines[tool].split()[-1]).exists(), lines[tool]


def test_the_local_deployment_works_as_typed():
    up, publish, search = readme_lines()
    with Root() as root:
        root.start(up.replace(str(EXAMPLE / "documents.yaml"), "deploy/local.yaml"))
        root.type(publish.replace("/usr/share/doc", str(root.documents)).replace(str(EXAMPLE / "documents.yaml"),
                                                                                 "deploy/local.yaml"))
        root.indexes()
        assert root.type(search).startswith("20 of 20 documents")
        root.stop()
        assert {each.name for each in root.folder.iterdir()} == {"build", "deploy", "workers", "documents", "up.log",
                                                                 "weir-data"}, list(root.folder.iterdir())


if __name__ == "__main__":
    main(globals())
