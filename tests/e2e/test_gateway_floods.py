"""What one guest may do to the gateway, by the thousand, while the other one's ping and TCP connection go on.

Each flood is counted by names that a person can ask for, takes no memory to speak of, and leaves weftd, the other
guest, and the guest itself as they were.
"""

import contextlib
import os
import random
import socket
import struct
import threading

import pytest
from flood import ICMP, TCP, UDP, Flooder, echo_request, ethernet, icmp6, ipv4, ipv6, udp, udp6
from frames import checksum, mac_bytes
from gateway_place import FAR, HOST, INSIDE, OUTSIDE, Place, config, exchange, guest_address, wait_value
from lab import Lab, mac, needs_root
from process import Child

pytestmark = [needs_root, pytest.mark.sanitizer]
FRAMES = 2000
# A sanitizer holds on to what was freed.
MEMORY = (24 << 20) if "asan" not in os.environ.get("WEFT_BUILD", "") else 400 << 20
OWN, OWN6 = guest_address("a", 4), guest_address("a", 6)
ALL, ALL_NODES, ALL_ROUTERS = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "33:33:00:00:00:02"
MORE = 0x2000  # of IPv4's fragment field
rng = random.Random(4)  # noqa: S311


def some_mac():
    return f"52:54:{rng.randrange(256):02x}:{rng.randrange(256):02x}:{rng.randrange(256):02x}:01"


def some_ip():
    return f"10.8.0.{rng.randrange(2, 255)}"


def some_ip6():
    return f"fd00:8::{rng.randrange(1, 1 << 16):x}:{rng.randrange(1 << 16):x}"


def arp(operation, own_mac, own_ip, to_mac, to_ip):
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, operation, mac_bytes(own_mac), socket.inet_aton(own_ip),
                       mac_bytes(to_mac), socket.inet_aton(to_ip))


def ip6_bytes(text):
    return socket.inet_pton(socket.AF_INET6, text)


def solicit(source, target, own):
    group = "ff02::1:ff" + "%02x:%02x%02x" % tuple(ip6_bytes(target)[13:])
    return ipv6(source, group, 58, icmp6(source, group, 135, bytes(4) + ip6_bytes(target) + b"\1\1" + mac_bytes(own)),
                255)


def dhcp(chaddr, kind, number, ip="0.0.0.0", extra=b""):
    message = struct.pack(">BBBBIHH4s4s4s4s16s64s128sI", 1, 1, 6, 0, number, 0, 0x8000, socket.inet_aton(ip), bytes(4),
                          bytes(4), bytes(4), mac_bytes(chaddr), b"", b"", 0x63825363)
    return udp(68, 67, message + bytes([53, 1, kind]) + extra + b"\xff")


