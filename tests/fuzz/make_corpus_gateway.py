#!/usr/bin/python3
"""Writes the seeds of fuzz_gateway to tests/fuzz/corpus/fuzz_gateway: real frames, made by scapy."""

import pathlib
import struct

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Solicit, DHCP6OptClientId, DHCP6OptIA_NA, DUID_LL
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS, IPv6, IPv6ExtHdrFragment)
from scapy.layers.l2 import ARP, Dot1Q, Ether

NAT, UPLINK, ISOLATED, ROUTED = range(4)
GATEWAY, HEADER, REPAIR = 0x20, 0x40, 0x80
MAC = "52:54:00:00:00:0a"
TO_ALL = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
TO_GATEWAY = Ether(src=MAC, dst="02:00:00:00:01:01")
FAR, FAR6 = "198.51.100.7", "2001:db8::7"
PARTIAL = struct.pack("<BBHHHH", 1, 0, 0, 0, 34, 16)
TSO = struct.pack("<BBHHHH", 1, 1, 54, 1000, 34, 16)


def step(port, packet, flags=GATEWAY | REPAIR, header=b""):
    frame = bytes(packet)
    return struct.pack("<BH", port | flags | (HEADER if header else 0), len(frame)) + header + frame


def seed(name, *steps):
    """One input: see the opening of fuzz_gateway.c."""
    path = pathlib.Path(__file__).parent / "corpus" / "fuzz_gateway"
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(b"".join(steps))


def arp(port, op, source, target):
    return step(port, TO_ALL / ARP(op=op, hwsrc=MAC, psrc=source, pdst=target), 0)


A4, A6 = IP(src="10.1.0.10", dst=FAR), IPv6(src="fd00:1::10", dst=FAR6)
X4, X6 = IP(src=FAR, dst="192.0.2.2"), IPv6(src=FAR6, dst="fd00:f::2")
U, T = UDP(sport=5000, dport=53) / b"data", TCP(sport=5001, dport=80, flags="S")
KNOW_ROUTER = arp(UPLINK, 1, "192.0.2.1", "192.0.2.2")
KNOW_GUEST = arp(NAT, 1, "10.1.0.10", "10.1.0.1")

seed("arp", KNOW_GUEST, KNOW_ROUTER, arp(ISOLATED, 1, "10.2.0.9", "10.2.0.1"))
seed("out-and-in", KNOW_GUEST, KNOW_ROUTER, step(NAT, TO_GATEWAY / A4 / U),
     step(UPLINK, TO_GATEWAY / X4 / UDP(sport=53, dport=5000) / b"x"))
seed("tcp", KNOW_GUEST, KNOW_ROUTER, step(NAT, TO_GATEWAY / A4 / T, header=PARTIAL, flags=GATEWAY),
     step(UPLINK, TO_GATEWAY / X4 / TCP(sport=80, dport=5001, flags="SA")))
seed("six", step(NAT, TO_GATEWAY / A6 / T), step(UPLINK, TO_GATEWAY / X6 / TCP(sport=9, dport=80, flags="S")))
seed("forward", KNOW_ROUTER, step(UPLINK, TO_GATEWAY / X4 / UDP(sport=9, dport=81)),
     arp(NAT, 2, "10.1.0.11", "10.1.0.1"))
seed("hairpin", KNOW_GUEST, step(NAT, TO_GATEWAY / IP(src="10.1.0.10", dst="192.0.2.2") / UDP(sport=9, dport=82)))
seed("ttl", KNOW_GUEST, step(NAT, TO_GATEWAY / IP(src="10.1.0.10", dst=FAR, ttl=1) / U))
seed("prohibited", step(ISOLATED, TO_GATEWAY / IP(src="10.2.0.10", dst=FAR) / U))
seed("no-route", step(ROUTED, TO_GATEWAY / IP(src="10.3.0.10", dst=FAR) / U))
seed("via", step(ROUTED, TO_GATEWAY / IP(src="10.3.0.10", dst="172.16.1.1") / U), arp(ROUTED, 2, "10.3.0.7", "10.3.0.1"))
seed("spoofed", step(NAT, TO_GATEWAY / IP(src="10.9.9.9", dst=FAR) / U), step(UPLINK, TO_GATEWAY / A4 / U))
seed("ping", step(NAT, TO_GATEWAY / IP(src="10.1.0.10", dst="10.1.0.1") / ICMP(id=1) / bytes(2000)),
     step(NAT, TO_GATEWAY / IPv6(src="fd00:1::10", dst="fd00:1::1") / ICMPv6EchoRequest(id=2)))
