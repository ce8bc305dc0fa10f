#!/usr/bin/python3
"""Writes the seeds of fuzz_dns to tests/fuzz/corpus/fuzz_dns: messages made by scapy."""

import pathlib
import struct

from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRROPT, DNSRRSOA

QUERY, ANSWER, TCP = 0, 1, 2
NAME = "www.example.com"
SYN, ACK, FIN, RST = 0, 1, 2, 3
V6 = 32


def seed(name, kind, data):
    path = pathlib.Path(__file__).parent / "corpus" / "fuzz_dns"
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(bytes([kind]) + data)


def query(name, qtype="A", **header):
    return bytes(DNS(id=1, rd=1, qd=DNSQR(qname=name, qtype=qtype), **header))


def answer(name, qtype, flags=0, **sections):
    """What fuzz_answer() puts before it is cut off: the header's first half and the question."""
    message = bytes(DNS(id=0x1234, qr=1, qd=DNSQR(qname=NAME, qtype=qtype), **sections))
    counts, rest = message[6:12], message[12 + len(NAME) + 2 + 4:]
    seed(name, ANSWER, struct.pack(">BH", flags, qtype) + counts + rest)


def steps(name, *each):
    """Steps of (flags, data, ...): in order as data is taken from the end."""
    head, tail = b"", b""
    for flags, data, *more in each:
        which, sequence, acknowledged, time = (list(more) + [0, 0, 0, 0][len(more):])
        head += struct.pack("BbbBB", flags << 1 | which, sequence, acknowledged, len(data), time)
        tail = data + tail
    seed(name, TCP, head + tail)


for i, (name, qtype) in enumerate([("web.lab.internal", "A"), ("web", "AAAA"), ("lab.internal", "SOA"),
                                   ("printer.lab.internal", "AAAA"), ("2.0.9.10.in-addr.arpa", "PTR"),
                                   ("0." * 30 + "d.f.ip6.arpa", "PTR"), ("example.com", "ALL"),
                                   ("x.localhost", "A"), ("db.example.org", "MX"), ("example.com", "AXFR")]):
    seed(f"query{i}", QUERY, bytes([i % 2]) + query(name, qtype))
seed("edns", QUERY, b"\0" + query("web.lab.internal", ar=DNSRROPT(rclass=4096, z=0x8000)))
seed("version", QUERY, b"\0" + query("web.lab.internal", ar=DNSRROPT(version=1)))
seed("response", QUERY, b"\0" + query("web.lab.internal", qr=1))
seed("notify", QUERY, b"\0" + query("web.lab.internal", opcode=4))

A, CNAME, PTR, TXT = 1, 5, 12, 16
SOA = DNSRRSOA(rrname="example.com", mname="a.example.com", rname="b.example.com", ttl=900, minimum=60)
answer("a", A, an=DNSRR(rrname=NAME, rdata="192.0.2.1", ttl=60))
answer("chain", A, an=DNSRR(rrname=NAME, type="CNAME", rdata="b.example.org", ttl=60) /
       DNSRR(rrname="b.example.org", type="CNAME", rdata=NAME, ttl=50) /
       DNSRR(rrname="b.example.org", rdata="192.0.2.2", ttl=40))
answer("nothing", A, ns=SOA)
answer("nxdomain", TXT, flags=0x30, ns=SOA)
answer("dname", A, flags=3, an=DNSRR(rrname="example.com", type="DNAME", rdata="example.org", ttl=60) /
       DNSRR(rrname=NAME, type="CNAME", rdata="www.example.org", ttl=60))
answer("many", A, an=[DNSRR(rrname=NAME, rdata=f"192.0.2.{i}", ttl=i) for i in range(90)])
answer("txt", TXT, an=DNSRR(rrname=NAME, type="TXT", rdata=[b"x" * 255, b"y"], ttl=0x80000000))

one = query("web.lab.internal")
framed = struct.pack(">H", len(one)) + one
steps("ask", (SYN, b""), (ACK, b""), (ACK, framed), (ACK | 0, b""), (FIN, b""), (ACK, b""))
steps("ask6", (SYN | V6 >> 1, b""), (ACK | V6 >> 1, b""), (ACK | V6 >> 1, framed + framed), (FIN | V6 >> 1, b""))
steps("two", (SYN, b""), (SYN, b"", 1), (ACK, b""), (ACK, b"", 1), (ACK, framed, 1), (ACK, framed), (RST, b""))
steps("pieces", (SYN, b""), (ACK, b""), (ACK, framed[:1]), (ACK, framed[1:9]), (ACK, framed[9:], 0, 5), (ACK, framed[9:]))
steps("idle", (SYN, b""), (ACK, b""), (ACK, b"", 0, 0, 0, 255), (ACK, framed, 0, -1))
