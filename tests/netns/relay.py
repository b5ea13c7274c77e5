"""The wire between two network namespaces: copies packets from TUN to TUN and misbehaves as told.

usage: relay.py CLIENT_NAMESPACE SERVER_NAMESPACE   (run by harness.py)

Commands come as JSON lines on stdin, answers and the log go as JSON lines to stdout:
  {"id": 1, "policy": {"address": "10.9.0.2", "delay_ms": 40}}   →   {"ack": 1}
  {"time_ns": …, "kind": "SYN", "source": …, "source_port": …, "target": …, "target_port": …, "fate": "passed"}

A policy holds for one server address, or "*" for those without one, and replaces the earlier one:
  delay_ms     added to each round trip, half in each direction
  drop         "none"; "all"; "answers": what the server sends; "data": what carries bytes or a FIN
  refuse       "none"; "syn": an RST answers each SYN; "data": the first bytes reset both sides;
               "unreachable": ICMP answers each SYN
  nth          the n-th packet of the address, both directions counted from its next SYN on, meets …
  nth_fate     … "drop" (default) or "reset" (both sides)
  loss         percent of all packets that vanish, chosen by a generator of the policy's own
  max_size     larger packets vanish, as at a path MTU black hole; 0 = no limit
  log_data     log packets with data and FINs too

Times are those of the monotonic clock, when the relay read the packet. The relay ends with its stdin.
"""

import ctypes
import fcntl
import heapq
import ipaddress
import json
import os
import random
import select
import struct
import sys
import time

import packets

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
MAX_QUEUED = 100_000  # packets waiting for their delay

DEFAULTS = {"delay_ms": 0, "drop": "none", "refuse": "none", "nth": 0, "nth_fate": "drop", "loss": 0,
            "max_size": 0, "log_data": False}
CHOICES = {"drop": ("none", "all", "answers", "data"), "refuse": ("none", "syn", "data", "unreachable"),
           "nth_fate": ("drop", "reset")}


def enter_namespace(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def open_tun(namespace, name):
    """A TUN device inside the namespace; its descriptor works from here."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter_namespace(other)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        return fd
    finally:
        enter_namespace(own)
        os.close(own)
        os.close(other)


class Policy:
    def __init__(self, settings):
        unknown = set(settings) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"unknown policy settings {sorted(unknown)}; known are {sorted(DEFAULTS)}")
        for name, default in DEFAULTS.items():
            value = settings.get(name, default)
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{name} is {value!r}; it must be one of {CHOICES[name]}")
            setattr(self, name, value)
        self.seen = 0
        self.random = random.Random(1)

    def fate(self, packet, from_client):
        """ "passed", "dropped", "refused" (to the sender) or "reset" (both sides)."""
        if self.seen > 0 or packet.protocol != packets.TCP or packet.kind() == "SYN":
            self.seen += 1
        moves_data = packet.protocol == packets.TCP and (packet.payload_size > 0 or packet.flags & packets.FIN)
        first_syn = packet.kind() == "SYN"
        if self.nth and self.seen == self.nth:
            return "dropped" if self.nth_fate == "drop" or packet.protocol != packets.TCP else "reset"
        if self.drop == "all" or (self.drop == "answers" and not from_client):
            return "dropped"
        if self.drop == "data" and moves_data:
            return "dropped"
        if self.loss and self.random.uniform(0, 100) < self.loss:
            return "dropped"
        if self.max_size and packet.size > self.max_size:
            return "dropped"
        if self.refuse in ("syn", "unreachable") and first_syn and from_client:
            return "refused"
        if self.refuse == "data" and moves_data and packet.payload_size > 0:
            return "reset"
        return "passed"


class Relay:
    def __init__(self, client_fd, server_fd):
        self.fds = {True: client_fd, False: server_fd}  # by "is the client's"
        self.policies = {}
        self.default = Policy({})
        self.queue = []
        self.order = 0

    def policy_of(self, address):
        return self.policies.get(address, self.default)

    def handle(self, data, from_client):
        now = time.monotonic_ns()
        packet = packets.Packet(data)
        if packet.protocol is None or packet.target.startswith(("ff", "224.", "fe80")):
            return  # neighbour and router discovery need no answer on a TUN
        policy = self.policy_of(packet.target if from_client else packet.source)
        fate = policy.fate(packet, from_client)
        half = int(policy.delay_ms * 500_000)
        if fate == "passed":
            self.send(now + half, not from_client, data)
        elif fate == "refused":
            answer = packets.unreachable if policy.refuse == "unreachable" else packets.reset_sender
            self.send(now + 2 * half, from_client, answer(packet))
        elif fate == "reset":
            self.send(now, from_client, packets.reset_sender(packet))
            self.send(now, not from_client, packets.reset_receiver(packet))
        kind = packet.kind()
        if kind in ("SYN", "SYN-ACK", "RST") or (kind and policy.log_data):
            write({"time_ns": now, "kind": kind, "source": packet.source, "source_port": packet.source_port,
                   "target": packet.target, "target_port": packet.target_port, "fate": fate})

    def send(self, when, to_client, data):
        if len(self.queue) >= MAX_QUEUED:
            return
        self.order += 1
        heapq.heappush(self.queue, (when, self.order, to_client, data))

    def flush(self):
        """Sends what is due; answers how many seconds there are until the next packet."""
        while self.queue:
            wait = self.queue[0][0] - time.monotonic_ns()
            if wait > 0:
                return wait / 1e9
            _, _, to_client, data = heapq.heappop(self.queue)
            try:
                os.write(self.fds[to_client], data)
            except OSError:
                pass  # the device is down or full: the packet is lost, as on a wire
        return None

    def command(self, line):
        command = json.loads(line)
        try:
            settings = dict(command["policy"])
            address = settings.pop("address")
            if address == "*":
                self.default = Policy(settings)
            else:
                self.policies[str(ipaddress.ip_address(address))] = Policy(settings)
            write({"ack": command["id"]})
        except (KeyError, ValueError, TypeError) as error:
            write({"ack": command.get("id"), "error": str(error)})

    def run(self):
        sides = {fd: from_client for from_client, fd in self.fds.items()}
        buffered = b""
        while True:
            ready, _, _ = select.select([0, *sides], [], [], self.flush())
            for fd in ready:
                if fd == 0:
                    chunk = os.read(0, 65536)
                    if not chunk:
                        return
                    *lines, buffered = (buffered + chunk).split(b"\n")
                    for line in lines:
                        self.command(line)
                    continue
                for _ in range(64):
                    try:
                        data = os.read(fd, 65536)
                    except OSError:
                        break
                    self.handle(data, sides[fd])


def write(record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def go_first():
    """The log's times are those of the packets, also on a busy machine, when this process may run before others."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        return False
    return True


def main():
    relay = Relay(open_tun(sys.argv[1], "tc0"), open_tun(sys.argv[2], "ts0"))
    write({"ready": True, "first": go_first()})
    relay.run()


if __name__ == "__main__":
    main()
