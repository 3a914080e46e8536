"""Asks a server many questions at once, over UDP and over one TCP connection, and gathers the replies by their ids."""

import select
import socket
import struct
import time

UDP_WINDOW = 32
"""How many datagrams are under way to one server: what its socket's buffer surely takes."""
TCP_WINDOW = 16
TRIES = 4
RETRY_SECONDS = 2.0
"""How long nothing may come from a server before what is missing is asked again."""


def ask(ports, questions):
    """Asks each server each question; a list of replies by server, with None where it stayed silent."""
    streams = []
    for port in ports.values():
        streams.append(Datagrams(port, [(index, q.to_wire(index)) for index, q in enumerate(questions) if not q.tcp]))
        streams.append(Stream(port, [(index, q.to_wire(index)) for index, q in enumerate(questions) if q.tcp]))
    # Every server on both ways at once: none waits for another.
    drive(streams)
    replies = {}
    for name, (datagrams, stream) in zip(ports, zip(streams[::2], streams[1::2])):
        gathered = {**datagrams.replies, **stream.replies}
        replies[name] = [gathered.get(index) for index in range(len(questions))]
    return replies


def drive(streams):
    """Runs all to their ends."""
    poll = select.poll()
    by_handle = {}
    for stream in streams:
        stream.fill()
        if not stream.is_done():
            by_handle[stream.socket.fileno()] = stream
            poll.register(stream.socket, select.POLLIN)
    while by_handle:
        for handle, _ in poll.poll(100):
            stream = by_handle[handle]
            stream.read()
            stream.fill()
        for handle, stream in list(by_handle.items()):
            if not stream.is_done() and time.monotonic() - stream.heard > RETRY_SECONDS:
                poll.unregister(handle)
                del by_handle[handle]
                stream.retry()
                if not stream.is_done():
                    by_handle[stream.socket.fileno()] = stream
                    poll.register(stream.socket, select.POLLIN)
            elif stream.is_done():
                poll.unregister(handle)
                del by_handle[handle]
    for stream in streams:
        stream.socket.close()


class Way:
    """Questions on their way to a server and back."""

    window = 0

    def __init__(self, port, messages):
        self.port = port
        self.messages = dict(messages)
        self.waiting = list(reversed(messages))
        self.asked = set()
        self.replies = {}
        self.tries = 1
        self.heard = time.monotonic()
        self.connect()

    def is_done(self):
        return not self.waiting and not self.asked

    def fill(self):
        while self.waiting and len(self.asked) < self.window:
            index, message = self.waiting.pop()
            self.asked.add(index)
            self.send(message)

    def take(self, reply):
        self.heard = time.monotonic()
        index = int.from_bytes(reply[:2], "big")
        if index in self.asked:
            self.asked.discard(index)
            self.replies[index] = reply

    def retry(self):
        """Asks for what is missing over a new socket, or gives it up as silence."""
        missing = [(index, self.messages[index]) for index in self.asked]
        self.asked = set()
        self.tries += 1
        self.heard = time.monotonic()
        if self.tries <= TRIES:
            self.waiting = missing + self.waiting
        else:
            self.tries = 1
        self.socket.close()
        self.connect()
        self.fill()


class Datagrams(Way):
    """UDP."""

    window = UDP_WINDOW

    def connect(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.connect(("127.0.0.1", self.port))
        self.socket.setblocking(False)

    def send(self, message):
        self.socket.send(message)

    def read(self):
        while True:
            try:
                self.take(self.socket.recv(65535))
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue


class Stream(Way):
    """TCP: one connection, many questions on it before the first answer."""

    window = TCP_WINDOW

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.octets = bytearray()

    def send(self, message):
        self.socket.sendall(struct.pack("!H", len(message)) + message)

    def read(self):
        octets = self.socket.recv(1 << 16)
        if not octets:
            # Closed before its time: what is missing is asked again at once.
            self.heard = 0.0
            time.sleep(0.01)
            return
        self.octets += octets
        while len(self.octets) >= 2:
            end = 2 + int.from_bytes(self.octets[:2], "big")
            if len(self.octets) < end:
                return
            self.take(bytes(self.octets[2:end]))
            del self.octets[:end]
