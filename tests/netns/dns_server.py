"""A DNS server that does what a script says: zones, delays, drops, lies. UDP and TCP, no dependencies.

usage: dns_server.py ADDRESS[:PORT]…   (an IPv6 address in brackets when a port follows; port 0 lets the
system pick one). Commands come as JSON lines on stdin; answers and the log go as JSON lines to stdout:
  {"ready": true, "servers": [["10.9.0.53", 53]]}
  {"id": 1, "zone": {…}}                          replaces the zone   →   {"ack": 1}
  {"id": 2, "server": "10.9.0.53", "set": {…}}    an entry that overrides every answer of one server
  {"time_ns": …, "name": "www.test", "type": "AAAA", "server": …, "transport": "udp", "client_port": …}

The zone maps names (lower case, no trailing dot) to types to entries; type "*" stands for all others. An entry
is a list of data, or an object:
  answers      addresses, or other data as hex      ttl          of the answers (60)
  cname        target of a CNAME; the target's answers follow when the zone has them
  rcode        "NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", …
  soa_ttl      TTL and minimum of the SOA in a negative answer (60); null = no SOA
  delay_ms     before the answer                    drop         no answer at all
  truncate     over UDP: TC and no answers          tcp_step     over TCP: bytes per segment
  tcp_close    over TCP: close without an answer    owner        owner name of the answers, if not the query's
  wrong_id     answer with another id               other_port   answer from another port
  raw          the whole message as hex; its first two bytes are replaced by the query's id
A name without an entry for a type has no data; a name without any does not exist.
"""

import contextlib
import heapq
import ipaddress
import json
import os
import select
import socket
import struct
import sys
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SVCB": 64, "HTTPS": 65}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
FIELDS = {"answers", "ttl", "cname", "rcode", "soa_ttl", "delay_ms", "drop", "truncate", "tcp_step", "tcp_close",
          "owner", "wrong_id", "other_port", "raw"}
MAX_TCP_CONNECTIONS = 256
TCP_IDLE_S = 30


def encode_name(name):
    out = b""
    for label in name.split("."):
        if label:
            out += bytes([len(label)]) + label.encode("ascii")
    return out + b"\0"


def read_name(data, offset):
    labels = []
    while data[offset]:
        size = data[offset]
        if size > 63:
            raise ValueError("a compressed name in a question")
        labels.append(data[offset + 1:offset + 1 + size].decode("ascii"))
        offset += 1 + size
    return ".".join(labels), offset + 1


def record(owner, type_number, ttl, data):
    return encode_name(owner) + struct.pack("!HHIH", type_number, 1, ttl, len(data)) + data


def encode_data(type_name, data):
    if type_name in ("A", "AAAA"):
        return ipaddress.ip_address(data).packed
    return bytes.fromhex(data)


def soa(ttl):
    numbers = struct.pack("!IIIII", 1, 3600, 600, 86400, ttl)
    return record("test", TYPES["SOA"], ttl, encode_name("ns.test") + encode_name("hostmaster.test") + numbers)


class Question:
    def __init__(self, data):
        if len(data) < 17:
            raise ValueError("a short query")
        self.id, flags, questions = struct.unpack_from("!HHH", data)
        if flags & 0x8000 or questions != 1:
            raise ValueError("not a query")
        self.name, end = read_name(data, 12)
        self.type_number = struct.unpack_from("!H", data, end)[0]
        self.type = TYPE_NAMES.get(self.type_number, str(self.type_number))
        self.wire = data[12:end + 4]
        self.flags = flags


class Zone:
    def __init__(self, zone):
        self.names = {}
        for name, types in zone.items():
            self.names[name.lower().rstrip(".")] = {t: self.check(name, entry) for t, entry in types.items()}

    @staticmethod
    def check(name, entry):
        entry = {"answers": entry} if isinstance(entry, list) else dict(entry)
        unknown = set(entry) - FIELDS
        if unknown:
            raise ValueError(f"{name}: unknown fields {sorted(unknown)}; known are {sorted(FIELDS)}")
        if entry.get("rcode", "NOERROR") not in RCODES:
            raise ValueError(f"{name}: unknown rcode {entry['rcode']!r}")
        return entry

    def entry(self, name, type_name):
        types = self.names.get(name.lower())
        if types is None:
            return {"rcode": "NXDOMAIN"}
        return types.get(type_name, types.get("*", {}))

    def answer(self, question, entry, udp):
        if "raw" in entry:
            return struct.pack("!H", question.id) + bytes.fromhex(entry["raw"])[2:]
        truncated = udp and entry.get("truncate", False)
        answers, authority = self.sections(question, entry)
        if truncated:
            answers, authority = [], []
        flags = 0x8180 | (question.flags & 0x0110) | RCODES[entry.get("rcode", "NOERROR")]
        if truncated:
            flags |= 0x0200
        message_id = question.id ^ 0x5555 if entry.get("wrong_id") else question.id
        header = struct.pack("!HHHHHH", message_id, flags, 1, len(answers), len(authority), 0)
        return header + question.wire + b"".join(answers) + b"".join(authority)

    def sections(self, question, entry):
        answers = []
        owner = entry.get("owner", question.name)
        for _ in range(16):  # a chain of CNAMEs ends here, even a loop
            for data in entry.get("answers", []):
                ttl = entry.get("ttl", 60)
                answers.append(record(owner, question.type_number, ttl, encode_data(question.type, data)))
            if "cname" not in entry:
                break
            target = entry["cname"]
            answers.append(record(owner, TYPES["CNAME"], entry.get("ttl", 60), encode_name(target)))
            owner, entry = target, self.entry(target, question.type)
        negative = not entry.get("answers") and entry.get("rcode", "NOERROR") in ("NOERROR", "NXDOMAIN")
        ttl = entry.get("soa_ttl", 60)
        return answers, [soa(ttl)] if negative and ttl is not None else []