def dns_question(number, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def tcp_syn(source, port, addresses=None):
    """With a checksum where the addresses are given."""
    segment = struct.pack(">HHIIBBHHH", source, port, 1, 0, 5 << 4, 2, 1000, 0, 0)
    if addresses:
        pseudo = b"".join(map(socket.inet_aton, addresses)) + struct.pack(">HH", TCP, len(segment))
        segment = segment[:16] + struct.pack(">H", 0xffff & ~checksum(segment, checksum(pseudo))) + segment[18:]
    return segment


# Each makes the i-th frame of its flood.

def arp_requests(f, i):
    sender = some_mac()
    return ethernet(sender, ALL, 0x806, arp(1, sender, some_ip(), "00:00:00:00:00:00", some_ip()))


def arp_requests_of_its_own(f, i):
    return ethernet(f.own, ALL, 0x806, arp(1, f.own, OWN, "00:00:00:00:00:00", f"10.8.0.{i % 254 + 1}"))


def arp_as_gateway(f, i):
    return ethernet(f.own, ALL, 0x806, arp(2, f.own, INSIDE[4], f.own, INSIDE[4]))


def arp_as_neighbour(f, i):
    victim = guest_address("b", 4)
    return ethernet(f.own, f.gateway, 0x806, arp(2, f.own, victim, f.gateway, INSIDE[4]))


def nd_solicitations(f, i):
    return ethernet(f.own, "33:33:ff:00:00:01", 0x86dd, solicit(some_ip6(), INSIDE[6], f.own))


def nd_of_its_own(f, i):
    return ethernet(f.own, "33:33:ff:00:00:01", 0x86dd, solicit(OWN6, some_ip6(), f.own))


def nd_as_gateway(f, i):
    body = struct.pack(">I", 0xa0000000) + ip6_bytes(INSIDE[6]) + b"\2\1" + mac_bytes(f.own)
    return ethernet(f.own, ALL_NODES, 0x86dd, ipv6(OWN6, "ff02::1", 58, icmp6(OWN6, "ff02::1", 136, body), 255))


def router_advertisements(f, i):
    own = "fe80::5054:ff:fe00:b"
    body = struct.pack(">BBHII", 64, 0, 9000, 0, 0) + struct.pack(">BBBBIII16s", 3, 4, 64, 0xc0, 9000, 9000, 0,
                                                                 ip6_bytes("2001:db8:bad::"))
    return ethernet(f.own, ALL_NODES, 0x86dd, ipv6(own, "ff02::1", 58, icmp6(own, "ff02::1", 134, body), 255))


def redirects(f, i):
    own, victim = "fe80::5054:ff:fe00:b", guest_address("b", 6)
    body = bytes(4) + ip6_bytes(own) + ip6_bytes(FAR[6])
    return ethernet(f.own, mac(12), 0x86dd, ipv6(own, victim, 58, icmp6(own, victim, 137, body), 255))


def dhcp_starvation(f, i):
    return ethernet(f.own, ALL, 0x800, ipv4("0.0.0.0", "255.255.255.255", UDP, dhcp(some_mac(), 1, i)))


def dhcp_of_many_macs(f, i):
    sender = some_mac()
    return ethernet(sender, ALL, 0x800, ipv4("0.0.0.0", "255.255.255.255", UDP, dhcp(sender, 1, i)))


def dhcp_requests(f, i):
    wanted = b"\x32\4" + socket.inet_aton(some_ip()) + b"\x36\4" + socket.inet_aton(INSIDE[4])
    return ethernet(f.own, ALL, 0x800, ipv4("0.0.0.0", "255.255.255.255", UDP, dhcp(some_mac(), 3, i, extra=wanted)))


def dhcp_declines(f, i):
    wanted = b"\x32\4" + socket.inet_aton(some_ip()) + b"\x36\4" + socket.inet_aton(INSIDE[4])
    return ethernet(f.own, ALL, 0x800, ipv4("0.0.0.0", "255.255.255.255", UDP, dhcp(f.own, 4, i, extra=wanted)))


def dhcp_answers(f, i):
    """As a server of its own."""
    return ethernet(f.own, ALL, 0x800, ipv4(OWN, "255.255.255.255", UDP, udp(67, 68, bytes(300))))


def fragments_never_completed(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], UDP, udp(7, 7, bytes(1000), 2008), identification=i, fragment=MORE))


def fragments_tiny(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], TCP, tcp_syn(7, 7)[:8], identification=i, fragment=MORE))


def fragments_overlapping(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], UDP, bytes(1024), identification=i // 4,
                             fragment=MORE | (0, 64, 100, 128)[i % 4]))


def fragments_beyond_the_end(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], UDP, bytes(1000), identification=i, fragment=0x1fff))


def fragments_to_the_gateway(f, i):
    return f.to_gateway(ipv4(OWN, INSIDE[4], ICMP, bytes(800), identification=i, fragment=MORE))


def fragments6(f, i):
    fragment = struct.pack(">BBHI", UDP, 0, 1, i) + udp6(OWN6, FAR[6], 7, 7, bytes(1000))
    return f.to_gateway(ipv6(OWN6, FAR[6], 44, fragment), 0x86dd)


