"""A limit of memory that the kernel keeps (a cgroup, v1 or v2), or, where none can be made, somebody who plays it."""

import os
import pathlib
import signal
import threading
import time

from kit import children, rss_anon_mib


class MemoryLimit:
    """`prefix` starts a program under the limit; `kind` says who keeps it."""

    def __init__(self, mebibytes):
        self.mebibytes, self.folder, self.ending = mebibytes, None, False
        name = f"weir-test-{os.getpid()}"
        for kind, root, limit in (("memory cgroup v1", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                                  ("memory cgroup v2", "/sys/fs/cgroup", "memory.max")):
            folder = pathlib.Path(root, name)
            try:
                folder.mkdir()
            except OSError:
                continue
            try:
                (folder / limit).write_text(str(mebibytes << 20))
            except OSError:  # a v2 without the memory controller, or not ours to steer
                folder.rmdir()
                continue
            self.kind, self.folder = kind, folder
            self.prefix = ["/bin/sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]
            return
        self.kind, self.prefix = "a stand-in that kills what allocates (no memory cgroup can be made here)", []

    def __enter__(self):
        return self

    def watch(self, parent):
        """The stand-in's work: kills the worker's child once it has grown beyond the limit."""
        if self.folder is None:
            threading.Thread(target=self.kill_the_large, args=(parent,), daemon=True).start()

    def kill_the_large(self, parent):
        while parent.poll() is None and not self.ending:
            for child in children(parent.pid):
                try:
                    if rss_anon_mib(child) > self.mebibytes:
                        os.kill(child, signal.SIGKILL)
                except (OSError, AssertionError):
                    pass
            time.sleep(0.005)

    def __exit__(self, *_):
        self.ending = True
        for _ in range(100):  # until its last process is reaped
            try:
                if self.folder:
                    self.folder.rmdir()
                return
            except OSError:
                time.sleep(0.05)
