"""A TCP relay on loopback that notes when each connection and each request came to it."""

import selectors
import socket
import threading
import time


class CountingRelay:
    """Relays to a port of 127.0.0.1. `accepted` and `requests` are times (time.monotonic); a request is a piece of
    bytes that begins with a method of HTTP/1.1."""

    METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ")

    def __init__(self, port):
        self.target = port
        self.accepted, self.requests = [], []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.port = self.listener.getsockname()[1]
        self.ends = {}  # each socket's other end
        self.poll = selectors.DefaultSelector()
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wake.close()
        self.thread.join()
        for each in (self.listener, self.woken, *self.ends):
            each.close()
        self.poll.close()

    def run(self):
        for each in (self.listener, self.woken):
            self.poll.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in self.poll.select():
                if key.fileobj is self.woken:
                    return
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.ends:
                    self.move(key.fileobj)

    def accept(self):
        near, _ = self.listener.accept()
        self.accepted.append(time.monotonic())
        far = socket.create_connection(("127.0.0.1", self.target))
        self.ends[near], self.ends[far] = far, near
        for each in (near, far):
            self.poll.register(each, selectors.EVENT_READ)

    def move(self, source):
        try:
            data = source.recv(65536)
            if data.startswith(self.METHODS):
                self.requests.append(time.monotonic())
            if data:
                self.ends[source].sendall(data)
                return
        except OSError:
            pass  # one end was reset: the other one ends, too
        for each in (source, self.ends.pop(source)):
            self.ends.pop(each, None)
            self.poll.unregister(each)
            each.close()