def source_routing(f, i):
    way = b"\x83\x07\x04" + socket.inet_aton(FAR[4]) + b"\0"
    return f.to_gateway(ipv4(OWN, INSIDE[4] if i % 2 else FAR[4], UDP, udp(7, 7), options=way))


def broken_options(f, i):
    options = (b"\x07\x00\x00\x00", b"\x07\xff\x04\x00", b"\x44\x01\x01\x01", b"\x94\x80\x00\x00")[i % 4]
    return f.to_gateway(ipv4(OWN, FAR[4], UDP, udp(7, 7), options=options))


def lying_headers(f, i):
    body = udp(7, 7, bytes(20))
    return f.to_gateway((ipv4(OWN, FAR[4], UDP, body, length=2000), ipv4(OWN, FAR[4], UDP, body, length=19),
                         ipv4(OWN, FAR[4], UDP, body, header_length=4), ipv4(OWN, FAR[4], UDP, body, header_length=15),
                         bytes([0x65]) + ipv4(OWN, FAR[4], UDP, body)[1:],
                         ipv4(OWN, FAR[4], UDP, body)[:17])[i % 6])


def lying_headers6(f, i):
    packet = ipv6(OWN6, FAR[6], UDP, udp6(OWN6, FAR[6], 7, 7, bytes(20)), length=2000)
    return f.to_gateway((packet, packet[:39], bytes([0x40]) + packet[1:])[i % 3], 0x86dd)


def lying_transports(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], *((UDP, udp(7, 7, b"", 7)), (UDP, udp(7, 7, b"", 100)), (UDP, b"\0\7\0\7"),
                                             (TCP, tcp_syn(7, 7)[:19]), (TCP, tcp_syn(7, 7)[:12] + b"\x10" + bytes(7)),
                                             (ICMP, b"\x08\0\0"))[i % 6]))


def wrong_checksums(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], UDP, udp(7, 7), bad_checksum=0x55))


def martians(f, i):
    source, destination = (("127.0.0.1", FAR[4]), ("224.0.0.1", FAR[4]), ("255.255.255.255", FAR[4]),
                           ("0.0.0.0", FAR[4]), (OWN, "127.0.0.1"), (OWN, "0.0.0.0"), (OWN, "240.0.0.1"),
                           ("192.0.2.77", FAR[4]), (FAR[4], FAR[4]))[i % 9]
    return f.to_gateway(ipv4(source, destination, UDP, udp(7, 7)))


def land_attacks(f, i):
    address = (INSIDE[4], OUTSIDE[4])[i % 2]
    return f.to_gateway(ipv4(address, address, TCP, tcp_syn(53, 53)))


def strange_ethertypes(f, i):
    return f.to_gateway(bytes(100), rng.choice([0x88b5, 0x8137, 0x8847, 0x0600]))


def broadcasts(f, i):
    return ethernet(f.own, ALL, 0x800, ipv4(OWN, "10.8.0.255", UDP, udp(7, 7, bytes(500))))


def dns_questions(f, i):
    return f.to_gateway(ipv4(OWN, INSIDE[4], UDP, udp(5000, 53, dns_question(i, f"h{i}.example.com"))))


def dns_nonsense(f, i):
    return f.to_gateway(ipv4(OWN, INSIDE[4], UDP, udp(5000, 53, rng.randbytes(rng.randrange(60)))))


def dns_connections(f, i):
    return f.to_gateway(ipv4(OWN, INSIDE[4], TCP, tcp_syn(1024 + i, 53, (OWN, INSIDE[4]))))


def pings_of_the_gateway(f, i):
    return f.to_gateway(ipv4(OWN, INSIDE[4], ICMP, echo_request(i, 1, bytes(1000))))


def pings_with_ttl_1(f, i):
    return f.to_gateway(ipv4(OWN, FAR[4], ICMP, echo_request(i), ttl=1))


def closed_ports(f, i):
    return f.to_gateway(ipv4(OWN, INSIDE[4], UDP, udp(7, 1000 + i)))


