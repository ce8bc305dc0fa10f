#!/usr/bin/python3
"""Writes the seeds of fuzz_dhcp to tests/fuzz/corpus/fuzz_dhcp: messages made by scapy."""

import pathlib
import struct

from scapy.layers.dhcp import BOOTP, DHCP

SERVER = ("server_id", "10.0.0.1")
DIRECTORY = pathlib.Path(__file__).parent / "corpus" / "fuzz_dhcp"


def message(client, port, kind, *options, raw=False, **fields):
    """One step with a message: see the opening of fuzz_dhcp.c."""
    data = bytes(BOOTP(xid=client, chaddr=b"\x52\x54\0\0\0" + bytes([client]), **fields)
                 / DHCP(options=[("message-type", kind), *options, "end"]))
    return bytes([0, (0x80 if raw else 0) | port << 3 | client]) + struct.pack(">H", len(data)) + data


def event(time=0, probe=None, forget=False, tick=True):
    """Time goes by; a probe finds somebody (True) or nobody (False)."""
    what = 0x80 | (0 if probe is None else 1) | (2 if probe else 0) | (4 if forget else 0) | (8 if tick else 0)
    return bytes([what, time])


def seed(name, *steps, probe=False):
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / name).write_bytes(bytes([probe]) + b"".join(steps))


def lease(client, port, address):
    return (message(client, port, "discover", ("requested_addr", address)),
            message(client, port, "request", SERVER, ("requested_addr", address)))


seed("lease", *lease(2, 1, "10.0.0.5"), event(200), message(2, 1, "request", ciaddr="10.0.0.5"))
seed("reserved", *lease(1, 1, "10.0.0.20"), message(1, 1, "request", ("requested_addr", "10.0.0.20")))
seed("release", *lease(2, 1, "10.0.0.5"), message(2, 1, "release", SERVER, ciaddr="10.0.0.5"))
seed("decline", *lease(2, 1, "10.0.0.5"), message(2, 1, "decline", SERVER, ("requested_addr", "10.0.0.5")),
     message(2, 1, "discover"))
seed("inform", message(3, 0, "inform", ("param_req_list", [1, 3, 6, 15, 224]), ciaddr="10.0.0.9"))
seed("identifiers", message(2, 1, "discover", ("client_id", b"\0abc")), message(3, 2, "discover", ("client_id", b"\0abc")),
     message(4, 1, "request", ("client_id", b"\0abc"), ciaddr="10.0.0.7"))
seed("names", *(step for n in (2, 3) for step in (
    message(n, n, "discover", ("requested_addr", f"10.0.0.{n}")),
    message(n, n, "request", SERVER, ("requested_addr", f"10.0.0.{n}"), ("hostname", b"same"),
            ("client_FQDN", b"\x05\0\0\4name\3org\0")))))
seed("probe", message(2, 1, "discover"), event(probe=True), event(probe=False), message(2, 1, "discover"), event(60),
     message(2, 2, "discover"), probe=True)
seed("two-ports", *lease(2, 1, "10.0.0.5"), message(2, 2, "request", ciaddr="10.0.0.5"), event(forget=True),
     message(2, 2, "request", ciaddr="10.0.0.5"))
seed("other-server", message(2, 1, "discover"), message(2, 1, "request", ("server_id", "10.0.0.9"),
                                                        ("requested_addr", "10.0.0.9")))
seed("sizes", message(2, 1, "discover", ("max_dhcp_size", 576), ("lease_time", 100)),
     message(3, 1, "discover", ("max_dhcp_size", 1500), ("client_id", bytes(200))))
seed("overload", message(2, 1, "discover", ("dhcp-option-overload", 3), file=b"\x0c\3foo\xff", sname=b"\x32\4\x0a\0\0\7\xff"))
seed("raw", message(2, 1, "offer", raw=True), message(3, 1, "discover", raw=True, giaddr="10.0.0.8"),
     message(3, 1, "discover", raw=True, op=2))
