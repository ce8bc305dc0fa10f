#!/usr/bin/python3
"""Writes the seeds of fuzz_frame to tests/fuzz/corpus/fuzz_frame: real frames, made by scapy."""

import pathlib
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

TCP4, UFO, TCP6, USO, ECN = 1, 3, 4, 5, 0x80
ETHER = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02")
V4 = IP(src="10.0.0.1", dst="10.0.0.2", id=65535)
V6 = IPv6(src="fd00::1", dst="fd00::2")
T = TCP(sport=1000, dport=80, seq=0xfffffff0, flags="APFC",
        options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))])
U = UDP(sport=1000, dport=53)
DATA = bytes(i * 7 & 255 for i in range(3000))


def seed(name, packet, gso=0, size=0, layer=None, head=0, piece=0, limit=63, flags=None):
    """One input: see the opening of fuzz_frame.c. `layer`: where the checksum starts."""
    frame = bytes(packet)
    start = offset = 0
    if layer is not None:
        start = len(frame) - len(bytes(packet[layer]))
        offset = 16 if layer is TCP else 6
    if flags is None:
        flags = 1 if layer is not None else 0
    header = struct.pack("<BBHHHH", flags, gso, 0, size, start, offset)
    path = pathlib.Path(__file__).parent / "corpus" / "fuzz_frame"
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(bytes([0, head, piece, limit]) + header + frame)


seed("arp", ETHER / ARP())
seed("icmp", ETHER / V4 / ICMP() / DATA[:100])
seed("tcp4", ETHER / V4 / T / DATA[:500], layer=TCP, piece=9)
seed("udp6-odd", ETHER / V6 / U / DATA[:501], layer=UDP, piece=2)
seed("data-valid", ETHER / V4 / U / DATA[:10], flags=2)
seed("tcp4-gso", ETHER / V4 / T / DATA, TCP4, 1448, TCP)
seed("tcp4-gso-ecn-vlan", ETHER / Dot1Q(vlan=10) / V4 / T / DATA, TCP4 | ECN, 100, TCP, limit=2)
seed("tcp6-gso", ETHER / V6 / T / DATA, TCP6, 1428, TCP, piece=40)
seed("tcp6-gso-options", ETHER / V6 / IPv6ExtHdrDestOpt() / T / DATA[:700], TCP6, 13, TCP, head=20)
seed("uso4", ETHER / V4 / U / DATA, USO, 1200, UDP)
seed("uso6-qinq", ETHER / Dot1Q(vlan=7, type=0x8100) / Dot1Q(vlan=8) / V6 / U / DATA, USO, 333, UDP)
seed("ufo4", ETHER / V4 / U / DATA, UFO, 1480, UDP, piece=3)
seed("ufo4-options", ETHER / IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x94\x04\0\0\x07\x03\x04\0")
     / U / DATA, UFO, 555, UDP)
seed("ufo6", ETHER / V6 / U / DATA, UFO, 1448, UDP)
seed("ufo6-hop-by-hop", ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / U / DATA, UFO, 1000,
     UDP)
seed("ufo-one", ETHER / V4 / U / DATA[:100], UFO, 1480, UDP)
seed("routing", ETHER / V6 / IPv6ExtHdrRouting(addresses=["fd00::3"], segleft=1) / T / DATA[:900],
     TCP6, 300, TCP)
seed("fragment4", ETHER / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / U / DATA[:800])
seed("fragment6", ETHER / V6 / IPv6ExtHdrFragment(m=1, nh=17) / DATA[:800])
seed("padded", ETHER / V4 / U / b"x" / bytes(17), layer=UDP)
seed("vxlan", ETHER / V4 / UDP(sport=9, dport=4789) / VXLAN(vni=5) / ETHER / V4 / T / DATA[:200],
     layer=TCP)