def absent_neighbours(f, i):
    return f.to_gateway(ipv4(OWN, f"10.255.0.{3 + i % 11}", UDP, udp(7, 1000 + i)))


def absent_neighbours6(f, i):
    to = f"fd00:ff::1:{i:x}"
    return f.to_gateway(ipv6(OWN6, to, UDP, udp6(OWN6, to, 7, 7)), 0x86dd)


def icmp_errors(f, i):
    """About packets that never were."""
    inner = ipv4(FAR[4], OWN, UDP, udp(7, 1024 + i))
    message = struct.pack(">BBHI", 3, 3, 0, 0) + inner
    message = message[:2] + struct.pack(">H", 0xffff & ~checksum(message)) + message[4:]
    return f.to_gateway(ipv4(OWN, FAR[4], ICMP, message))


SHARE = "drop.gateway_share"  # of what the gateway looks at: no port gets more
# Names of drops, or of counters as "part.name", that each frame of the flood is found under.
FLOODS = {
    arp_requests: ["drop.spoofed_mac"],
    arp_requests_of_its_own: [SHARE, "gateway.taken"],
    arp_as_gateway: ["drop.spoofed_server"],
    arp_as_neighbour: ["drop.spoofed_address"],
    nd_solicitations: [SHARE, "neighbours.answered", "gateway.claims_refused"],
    nd_of_its_own: [SHARE, "gateway.taken"],
    nd_as_gateway: ["drop.spoofed_server"],
    router_advertisements: ["drop.spoofed_server", SHARE, "icmp.ignored"],
    redirects: ["drop.spoofed_server"],
    dhcp_starvation: [SHARE, "dhcp.spoofed"],
    dhcp_of_many_macs: ["drop.spoofed_mac", SHARE, "dhcp.discover"],
    dhcp_requests: [SHARE, "dhcp.spoofed"],
    dhcp_declines: [SHARE, "dhcp.decline"],
    dhcp_answers: ["drop.spoofed_server", SHARE, "gateway.ignored"],
    fragments_never_completed: [SHARE, "reassembly.fragments"],
    fragments_tiny: [SHARE, "reassembly.tiny"],
    fragments_overlapping: [SHARE, "reassembly.fragments", "reassembly.overlap", "reassembly.after_overlap"],
    fragments_beyond_the_end: ["drop.ip_header"],
    fragments_to_the_gateway: [SHARE, "reassembly.fragments"],
    fragments6: [SHARE, "reassembly.fragments"],
    source_routing: ["drop.ip_options"],
    broken_options: ["drop.ip_options"],
    lying_headers: ["drop.ip_header", "drop.spoofed_address"],
    lying_headers6: ["drop.ip_header", "drop.spoofed_address"],
    lying_transports: ["drop.nat_malformed"],
    wrong_checksums: ["drop.ip_checksum"],
    martians: ["drop.ip_martian", "drop.spoofed_address"],
    land_attacks: ["drop.spoofed_address", "drop.spoofed_server"],
    strange_ethertypes: ["drop.not_for_gateway"],
    broadcasts: [],  # the segment's own affair
    dns_questions: [SHARE, "dns.queries"],
    dns_nonsense: [SHARE, "dns.queries"],
    dns_connections: [SHARE, "gateway.taken"],
    pings_of_the_gateway: [SHARE, "icmp.echo_answered"],
    pings_with_ttl_1: ["drop.ip_ttl"],
    closed_ports: [SHARE, "gateway.ignored"],
    absent_neighbours: [SHARE, "gateway.taken"],
    absent_neighbours6: [SHARE, "neighbours.solicited"],
    icmp_errors: ["drop.nat_icmp"],
}
# Without the guard a guest may be who it likes, but no more than that.
UNGUARDED = [nd_solicitations, router_advertisements, dhcp_of_many_macs, dhcp_answers, lying_headers, lying_headers6,
             martians, land_attacks]
MANY = {nd_solicitations: 8000}  # more than the gateway has room for neighbours


