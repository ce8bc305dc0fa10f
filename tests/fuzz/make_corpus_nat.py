#!/usr/bin/python3
"""Writes the seeds of fuzz_nat to tests/fuzz/corpus/fuzz_nat: real frames, made by scapy."""

import pathlib
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrFragment)
from scapy.layers.l2 import Dot1Q, Ether, GRE

OUT, IN, HAIRPIN, ANSWER, ERROR, REFUSE, WAIT, CHANGE = range(8)
PARTIAL, REPAIR = 0x40, 0x80
ETHER = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02")
A4, A6 = IP(src="10.0.0.2", dst="198.51.100.1"), IPv6(src="fd00::2", dst="2001:db8:1::1")
X4, X6 = IP(src="198.51.100.1", dst="192.0.2.1"), IPv6(src="2001:db8:1::1", dst="2001:db8::1")
H4 = IP(src="10.0.0.3", dst="192.0.2.1")
SYN = TCP(sport=5000, dport=80, flags="S")
U = UDP(sport=5000, dport=53)


def seed(name, *steps, filtering=0):
    """One input: see the opening of fuzz_nat.c. A step: what, and a packet or a number."""
    data = bytes([filtering])
    for what, argument in steps:
        if isinstance(argument, int):
            data += struct.pack("<BH", what, argument)
        else:
            frame = bytes(argument)
            data += struct.pack("<BH", what, len(frame)) + frame
    path = pathlib.Path(__file__).parent / "corpus" / "fuzz_nat"
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)


both = [(ANSWER | REPAIR, 0), (REFUSE, 0), (ERROR, 0), (WAIT, 100)]
seed("udp4", (OUT, ETHER / A4 / U / b"data"), *both)
seed("udp6", (OUT, ETHER / A6 / U / b"data"), *both)
seed("tcp4", (OUT, ETHER / A4 / SYN), *both)
seed("tcp6-vlan", (OUT, ETHER / Dot1Q(vlan=5) / A6 / SYN), *both)
seed("partial", (OUT | PARTIAL, ETHER / A4 / SYN / bytes(300)), (OUT | PARTIAL, ETHER / A6 / U / b"odd"), *both)
seed("ping4", (OUT, ETHER / A4 / ICMP(id=7) / b"data"), *both)
seed("ping6", (OUT, ETHER / A6 / ICMPv6EchoRequest(id=7) / b"data"), *both)
seed("gre", (OUT, ETHER / A4 / GRE() / A4 / U), *both)
seed("error4", (OUT, ETHER / A4 / U), (ERROR, 0), (IN, ETHER / X4 / ICMP(type=11) / X4 / U))
seed("error6", (OUT, ETHER / A6 / IPv6ExtHdrDestOpt() / U), (ERROR, 0),
     (IN, ETHER / X6 / ICMPv6DestUnreach() / X6 / IPv6ExtHdrFragment() / U))
seed("forward", (IN, ETHER / X4 / TCP(sport=9, dport=85, flags="S")), (REFUSE, 0), (CHANGE, 1),
     (IN, ETHER / X6 / UDP(sport=9, dport=85)))
seed("filtering", (OUT, ETHER / A4 / U), (IN, ETHER / X4 / UDP(sport=99, dport=5000)), (CHANGE, 2),
     (IN, ETHER / IP(src="203.0.113.1", dst="192.0.2.1") / UDP(sport=99, dport=5000)), filtering=1)
seed("hairpin", (HAIRPIN, ETHER / H4 / TCP(sport=6000, dport=80, flags="S")), (HAIRPIN, ETHER / H4 / ICMP()))
seed("fragment", (OUT, ETHER / IP(src="10.0.0.2", dst="198.51.100.1", flags="MF") / U / bytes(40)),
     (OUT, ETHER / A6 / IPv6ExtHdrFragment(m=1, nh=17) / bytes(40)))
seed("options", (OUT | REPAIR, ETHER / IP(src="10.0.0.2", dst="198.51.100.1", options=b"\x83\x07\x04\1\2\3\4\0") / U),
     (OUT | REPAIR, ETHER / IP(src="10.0.0.2", dst="198.51.100.1", flags=0, options=b"\x94\x04\0\0") / U))
