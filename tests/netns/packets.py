"""IP, TCP and ICMP, as far as the relay needs them: reading headers and forging refusals."""

import ipaddress
import struct

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
TCP, UDP = 6, 17


class Packet:
    """One IPv4 or IPv6 packet. `protocol` is None for what is not understood."""

    def __init__(self, data):
        self.data = data
        self.protocol = None
        self.flags = self.payload_size = 0
        self.source_port = self.target_port = 0
        self.version = data[0] >> 4 if data else 0
        if self.version == 4 and len(data) >= 20:
            self.header_size = (data[0] & 15) * 4
            self.protocol = data[9]
            self.source = str(ipaddress.IPv4Address(data[12:16]))
            self.target = str(ipaddress.IPv4Address(data[16:20]))
            self.size = struct.unpack("!H", data[2:4])[0]
        elif self.version == 6 and len(data) >= 40:
            self.header_size = 40
            self.protocol = data[6]
            self.source = str(ipaddress.IPv6Address(data[8:24]))
            self.target = str(ipaddress.IPv6Address(data[24:40]))
            self.size = 40 + struct.unpack("!H", data[4:6])[0]
        if self.protocol == TCP:
            self._read_tcp()
        elif self.protocol == UDP and len(data) >= self.header_size + 8:
            self.source_port, self.target_port = struct.unpack_from("!HH", data, self.header_size)
            self.payload_size = self.size - self.header_size - 8

    def _read_tcp(self):
        if len(self.data) < self.header_size + 20:
            self.protocol = None
            return
        fields = struct.unpack_from("!HHIIBB", self.data, self.header_size)
        self.source_port, self.target_port, self.sequence, self.acknowledgement, offset, self.flags = fields
        self.payload_size = self.size - self.header_size - (offset >> 4) * 4

    def kind(self):
        """What the log calls a TCP packet; None for one that is not logged."""
        if self.protocol != TCP:
            return None
        if self.flags & RST:
            return "RST"
        if self.flags & SYN:
            return "SYN-ACK" if self.flags & ACK else "SYN"
        if self.flags & FIN:
            return "FIN"
        return "DATA" if self.payload_size > 0 else None


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source, target, protocol, payload):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if source.version == 6:
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        return header + source.packed + target.packed + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    header += source.packed + target.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def pseudo_header(source, target, protocol, size):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    return source.packed + target.packed + struct.pack("!IBBBB", size, 0, 0, 0, protocol)


def tcp_segment(source, source_port, target, target_port, sequence, acknowledgement, flags):
    head = struct.pack("!HHIIBBHHH", source_port, target_port, sequence, acknowledgement, 5 << 4, flags, 0, 0, 0)
    total = checksum(pseudo_header(source, target, TCP, len(head)) + head)
    return ip_packet(source, target, TCP, head[:16] + struct.pack("!H", total) + head[18:])


def reset_sender(packet):
    """The RST that the receiver of `packet` would send back (RFC 9293 §3.5.2)."""
    if packet.flags & ACK:
        sequence, acknowledgement, flags = packet.acknowledgement, 0, RST
    else:
        used = packet.payload_size + bool(packet.flags & SYN) + bool(packet.flags & FIN)
        sequence, acknowledgement, flags = 0, (packet.sequence + used) & 0xFFFFFFFF, RST | ACK
    return tcp_segment(packet.target, packet.target_port, packet.source, packet.source_port,
                       sequence, acknowledgement, flags)


def reset_receiver(packet):
    """An RST in the place of `packet`, as if its sender had sent it."""
    return tcp_segment(packet.source, packet.source_port, packet.target, packet.target_port,
                       packet.sequence, packet.acknowledgement, RST | ACK)


def unreachable(packet):
    """ICMP "host unreachable" (RFC 792) or ICMPv6 "address unreachable" (RFC 4443 §3.1) for `packet`."""
    if packet.version == 4:
        body = struct.pack("!BBHI", 3, 1, 0, 0) + packet.data[:packet.header_size + 8]
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        return ip_packet(packet.target, packet.source, 1, body)
    body = struct.pack("!BBHI", 1, 3, 0, 0) + packet.data[:1232]
    total = checksum(pseudo_header(packet.target, packet.source, 58, len(body)) + body)
    return ip_packet(packet.target, packet.source, 58, body[:2] + struct.pack("!H", total) + body[4:])