def make_place(antispoof):
    with contextlib.ExitStack() as stack:
        place = Place(Lab(stack))
        wanted = config(antispoof=antispoof)
        wanted["networks"]["net"]["dhcp"]["range"] = "10.8.0.100-10.8.0.199"
        place.start(wanted)
        place.plug()
        for name in ("a", "b"):
            for version in (4, 6):
                place.ping(name, FAR[version])
        yield place


@pytest.fixture(scope="module")
def guarded():
    yield from make_place(True)


@pytest.fixture(scope="module")
def unguarded():
    yield from make_place(False)


def counted(place):
    """Everything that is counted, by name: drops of any port, and counters as "part.name"."""
    found = {f"drop.{name}": count for name, count in place.drops().items()}
    for part, counters in place.counters().items():
        found.update({f"{part}.{name}": count for name, count in counters.items()})
    return found


class Other:
    """The other guest: connections to the far side that must not stand still."""

    def __init__(self, place):
        self.pairs = []
        for version in (4, 6):
            listener = place.listen("far", version, FAR[version])
            client = place.connect("b", listener.getsockname()[:2], version)
            server, _ = listener.accept()
            server.settimeout(20)
            self.pairs.append((client, server))
        self.rounds, self.problem = 0, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                for pair in self.pairs:
                    exchange(*pair)
                self.rounds += 1
        except Exception as problem:  # told by stop()
            self.problem = problem

    def stop(self):
        self._stop.set()
        self._thread.join(60)
        for pair in self.pairs:
            for side in pair:
                side.close()
        assert not self.problem, self.problem
        assert self.rounds > 0


def check_flood(place, lab, flood):
    place.lab, kept = lab, place.lab
    try:
        flooder, other = Flooder(place, "a"), Other(place)
        before, memory, frames = counted(place), place.memory(), MANY.get(flood, FRAMES)
        flooder.send((flood(flooder, i) for i in range(frames)), 200)
        place.ping("b", FAR[4])
        place.ping("b", INSIDE[6])
        other.stop()
        grown = {name: count - before.get(name, 0) for name, count in counted(place).items()
                 if count > before.get(name, 0)}
        if FLOODS[flood]:
            assert sum(grown.get(name, 0) for name in FLOODS[flood]) >= frames, grown
        assert place.memory() - memory < MEMORY
        # Itself it has not locked out either: with IPv6 for no longer than a moment.
        place.ping("a", FAR[4])
        wait_value(lambda: place.guests["a"].run("ping", "-n", "-c", 1, "-W", 1, HOST[6], check=False),
                   lambda output: " 0% packet loss" in output, "an answer to ping")
        place.api.call("sessions_flush")
    finally:
        place.lab = kept


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_flood(guarded, lab, flood):
    check_flood(guarded, lab, flood)


@pytest.mark.parametrize("flood", UNGUARDED, ids=lambda flood: flood.__name__)
def test_flood_unguarded(unguarded, lab, flood):
    check_flood(unguarded, lab, flood)


def test_leases_are_left_for_others(lab):
    """A guest that asks for addresses with ever new MACs and identifiers gets a few; the other one's client gets one
    at once, and keeps it."""
    place = Place(lab)
    place.start(config(antispoof=False, dhcp={"range": "10.8.0.100-10.8.0.199"}))
    place.plug()
    flooder = Flooder(place, "a")
    flooder.send(dhcp_of_many_macs(flooder, i) for i in range(FRAMES))
    script = lab.directory / "lease.sh"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "lease $ip"\nexit 0\n')
    script.chmod(0o755)
    client = Child(["busybox", "udhcpc", "-f", "-q", "-n", "-t", 10, "-i", "tb", "-s", script],
                   namespace=place.guests["b"].name)
    lab.stack.callback(client.kill)
    client.wait_for("lease 10.8.0.", 30)
    counters = place.counters()["dhcp"]
    assert counters["port_limit"] > 0 and counters.get("exhausted", 0) == 0, counters
    assert [row["mac"] for row in place.api.show("leases") if row["state"] == "bound"] == [mac(12)]
