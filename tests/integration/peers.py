"""Servers of the tests' own: each connection is handled by a function, on a thread."""

import socket
import ssl
import struct
import threading
import time

WAIT_S = 60  # no handler outlives a test by more


class Peer:
    """Listens on a free port; handle(socket, peer) runs for each connection, which ends when it returns.

    `accepted` counts the connections, `log` is for the handlers. With a certificate (see use()) they speak TLS.
    """

    def __init__(self, handle, address="127.0.0.1", receive_buffer=None):
        self.handle, self.context = handle, None
        self.accepted, self.log, self.lock = 0, [], threading.Lock()
        self.open, self.running = set(), True
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((address, 0))
        self.listener.listen(256)
        self.address, self.port = self.listener.getsockname()[:2]
        self.thread = threading.Thread(target=self.run, daemon=True)

    def use(self, certificate, **settings):
        """From now on TLS with this (chain, key); settings are attributes of the SSLContext."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        for name, value in settings.items():
            setattr(context, name, value)
        self.context = context

    def run(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            if not self.running:
                connection.close()
                return
            with self.lock:
                self.accepted += 1
                self.open.add(connection)
            threading.Thread(target=self.serve, args=(connection, peer), daemon=True).start()

    def serve(self, connection, peer):
        try:
            connection.settimeout(WAIT_S)
            if self.context:
                with self.lock:
                    self.open.discard(connection)
                    connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                    self.open.add(connection)
                connection.do_handshake()
            self.handle(connection, peer)
        except OSError:
            pass  # the client went, or close() came: what the test looks at is the client
        finally:
            with self.lock:
                self.open.discard(connection)
            connection.close()

    def note(self, entry):
        with self.lock:
            self.log.append(entry)

    def close(self):
        self.running = False
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        except OSError:
            pass
        self.thread.join(WAIT_S)
        self.listener.close()
        with self.lock:
            for connection in self.open:
                try:
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.close()


def reset(connection):
    """Ends a connection with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def until_end(connection, _peer=None):
    """Reads and forgets until the client ends."""
    while connection.recv(65536):
        pass


def echo(connection, _peer=None):
    while data := connection.recv(65536):
        connection.sendall(data)


def is_established(here, there):
    """Whether the kernel has a socket of ours on IPv4 (`here`, connected to `there`) that saw no end of its peer."""
    name = struct.pack("!HH16s16s4x8s", here[1], there[1], socket.inet_aton(here[0]), socket.inet_aton(there[0]),
                       b"\xff" * 8)  # struct inet_diag_sockid, linux/inet_diag.h
    request = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + name
    head = struct.Struct("=IHHII")  # struct nlmsghdr; 20 is SOCK_DIAG_BY_FAMILY, 1 a request
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as netlink:
        netlink.send(head.pack(head.size + len(request), 20, 1, 0, 0) + request)
        answer = netlink.recv(4096)
    return head.unpack_from(answer)[1] == 20 and answer[head.size + 1] == 1


def until_timeout(timeout_s):
    """A handler that echoes and closes a connection idle for so long.

    It answers (the client's port, when it began to close, when the client's kernel had the end): on a busy machine
    a packet may take its time even on loopback.
    """
    def handle(connection, peer):
        connection.settimeout(timeout_s)
        try:
            echo(connection)
            return None  # the client was first
        except TimeoutError:
            here, before = connection.getsockname(), time.monotonic_ns()
            connection.close()
            while is_established(peer, here):
                pass
            return (peer[1], before, time.monotonic_ns())

    return handle