class TcpClient:
    def __init__(self, connection, server):
        self.socket, self.server = connection, server
        self.buffer = b""
        self.pieces = []  # of answers, in order
        self.last = time.monotonic()


class Server:
    def __init__(self, places):
        self.zone = Zone({})
        self.overrides = {}
        self.udp, self.tcp, self.clients = {}, {}, {}
        self.queue, self.order = [], 0
        self.places = [self.listen(address, port) for address, port in places]

    def listen(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for _ in range(16):  # a port that the system picks for UDP may be taken for TCP
            udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            udp.bind((address, port))
            place = (address, udp.getsockname()[1])
            tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(place)
                break
            except OSError:
                udp.close()
                tcp.close()
                if port != 0:
                    raise
        tcp.listen(128)
        self.udp[udp.fileno()] = (udp, address)
        self.tcp[tcp.fileno()] = (tcp, address)
        return place

    def later(self, delay_ms, action):
        self.order += 1
        heapq.heappush(self.queue, (time.monotonic_ns() + int(delay_ms * 1e6), self.order, action))

    def handle(self, data, server, transport, peer, reply):
        try:
            question = Question(data)
        except (ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
            write({"time_ns": time.monotonic_ns(), "bad_query": str(error), "server": server})
            return
        write({"time_ns": time.monotonic_ns(), "name": question.name.lower(), "type": question.type,
               "server": server, "transport": transport, "client_port": peer[1]})
        entry = self.overrides.get(server) or self.zone.entry(question.name, question.type)
        if entry.get("drop"):
            return
        message = self.zone.answer(question, entry, transport == "udp")
        self.later(entry.get("delay_ms", 0), lambda: reply(message, entry))

    def read_udp(self, fd):
        udp, server = self.udp[fd]
        data, peer = udp.recvfrom(65535)

        def reply(message, entry):
            if entry.get("other_port"):
                with socket.socket(udp.family, socket.SOCK_DGRAM) as other:
                    other.bind((server, 0))
                    other.sendto(message, peer)
            else:
                udp.sendto(message, peer)

        self.handle(data, server, "udp", peer, reply)

    def accept(self, fd):
        tcp, server = self.tcp[fd]
        connection, _ = tcp.accept()
        if len(self.clients) >= MAX_TCP_CONNECTIONS:
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients[connection.fileno()] = TcpClient(connection, server)

    def read_tcp(self, fd):
        client = self.clients[fd]
        data = client.socket.recv(65535)
        client.last = time.monotonic()
        if not data:
            self.close(client)
            return
        client.buffer += data
        while len(client.buffer) >= 2:
            size = struct.unpack("!H", client.buffer[:2])[0]
            if len(client.buffer) < 2 + size:
                break
            query, client.buffer = client.buffer[2:2 + size], client.buffer[2 + size:]
            self.handle(query, client.server, "tcp", client.socket.getpeername(),
                        lambda message, entry: self.reply_tcp(client, message, entry))

    def reply_tcp(self, client, message, entry):
        if client.socket.fileno() < 0:
            return
        if entry.get("tcp_close"):
            self.close(client)
            return
        wire = struct.pack("!H", len(message)) + message
        step = entry.get("tcp_step") or len(wire)
        idle = not client.pieces
        client.pieces += [wire[start:start + step] for start in range(0, len(wire), step)]
        if idle:
            self.send_tcp(client)

    def send_tcp(self, client):
        """Sends the next piece; answers that are due at once must not mix on the wire."""
        if client.socket.fileno() < 0:
            return
        client.socket.sendall(client.pieces[0])
        client.pieces.pop(0)
        if client.pieces:
            self.later(2, lambda: self.send_tcp(client))

    def close(self, client):
        self.clients.pop(client.socket.fileno(), None)
        client.socket.close()

    def command(self, line):
        command = json.loads(line)
        try:
            if "zone" in command:
                self.zone = Zone(command["zone"])
            elif "server" in command:
                self.overrides[command["server"]] = Zone.check(command["server"], command["set"])
            else:
                raise ValueError("a command needs zone or server")
            write({"ack": command["id"]})
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            write({"ack": command.get("id"), "error": str(error)})

    def run_due(self):
        while self.queue:
            wait = self.queue[0][0] - time.monotonic_ns()
            if wait > 0:
                return wait / 1e9
            action = heapq.heappop(self.queue)[2]
            try:
                action()
            except OSError:
                pass  # the client is gone
        return None

    def run(self):
        buffered = b""
        while True:
            wait = self.run_due()  # may close clients
            ready, _, _ = select.select([0, *self.udp, *self.tcp, *self.clients], [], [], wait)
            for fd in ready:
                if fd == 0:
                    chunk = os.read(0, 1 << 20)
                    if not chunk:
                        return
                    *lines, buffered = (buffered + chunk).split(b"\n")
                    for line in lines:
                        self.command(line)
                    continue
                try:
                    self.read(fd)
                except OSError:
                    if fd in self.clients:
                        self.close(self.clients[fd])
            for client in list(self.clients.values()):
                if time.monotonic() - client.last > TCP_IDLE_S:
                    self.close(client)

    def read(self, fd):
        if fd in self.udp:
            self.read_udp(fd)
        elif fd in self.tcp:
            self.accept(fd)
        elif fd in self.clients:
            self.read_tcp(fd)


def write(entry):
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


def parse_place(text):
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port[1:] or 53)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, 53


def main():
    with contextlib.suppress(OSError):  # delays are those of the zone, also on a busy machine
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    server = Server([parse_place(text) for text in sys.argv[1:]])
    write({"ready": True, "servers": server.places})
    server.run()


if __name__ == "__main__":
    main()
