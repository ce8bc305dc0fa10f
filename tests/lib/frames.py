"""Frames made and checked byte by byte, with checksum code of their own (RFC 1071).

Used by tests/e2e. A Packet knows what it carries, so that a receiver can be checked however the switch has cut it:
verify() wants headers, payload and checksums to be right.
"""

import os
import struct

EXPERIMENTAL = 0x88b5  # IEEE 802 local experimental ethertype
TCP, UDP = 6, 17
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4 = 0, 1, 3, 4, 5


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def plain(source, destination, payload=b"", vlan=None):
    """A frame of the experimental ethertype, padded to 60 bytes."""
    tag = struct.pack(">HH", 0x8100, vlan) if vlan is not None else b""
    frame = mac_bytes(destination) + mac_bytes(source) + tag + struct.pack(">H", EXPERIMENTAL) + payload
    return frame.ljust(60, b"\0")


def checksum(data, start=0):
    """The ones' complement sum of 16-bit words, folded, not inverted."""
    if len(data) % 2:
        data += b"\0"
    # As one big number modulo 65535: the same as adding the words with end-around carry.
    total = start + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


class Packet:
    """A TCP or UDP packet over IPv4 or IPv6 with random payload, and the virtio-net header it is sent with."""

    def __init__(self, source, destination, protocol, version, length, gso_size=0, gso_type=GSO_NONE, vlan=None,
                 partial=False):
        self.protocol, self.version, self.vlan = protocol, version, vlan
        self.payload = os.urandom(length)
        self.addresses = (bytes([10, 1, 0, 1, 10, 1, 0, 2]) if version == 4
                          else bytes.fromhex("fd000000000000000000000000000001fd000000000000000000000000000002"))
        self.ports = struct.pack(">HH", 1234, 4321)
        self.sequence = 0xfffff000  # wraps on the way
        tag = struct.pack(">HH", 0x8100, vlan) if vlan is not None else b""
        self.ethernet = mac_bytes(destination) + mac_bytes(source) + tag + (
            b"\x08\x00" if version == 4 else b"\x86\xdd")
        transport = self._transport_header(length)
        size = len(transport) + length
        pseudo = checksum(self._pseudo(size))
        offset = 16 if protocol == TCP else 6
        if not partial:
            pseudo = 0xffff & ~checksum(transport + self.payload, pseudo) or 0xffff
        transport = transport[:offset] + struct.pack(">H", pseudo) + transport[offset + 2:]
        network = self._network_header(size)
        self.frame = self.ethernet + network + transport + self.payload
        start = len(self.ethernet) + len(network)
        # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
        self.header = (NEEDS_CSUM, gso_type, start + len(transport), gso_size, start, offset) if partial else (
            0, GSO_NONE, 0, 0, 0, 0)

    def _transport_header(self, length):
        if self.protocol == TCP:
            return self.ports + struct.pack(">IIBBHHH", self.sequence, 77, 5 << 4, 0x18, 1000, 0, 0)
        return self.ports + struct.pack(">HH", 8 + length, 0)

    def _network_header(self, size):
        if self.version == 6:
            return struct.pack(">IHBB", 6 << 28, size, self.protocol, 64) + self.addresses
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 7, 0x4000, 64, self.protocol, 0) + self.addresses
        return header[:10] + struct.pack(">H", 0xffff & ~checksum(header)) + header[12:]

    def _pseudo(self, size):
        return self.addresses + struct.pack(">II", size, self.protocol)

    def mine(self, frame):
        """Is this frame a part of this packet's flow?"""
        return frame.startswith(self.ethernet)

    def expects(self):
        """A receiver to feed with frames; see Receiver."""
        return Receiver(self)


class Receiver:
    """Collects what arrives of one Packet, whole or cut, and checks each byte."""

    def __init__(self, packet):
        self.packet = packet
        self.received = {}
        self.frames = 0
        self.fragments = False

    @property
    def complete(self):
        return sum(map(len, self.received.values())) >= len(self.packet.payload)

    def feed(self, header, frame):
        """Takes one frame with its virtio-net header; AssertionError when something is wrong with it."""
        packet = self.packet
        self.frames += 1
        flags, gso_type, _, gso_size, csum_start, csum_offset = header[:6]
        data = frame[len(packet.ethernet):]
        fragment_offset = more = 0
        if packet.version == 4:
            length, fragment = struct.unpack_from(">H2xH", data, 2)
            assert data[0] == 0x45 and data[9] == packet.protocol and data[12:20] == packet.addresses
            assert checksum(data[:20]) == 0xffff, "IPv4 header checksum"
            fragment_offset, more = (fragment & 0x1fff) * 8, fragment & 0x2000
            data = data[20:length]
        else:
            length, = struct.unpack_from(">H", data, 4)
            assert data[0] >> 4 == 6 and data[8:40] == packet.addresses
            protocol = data[6]
            data = data[40:40 + length]
            if protocol == 44:
                protocol, fragment = struct.unpack_from(">BxH", data)
                fragment_offset, more = fragment & 0xfff8, fragment & 1
                data = data[8:]
            assert protocol == packet.protocol
        if fragment_offset or more:
            assert packet.protocol == UDP, "only UDP is cut by fragmenting"
            self.fragments = True
            self.received[fragment_offset] = data
            self._finish_fragments()
            return
        assert gso_type == GSO_NONE or flags & NEEDS_CSUM, "a GSO frame has a partial checksum"
        assert gso_type != GSO_NONE or len(frame) - len(packet.ethernet) <= max(1500, len(packet.frame) - 14)
        self._check_transport(flags, data, len(frame), csum_start, csum_offset)
        header_length = 20 if packet.protocol == TCP else 8
        if gso_type != GSO_NONE:
            assert 0 < gso_size < len(data) - header_length, "GSO size"
        if packet.protocol == TCP:
            offset = (struct.unpack_from(">I", data, 4)[0] - packet.sequence) & 0xffffffff
        else:
            offset = sum(map(len, self.received.values()))  # datagrams have no number; their order has to hold
        payload = data[header_length:]
        assert packet.payload[offset:offset + len(payload)] == payload, f"payload at {offset}"
        assert offset not in self.received, "sent twice"
        self.received[offset] = payload

    def _check_transport(self, flags, data, length, csum_start, csum_offset):
        packet = self.packet
        assert data[:4] == packet.ports
        field = 16 if packet.protocol == TCP else 6
        pseudo = checksum(packet._pseudo(len(data)))
        if flags & NEEDS_CSUM:
            assert (csum_start, csum_offset) == (length - len(data), field), "checksum start and offset"
            assert struct.unpack_from(">H", data, field)[0] == pseudo, "partial checksum"
        elif not flags & DATA_VALID:
            assert checksum(data, pseudo) == 0xffff, "transport checksum"
        if packet.protocol == UDP:
            assert struct.unpack_from(">H", data, 4)[0] == len(data), "UDP length"

    def _finish_fragments(self):
        """When all fragments are there, checks the datagram they make."""
        whole = b"".join(self.received[offset] for offset in sorted(self.received))
        if len(whole) < 8 + len(self.packet.payload):
            return
        assert checksum(whole, checksum(self.packet._pseudo(len(whole)))) == 0xffff, "UDP checksum"
        assert whole[8:] == self.packet.payload
