#!/usr/bin/env python3
"""Writes the seeds of fuzz_neighbour and fuzz_reassembly into tests/fuzz/corpus: usual lives of neighbours, and packets
in fragments. The formats are told in the fuzzers."""
import pathlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"

# fuzz_neighbour: steps
US4, GUEST4, OTHER4, FOREIGN4 = 0x81, 0x85, 0x86, 0xC5
US6, GUEST6, LINK6, GROUP6 = 0x01, 0x05, 0x45, 0x21
REQUEST, REPLY = 1, 2
SOLICIT, MAC, FAR, TO_GROUP = 0x01, 0x02, 0x40, 0x80
S, O = 0x40, 0x20


def arp(operation, sender, target, mac=9):
    return bytes([1, operation, mac, sender, target])


def nd(shape, source, destination, target, flags=0, mac=9):
    return bytes([2, shape, 9, source, destination, target, flags]) + (bytes([mac]) if shape & MAC else b"")


def resolve(ip, length=1):
    return bytes([3, length, ip])


def time(seconds):
    return bytes([4, 125, seconds // 2])  # 16 ms * 125 * n


def manage(what, ip=GUEST4, mac=9):
    return bytes([5, what, ip, mac])


def raw(frame):
    return bytes([0, len(frame)]) + frame


ARP_FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\x09\x08\x06\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x09\x0a\0\0\x05" + b"\0" * 6 + b"\x0a\0\0\x01"
neighbour = {
    "asked": arp(REQUEST, GUEST4, US4),
    "asked_nd": nd(SOLICIT | MAC | TO_GROUP, GUEST6, 0, US6),
    "asked_link_local": nd(SOLICIT | MAC, LINK6, US6, US6),
    "answered": resolve(GUEST4) * 4 + arp(REPLY, GUEST4, US4) + resolve(GUEST4) + time(40) + resolve(GUEST4) + time(20),
    "answered_nd": resolve(GUEST6) + nd(MAC, GUEST6, US6, GUEST6, S | O) + time(40) + resolve(GUEST6) + time(6)
    + nd(0, GUEST6, US6, GUEST6, S),
    "unreachable": resolve(GUEST4, 250) + resolve(GUEST6, 3) + time(4),
    "moved": arp(REQUEST, GUEST4, US4) + arp(REPLY, GUEST4, US4, 10) + nd(SOLICIT | MAC, GUEST6, US6, US6)
    + nd(MAC, GUEST6, US6, GUEST6, O, 10) + nd(MAC, GUEST6, US6, GUEST6, 0, 11),
    "conflict": arp(REQUEST, US4, US4) * 2 + nd(MAC, US6, GROUP6, US6, O) * 2 + time(10) + arp(REPLY, US4, OTHER4),
    "foreign": arp(REQUEST, FOREIGN4, US4) + nd(SOLICIT | MAC | FAR, GUEST6, US6, US6) + arp(REQUEST, GUEST4, US4, 0x80),
    "scan": b"".join(resolve(0x82 + i, 200) for i in range(12)) + time(4),
    "flood": b"".join(arp(REQUEST, 0x82 + i, US4) for i in range(12)) + time(400) + time(400),
    "managed": manage(0) + arp(REPLY, GUEST4, US4, 10) + manage(1, OTHER4) + manage(2) + manage(4) + manage(5 + 6 * 8)
    + resolve(OTHER4) + manage(3) + manage(5 + 6),
    "bytes": raw(ARP_FRAME) + raw(ARP_FRAME[:30]) + resolve(GUEST4) + raw(b""),
}

# fuzz_reassembly: steps
V6, MORE, WAY, FAR_OFFSET, LONG, ODD = 1, 2, 4, 0x20, 0x40, 0x80


def fragment(offset, length, shape=MORE, which=1, owner=0):
    return bytes([0x24 + owner, shape, which, offset, length])


def packet(v6=0, which=1, owner=0, order=(0, 1, 2)):
    parts = [fragment(0, 100, MORE | v6, which, owner), fragment(100, 100, MORE | v6, which, owner),
             fragment(200, 50, v6, which, owner)]
    return b"".join(parts[i] for i in order)


def tick(seconds):
    return bytes([0x10, seconds * 4])


IPV4 = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + bytes.fromhex("4500001c0001200040ff46df0a0000010a000002") + b"12345678"
reassembly = {
    "in_order": packet() + packet(V6),
    "reversed": packet(order=(2, 1, 0)) + packet(V6, order=(2, 0, 1)),
    "together": packet(order=(0, 1)) + packet(V6, 2, order=(0, 2)) + packet(order=(2,)) + packet(V6, 2, order=(1,)),
    "twice": packet(order=(0, 0, 2, 2, 1)),
    "overlap": packet(order=(0,)) + fragment(50, 100) + packet(order=(1, 2)),
    "other_bytes": packet(order=(0,)) + fragment(0, 100, MORE | WAY) + packet(order=(1, 2)),
    "ends": packet(order=(2,)) + fragment(250, 10, 0) + packet(V6, order=(2,)) + fragment(240, 20, MORE | V6),
    "long": b"".join(fragment(i * 16, 64, MORE | LONG | FAR_OFFSET) for i in range(15)) + fragment(240, 60, FAR_OFFSET),
    "too_long": fragment(255, 255, LONG | FAR_OFFSET) + fragment(255, 255, LONG | FAR_OFFSET | V6),
    "odd": fragment(0, 100, MORE | ODD) + fragment(0, 100, MORE | ODD | V6) + fragment(100, 10, ODD),
    "tiny": fragment(0, 1, MORE, 0x11) + fragment(1, 10, MORE, 0x11) + fragment(0, 1, MORE | V6),
    "atomic": fragment(0, 100, V6),
    "timeout": packet(order=(0,)) + packet(V6, order=(1,)) + tick(31) + tick(31) + packet(order=(1, 2)),
    "flood": b"".join(fragment(0, 100, MORE, which, owner) for owner in range(4) for which in range(16)) + packet(),
    "forget": packet(order=(0, 1), owner=2) + b"\x22" + packet(order=(2,), owner=2),
    "bytes": bytes([0, len(IPV4)]) + IPV4 + bytes([1, 20]) + IPV4[:20],
}

for name, seeds in (("fuzz_neighbour", neighbour), ("fuzz_reassembly", reassembly)):
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for seed, data in seeds.items():
        (CORPUS / name / seed).write_bytes(data)
