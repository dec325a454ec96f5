"""A TCP proxy that hurts what goes through it: cuts, resets, delays, swallows one direction, throttles, goes silent."""

import asyncio
import random
import socket
import struct
import threading

# What may be wrong with all links for a while: slow in two ways, one direction stopped, both stopped; and no new link.
FAULTS = ("delay", "throttle", "deaf", "mute", "silent", "refused")


class Link:
    """One connection through the proxy: two pumps."""

    def __init__(self, proxy, client_reader, client_writer):
        self.proxy, self.client, self.reader = proxy, client_writer, client_reader
        self.server = None
        self.half_open = False  # one side is gone, and the other is not told

    async def run(self):
        if self.proxy.fault == "refused":
            self.client.close()
            return
        try:
            from_server, self.server = await asyncio.open_connection("127.0.0.1", self.proxy.to)
        except OSError:
            self.client.close()
            return
        pumps = [asyncio.create_task(self.pump(self.reader, self.server, "mute")),
                 asyncio.create_task(self.pump(from_server, self.client, "deaf"))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if self.half_open:
            await asyncio.wait(pumps)  # until whoever is left gives it up
        for pump in pumps:
            pump.cancel()
        self.close()

    async def pump(self, reader, writer, one_way):
        """`one_way` is the fault that stops this direction alone. What is held back is sent once it heals, as on TCP."""
        try:
            while data := await reader.read(65536):
                while self.proxy.fault in (one_way, "silent"):
                    await asyncio.sleep(0.01)
                if self.proxy.fault == "delay":
                    await asyncio.sleep(self.proxy.chance.uniform(0, 0.2))
                if self.proxy.fault == "throttle":
                    await asyncio.sleep(len(data) / 200_000)
                if self.half_open:
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass

    def lose(self, side):
        """That side ("client" or "server") is gone without a word to the other."""
        writer = self.client if side == "client" else self.server
        if writer is not None:
            self.half_open = True
            writer.transport.abort()

    def close(self, reset=False):
        for writer in (self.client, self.server):
            if writer is None or writer.is_closing():
                continue
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                           struct.pack("ii", 1, 0))
            writer.transport.abort() if reset else writer.close()


class Proxy:
    """Listens on a free port of `host` on a thread of its own, for as long as the process lives.

    `fault` is one of FAULTS or None, for all its links at once.
    """

    def __init__(self, to, seed=None, host="127.0.0.1"):
        self.host = host
        self.to, self.chance, self.fault = to, random.Random(seed), None
        self.links = set()
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(ready)), daemon=True).start()
        ready.wait()

    async def serve(self, ready):
        self.loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self.connected, self.host, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def connected(self, reader, writer):
        link = Link(self, reader, writer)
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)

    def cut(self, reset=False):
        """One connection at random; False if there is none."""
        return asyncio.run_coroutine_threadsafe(self.cut_one(reset), self.loop).result()

    async def cut_one(self, reset):
        if not self.links:
            return False
        self.chance.choice(sorted(self.links, key=id)).close(reset)
        return True

    def lose(self, side):
        """One connection at random becomes half-open; False if there is none."""
        return asyncio.run_coroutine_threadsafe(self.lose_one(side), self.loop).result()

    async def lose_one(self, side):
        if not self.links:
            return False
        self.chance.choice(sorted(self.links, key=id)).lose(side)
        return True

    def cut_all(self):
        return asyncio.run_coroutine_threadsafe(self.cut_every_one(), self.loop).result()

    async def cut_every_one(self):
        for link in list(self.links):
            link.close()
