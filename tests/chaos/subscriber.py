"""A subscriber's HTTP server that is slow, fails and refuses at a seeded random, and writes down what it got."""

import asyncio
import hashlib
import hmac
import math
import random
import threading
import time


class Subscriber:
    """Listens on a free port of 127.0.0.1 on a thread of its own. What it answers is decided by (seed, id, attempt)."""

    def __init__(self, secret, bodies, seed, timeout):
        self.secret, self.bodies, self.seed, self.timeout = secret, bodies, seed, timeout
        self.lock = threading.Lock()
        self.posts = {}      # id -> number of POSTs
        self.named = {}      # id -> the names (X-Weir-Delivery) that its POSTs bore
        self.ok = {}         # id -> [(time, attempt)] of each 2xx that was sent to a client that was still there
        self.refused = {}    # id -> how it was refused for good (4xx)
        self.wrong = []      # what should never be: other bytes, no valid signature
        self.late = set()    # ids that came by a connection from before the last forget()
        self.generation = 0  # of connections
        self.in_flight = 0
        self.last = {}       # id -> time of the end of its last request; infinite while one is being answered
        self.ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.ready.wait()

    async def serve(self):
        self.loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    def forget(self):
        """Whoever has connected so far is dead; what still comes from there, out of buffers, is told by `late`."""
        asyncio.run_coroutine_threadsafe(self.next_generation(), self.loop).result()

    async def next_generation(self):
        for _ in range(10):  # turns of the loop, some of which a connection takes from the listening socket to connection()
            await asyncio.sleep(0)
        self.generation += 1

    def asked_since(self, since):
        """Ids of requests that are being answered, or ended after that time."""
        with self.lock:
            return {name for name, at in self.last.items() if at >= since}

    def was_unheard(self, name):
        """Each 2xx of this name was of another attempt: whoever asked had given up, or lost the connection, and its worker
        had said `retry`. (An attempt that ends by a lost lease is not counted: it comes again under its own number.) That
        is a subscriber, or a machine, that took too long; no duplicate of Weir's. On a stalled machine an early attempt
        may even be answered after a later one."""
        attempts = [attempt for _, attempt in self.ok[name]]
        return len(set(attempts)) == len(attempts)

    async def connection(self, reader, writer):
        generation = self.generation
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                headers = {}
                for line in head.decode("latin-1").split("\r\n")[1:]:
                    name, _, value = line.partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                with self.lock:
                    self.in_flight += 1
                    self.last[headers.get("x-weir-id", "")] = math.inf
                    if generation != self.generation:
                        self.late.add(headers.get("x-weir-id", ""))
                try:
                    if not await self.answer(headers, body, writer):
                        return
                finally:
                    with self.lock:
                        self.in_flight -= 1
                        self.last[headers.get("x-weir-id", "")] = time.monotonic()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, headers, body, writer):
        name = headers.get("x-weir-id", "")
        with self.lock:
            attempt = self.posts[name] = self.posts.get(name, 0) + 1
            self.named.setdefault(name, set()).add(headers.get("x-weir-delivery"))
        self.check(name, headers, body)
        chance = random.Random(f"{self.seed}/{name}/{attempt}")
        what = chance.random()
        for_good = random.Random(f"{self.seed}/{name}").random() < 0.01
        if for_good:
            with self.lock:
                self.refused[name] = "410"
            return await self.send(writer, "410 Gone")
        if what < 0.04:
            return await self.send(writer, "503 Service Unavailable")
        if what < 0.06:
            return await self.send(writer, "429 Too Many Requests", "Retry-After: 1\r\n")
        if what < 0.08:
            return False                        # the connection closes without an answer
        if what < 0.085:
            await asyncio.sleep(self.timeout * 1.5)  # beyond the client's patience: it will try again
            return False
        await asyncio.sleep(chance.uniform(0, 0.05))
        if await self.send(writer, "200 OK"):
            with self.lock:
                self.ok.setdefault(name, []).append((time.monotonic(), int(headers.get("x-weir-attempt", "0"))))
            return True
        return False

    def check(self, name, headers, body):
        expected = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        if headers.get("x-weir-signature-256") != "sha256=" + expected:
            self.wrong.append(f"{name}: wrong signature")
        if body != self.bodies.get(name):
            self.wrong.append(f"{name}: other bytes than were published")

    async def send(self, writer, status, extra=""):
        if writer.is_closing():
            return False
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n{extra}\r\n".encode())
        try:
            await writer.drain()
        except ConnectionError:
            return False
        return True
