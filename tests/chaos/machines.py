"""What a machine has that may be hurt: its disk, its wall clock, its links; and a second machine at the end of a cable."""

import fcntl
import mmap
import os
import socket
import struct
import subprocess

from kit import BUILD, wait_for


class Shim:
    """The control block of shim.cpp."""

    NONE, TOLD, UNTOLD = range(3)  # what a failed sync loses, and whether it says so

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(48))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 48)

    def set(self, wall_offset_us=0, sync_errno=0, write_errno=0):
        self.map[:16] = struct.pack("<qii", wall_offset_us, sync_errno, write_errno)

    def lose_at_sync(self, loss):
        """To be told before the first write that may be lost."""
        self.map[32:40] = struct.pack("<q", loss)

    def free_at_most(self, free):
        """What the disk says that it has; None: the truth."""
        self.map[40:48] = struct.pack("<q", free or 0)

    def failed(self):
        return struct.unpack_from("<q", self.map, 16)[0]

    def synced_after(self):
        return struct.unpack_from("<q", self.map, 24)[0]

    def environment(self, disk=None):
        """Of a process that goes by this clock, and by this disk (a folder on a device of its own) if one is named."""
        device = {"CHAOS_SHIM_DEVICE": str(disk.stat().st_dev)} if disk else {}
        return {**os.environ, **device, "LD_PRELOAD": str(BUILD / "bin" / "libchaos_shim.so"), "CHAOS_SHIM": str(self.path)}


class FarMachine:
    """A network namespace at the other end of a cable. `prefix` starts a program there; needs one of our own, and iproute2."""

    NEAR, FAR = "10.77.0.1", "10.77.0.2"

    def __init__(self):
        # It is there for as long as somebody runs in it; cat ends with this process.
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        here = os.readlink("/proc/self/ns/net")
        network = f"/proc/{self.holder.pid}/ns/net"
        wait_for("a network of its own", lambda: os.readlink(network) != here)
        self.prefix = ["nsenter", f"--net={network}"]
        self.ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self.holder.pid))
        for prefix, name, address in ((), "near", self.NEAR), (self.prefix, "far", self.FAR):
            self.ip("address", "add", address + "/24", "dev", name, prefix=prefix)
            self.ip("link", "set", name, "up", prefix=prefix)

    def ip(self, *what, prefix=()):
        subprocess.run([*prefix, "ip", *what], check=True)

    def plug(self, into_it):
        """A cable that is pulled out loses what is sent, without a word to either end."""
        self.ip("link", "set", "near", "up" if into_it else "down")

    def close(self):
        self.holder.kill()
        self.holder.wait()


def set_loopback(up):
    """Of this network namespace, which is the test's own. SIOCGIFFLAGS, SIOCSIFFLAGS; IFF_UP is 1 (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(any_socket, 0x8913, request)
        flags = struct.unpack_from("h", request, 16)[0]
        struct.pack_into("h", request, 16, flags | 1 if up else flags & ~1)
        fcntl.ioctl(any_socket, 0x8914, request)
