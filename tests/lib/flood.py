"""Frames by the ten thousand out of a guest's namespace, byte by byte as an attacker makes them.

A tap's queue is short and drops what does not fit, so a flood goes in pieces and waits for weftd to have taken each:
every frame counts.
"""

import socket
import struct

from frames import checksum, mac_bytes
from gateway_place import GUESTS, wait_value
from lab import mac

PIECE = 400  # less than the queue of a tap
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


def ethernet(source, destination, ethertype, payload):
    return mac_bytes(destination) + mac_bytes(source) + struct.pack(">H", ethertype) + payload


def ipv4(source, destination, protocol, payload, ttl=64, identification=0, fragment=0, options=b"", length=None,
         header_length=None, bad_checksum=0):
    """An IPv4 packet; `length` and `header_length` are what it says of itself, true or not."""
    own = 20 + len(options)
    header = struct.pack(">BBHHHBBH4s4s", 0x40 | (own // 4 if header_length is None else header_length), 0,
                         own + len(payload) if length is None else length, identification, fragment, ttl, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination)) + options
    total = (0xffff & ~checksum(header)) ^ bad_checksum
    return header[:10] + struct.pack(">H", total) + header[12:] + payload


def ipv6(source, destination, protocol, payload, hops=64, length=None):
    return struct.pack(">IHBB", 6 << 28, len(payload) if length is None else length, protocol, hops) + (
        socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)) + payload


def udp(source, destination, payload=b"", length=None):
    """Without a checksum, as IPv4 allows."""
    return struct.pack(">HHHH", source, destination, 8 + len(payload) if length is None else length, 0) + payload


def udp6(from_address, to_address, source, destination, payload=b""):
    return with_checksum6(from_address, to_address, UDP, udp(source, destination, payload), 6)


def with_checksum6(source, destination, protocol, message, offset):
    pseudo = (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination) +
              struct.pack(">II", len(message), protocol))
    value = 0xffff & ~checksum(message, checksum(pseudo)) or 0xffff
    return message[:offset] + struct.pack(">H", value) + message[offset + 2:]


def echo_request(identifier, sequence=1, payload=b""):
    message = struct.pack(">BBHHH", 8, 0, 0, identifier, sequence) + payload
    return message[:2] + struct.pack(">H", 0xffff & ~checksum(message)) + message[4:]


def icmp6(source, destination, kind, body, code=0):
    return with_checksum6(source, destination, ICMPV6, struct.pack(">BBH", kind, code, 0) + body, 2)


class Flooder:
    """Sends frames from a guest's namespace. `own` and `gateway` are MACs, the guest's and that of the gateway."""

    def __init__(self, place, name, device=None):
        self.place, self.name = place, name
        self.own = mac(GUESTS[name])
        self.gateway = place.api.show("networks")[0]["gateway"]["mac"]
        self.raw = place.guests[name].raw_socket(device or f"t{name}")
        place.lab.stack.callback(self.raw.close)

    def taken(self):
        """Frames that weftd has taken from the guest's port, good or bad."""
        row = self.place.api.show("ports", name=self.name)[0]["receive"]
        return row["packets"] + row["errors"]

    def to_gateway(self, payload, ethertype=0x0800):
        return ethernet(self.own, self.gateway, ethertype, payload)

    def send(self, frames, piece=PIECE):
        """Sends them all, and returns when weftd has taken them; how many there were."""
        count, before = 0, self.taken()
        for count, frame in enumerate(frames, 1):
            self.raw.send(frame)
            if count % piece == 0:
                self._wait(before + count)
        self._wait(before + count)
        return count

    def _wait(self, count):
        wait_value(self.taken, lambda taken: taken >= count, f"{count} frames taken")
