#!/usr/bin/python3
"""Writes the seeds of fuzz_dhcp6 and fuzz_ra to tests/fuzz/corpus: whole exchanges, made by hand."""

import pathlib
import socket
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"
SERVER = bytes.fromhex("00030001525400aabbcc")
(SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, RELEASE, DECLINE, INFORMATION, RELAY) = (
    1, 3, 4, 5, 6, 8, 9, 11, 12)


def seed(target, name, records):
    path = CORPUS / target
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(b"".join(records))


def address(text):
    return socket.inet_pton(socket.AF_INET6, text)


def option(code, data=b""):
    return struct.pack(">HH", code, len(data)) + data


def duid(number):
    return option(1, bytes.fromhex("000300015254000000") + bytes([number]))


def ia(iaid, *addresses, code=3):
    inner = b"".join(option(5, address(a) + struct.pack(">II", 0, 0)) for a in addresses)
    return option(code, struct.pack(">III", iaid, 0, 0) + inner)


def dhcp6(kind, number, *options, server=False, flags=0):
    message = bytes([kind, 0, 0, number]) + duid(number)
    if server:
        message += option(2, SERVER)
    message += b"".join(options)
    return bytes([number & 7 | flags]) + struct.pack(">H", len(message)) + message


REQUESTED = option(6, struct.pack(">5H", 23, 24, 32, 39, 56))
NAME = option(39, b"\x01\x03web")
seed("fuzz_dhcp6", "exchange", [
    dhcp6(SOLICIT, 2, ia(1), REQUESTED), dhcp6(REQUEST, 2, ia(1, "fd00:122::5"), REQUESTED, server=True),
    dhcp6(RENEW, 2, ia(1, "fd00:122::5"), server=True), dhcp6(REBIND, 2, ia(1, "fd00:122::7")),
    dhcp6(CONFIRM, 2, ia(1, "fd00:122::5")), dhcp6(RELEASE, 2, ia(1, "fd00:122::5"), server=True)])
seed("fuzz_dhcp6", "rapid", [dhcp6(SOLICIT, n, option(14), ia(n), NAME, REQUESTED, flags=n << 3 & 0x18)
                             for n in range(8)])
seed("fuzz_dhcp6", "decline", [dhcp6(REQUEST, 3, ia(1, "fd00:122::6"), server=True),
                               dhcp6(DECLINE, 3, ia(1, "fd00:122::6"), server=True),
                               dhcp6(REQUEST, 3, ia(1, "fd00:122::6"), server=True, flags=32)])
seed("fuzz_dhcp6", "information", [dhcp6(INFORMATION, 4, REQUESTED), dhcp6(RELAY, 4)])
seed("fuzz_dhcp6", "kinds", [dhcp6(REQUEST, 1, ia(1), ia(2), ia(1, code=25), option(4, bytes(4)), server=True),
                             dhcp6(RENEW, 1, ia(1, "fd00:122::a", "fd00:122::b"), server=True, flags=64)])
seed("fuzz_dhcp6", "same", [dhcp6(REQUEST, n, ia(9, "fd00:122::5"), server=True).replace(duid(n), duid(5))
                            for n in (5, 6, 5, 7)])


def nd(source, wait, kind, rest):
    message = bytes([kind, 0, 0, 0]) + rest
    return bytes([source, wait, len(message)]) + message


def prefix(text, flags=0xC0, valid=86400, preferred=14400):
    return bytes([3, 4, 64, flags]) + struct.pack(">III", valid, preferred, 0) + address(text)


def router(lifetime, *options, flags=0):
    return bytes([64, flags]) + struct.pack(">HII", lifetime, 0, 0) + b"".join(options)


MTU = bytes([5, 1, 0, 0]) + struct.pack(">I", 1400)
LINK = bytes([1, 1]) + bytes.fromhex("525400000001")
RDNSS = bytes([25, 3, 0, 0]) + struct.pack(">I", 600) + address("2001:db8::53")
OURS = address("2001:db8:1:0:5054:ff:feaa:bbcc")
seed("fuzz_ra", "all", [nd(1, 20, 134, router(1800, LINK, MTU, prefix("2001:db8:1::"), RDNSS, flags=0xC8)),
                        nd(1, 255, 134, router(0, prefix("2001:db8:1::", valid=10, preferred=0)))])
seed("fuzz_ra", "duplicate", [nd(1, 20, 134, router(1800, prefix("2001:db8:1::"))), nd(2, 10, 136, bytes(4) + OURS),
                              nd(0, 12, 135, bytes(4) + OURS),
                              nd(2, 1, 136, bytes(4) + address("fe80::5054:ff:feaa:bbcc"))])
seed("fuzz_ra", "routers", [nd(1 + (n & 1) + 4 * n, 30, 134, router(100 * n, flags=8 * n & 0x18)) for n in range(8)])
seed("fuzz_ra", "prefixes", [nd(1, 9, 134, router(9, *(prefix(f"2001:db8:{n:x}{m:x}::") for m in range(6))))
                             for n in range(1, 4)])
seed("fuzz_ra", "solicit", [nd(0, 20, 133, bytes(4)), nd(1, 3, 133, bytes(4) + LINK), nd(2, 200, 133, bytes(4))])
