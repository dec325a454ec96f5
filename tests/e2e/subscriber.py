"""A webhook subscriber that is slow, fails, hangs up and refuses at a seeded random, and keeps a ledger."""

import hashlib
import hmac
import random
import socket
import threading
import time
from collections import defaultdict
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What it does to a request, and how often.
MOODS = {"ok": 62, "slow": 4, "hang up": 6, "500": 8, "503 in seconds": 6, "503 at a date": 4, "429": 6, "408": 4}
# What it says for ever to one of these deliveries in a hundred.
NEVER = {"404": 2, "410": 2, "301": 1}
# What comes before an answer, or with it, and changes nothing of what it says.
FLOURISHES = {"none": 55, "100": 10, "102": 10, "103": 10, "95 of them": 5, "many headers": 10}
# How long those who ask wait for its answer, in seconds.
TIMEOUT = 2


class Subscriber:
    """Listens on 127.0.0.1:port. With `late`, connections are refused until open() is called.

    Lifetime: stop() it. Thread: the ledger belongs to it until then.
    """

    def __init__(self, seed, secret, late=False):
        self.seed, self.secret = seed, secret.encode()
        self.requests = defaultdict(list)  # id -> [(when, mood)]
        self.bodies = {}  # id -> the body that was answered 200
        self.names = {}  # id -> what each of its requests must be named
        self.wrong = []  # what no request may be
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler(), bind_and_activate=False)
        self.server.daemon_threads = True
        self.server.request_queue_size = 128
        self.server.server_bind()
        self.port = self.server.server_address[1]
        self.thread = None
        if not late:
            self.open()

    def open(self):
        self.server.server_activate()
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        if self.thread:
            self.server.shutdown()
        self.server.server_close()

    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def fate(self, delivery):
        """What it says to this delivery for ever, or None."""
        draw = random.Random(f"{self.seed} {delivery}").uniform(0, 100)
        for status, percent in NEVER.items():
            draw -= percent
            if draw < 0:
                return status
        return None

    def mood(self, delivery, attempt):
        draw = random.Random(f"{self.seed} {delivery} {attempt}")
        return self.fate(delivery) or draw.choices(list(MOODS), MOODS.values())[0]

    def handler(subscriber):  # noqa: N805, the handler's `self` is the request
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                with subscriber.lock:
                    subscriber.in_flight += 1
                    subscriber.most_in_flight = max(subscriber.most_in_flight, subscriber.in_flight)
                self.counted = True
                try:
                    self.answer()
                finally:
                    self.uncount()

            def uncount(self):
                with subscriber.lock:
                    subscriber.in_flight -= self.counted
                    self.counted = False

            def answer(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                delivery = self.headers["X-Weir-Id"]
                expected = "sha256=" + hmac.new(subscriber.secret, body, hashlib.sha256).hexdigest()
                with subscriber.lock:
                    if self.headers["X-Weir-Signature-256"] != expected:
                        subscriber.wrong.append(f"{delivery}: signature {self.headers['X-Weir-Signature-256']}")
                    name = subscriber.names.setdefault(delivery, self.headers["X-Weir-Delivery"])
                    if self.headers["X-Weir-Delivery"] != name:
                        subscriber.wrong.append(f"{delivery}: named {self.headers['X-Weir-Delivery']}, and was {name}")
                    mood = subscriber.mood(delivery, len(subscriber.requests[delivery]) + 1)
                    subscriber.requests[delivery].append((time.time(), mood))
                if mood == "ok":
                    with subscriber.lock:
                        subscriber.bodies[delivery] = (self.headers["X-Weir-Event"], body)
                    return self.say(200)
                if mood == "slow":
                    # Whoever asked gives up meanwhile, unseen from here, and may ask for something else.
                    time.sleep(TIMEOUT / 4)
                    self.uncount()
                    time.sleep(TIMEOUT)
                    return self.hang_up()
                if mood == "hang up":
                    return self.hang_up()
                if mood == "503 in seconds":
                    return self.say(503, {"Retry-After": "1"})
                if mood == "503 at a date":  # whole seconds: the next but one is more than one away
                    return self.say(503, {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
                if mood == "301":
                    return self.say(301, {"Location": "/elsewhere"})
                return self.say(int(mood))

            def say(self, status, headers=()):
                self.uncount()  # whoever has the answer may send the next before this thread goes on
                draw = random.Random(f"{subscriber.seed} {status} {self.headers['X-Weir-Id']} {self.headers['X-Weir-Attempt']}")
                flourish = draw.choices(list(FLOURISHES), FLOURISHES.values())[0]
                before = [100] * 95 if flourish == "95 of them" else [int(flourish)] if flourish.isdigit() else []
                for code in before:
                    self.send_response_only(code)
                    if code == 103:
                        self.send_header("Link", "</style.css>; rel=preload")
                    self.end_headers()
                self.send_response(status)
                for number in range(48 if flourish == "many headers" else 0):
                    self.send_header(f"X-Filler-{number}", "x" * 1000)
                for name in headers:
                    self.send_header(name, headers[name])
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def hang_up(self):
                self.uncount()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_):
                pass

        return Handler