seed("fragments", KNOW_ROUTER, *[step(NAT, TO_GATEWAY / part) for part in
                                 reversed(fragment(A4 / UDP(sport=1, dport=2) / bytes(3000), 1000))])
seed("fragments6", step(NAT, TO_GATEWAY / A6 / IPv6ExtHdrFragment(m=1, nh=17, id=7) / bytes(UDP(sport=1, dport=2, len=24)) / bytes(8)),
     step(NAT, TO_GATEWAY / A6 / IPv6ExtHdrFragment(offset=2, nh=17, id=7) / bytes(8)))
seed("large", KNOW_ROUTER, KNOW_GUEST, step(NAT, TO_GATEWAY / A4 / TCP(sport=7, dport=80, flags="A") / bytes(6000),
                                            flags=GATEWAY, header=TSO))
seed("too-big", KNOW_ROUTER, step(NAT, TO_GATEWAY / IP(src="10.1.0.10", dst=FAR, flags="DF") / UDP() / bytes(1600)),
     step(NAT, TO_GATEWAY / A4 / UDP() / bytes(1600)))
seed("unreachable", KNOW_GUEST, KNOW_ROUTER, step(NAT, TO_GATEWAY / A4 / U),
     step(UPLINK, TO_GATEWAY / X4 / ICMP(type=3, code=3) / IP(src="192.0.2.2", dst=FAR) / UDP(sport=5000, dport=53)))
seed("dhcp", *[step(ISOLATED, TO_ALL / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) /
                    BOOTP(chaddr=bytes.fromhex(MAC.replace(":", ""))) / DHCP(options=[("message-type", kind), "end"]),
                    REPAIR) for kind in ("discover", "request", "inform", "decline", "release")])
seed("dhcp6", step(ISOLATED, Ether(src=MAC, dst="33:33:00:01:00:02") / IPv6(src="fe80::5054:ff:fe00:a", dst="ff02::1:2") /
                   UDP(sport=546, dport=547) / DHCP6_Solicit(trid=1) / DHCP6OptClientId(duid=DUID_LL(lladdr=MAC)) /
                   DHCP6OptIA_NA(iaid=1), REPAIR))
seed("dns", KNOW_GUEST, step(NAT, TO_GATEWAY / IP(src="10.1.0.10", dst="10.1.0.1") / UDP(sport=9, dport=53) /
                             DNS(qd=DNSQR(qname="web"))),
     step(NAT, TO_GATEWAY / IP(src="10.1.0.10", dst="10.1.0.1") / TCP(sport=9, dport=53, flags="S")))
seed("nd", step(ISOLATED, Ether(src=MAC, dst="33:33:00:00:00:02") / IPv6(src="::", dst="ff02::2", hlim=255) / ICMPv6ND_RS(), REPAIR),
     step(ISOLATED, Ether(src=MAC, dst="33:33:ff:00:00:01") / IPv6(src="fd00:2::9", dst="ff02::1:ff00:1", hlim=255) /
          ICMPv6ND_NS(tgt="fd00:2::1"), REPAIR),
     step(ISOLATED, TO_GATEWAY / IPv6(src="fd00:2::9", dst="fd00:2::1", hlim=255) / ICMPv6ND_NA(tgt="fd00:2::1")))
seed("tagged", step(ISOLATED, TO_ALL / Dot1Q(vlan=7) / ARP(op=1, hwsrc=MAC, psrc="10.2.0.9", pdst="10.2.0.1"), 0),
     step(NAT, TO_GATEWAY / Dot1Q(vlan=0, prio=3) / A4 / U), step(NAT, TO_GATEWAY / Dot1Q(vlan=7) / A4 / U))
