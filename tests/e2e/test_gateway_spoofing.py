"""What a guest may not say it is: crafted frames that never arrive and are counted, unless `antispoof` is off."""

import contextlib

import pytest
from lab import Lab, mac, needs_root
from process import wait_until
from scapy.all import (ARP, BOOTP, DHCP, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr, IP, UDP,
                       DHCP6_Reply, Ether, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN, Raw)
from world import GATEWAY, World

pytestmark = needs_root
EVIL = b"an evil frame"
ALL = "ff:ff:ff:ff:ff:ff"


@pytest.fixture(scope="module", params=["guarded", "network-off", "port-off"])
def world(request):
    with contextlib.ExitStack() as stack:
        network = {"antispoof": False} if request.param == "network-off" else {}
        world = World(Lab(stack), "routed", "tap", network=network)
        world.guarded = request.param == "guarded"
        if request.param == "port-off":
            world.config["ports"]["a"]["antispoof"] = False
            world.apply()
        a, b = world.up("a", "b")
        a.ping(b.address(6))
        world.gateway_mac = world.leg_mac()
        yield world


def link_local(guest):
    return guest.run("ip", "-br", "-6", "addr", "show", "dev", guest.device, "scope", "link").split()[2].split("/")[0]


def ether(world, source=None, destination=None):
    return Ether(src=source or world.guests["a"].mac, dst=destination or world.guests["b"].mac)


def datagram(world, source, port=1111, to=2222):
    network = IPv6 if ":" in source else IP
    b = world.guests["b"].address(6 if ":" in source else 4)
    return network(src=source, dst=b) / UDP(sport=port, dport=to) / Raw(EVIL)


def advertisement(target, source=None, solicited=1):
    return (IPv6(src=source or target, dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt=target, R=0, S=solicited, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac(1)) / Raw(EVIL))


# Each makes a packet of the guest a's; with it the name under which it is counted.
CASES = {
    "mac": ("spoofed_mac", lambda w, a, b: ether(w, source=mac(0x99)) / datagram(w, a.address(4))),
    "mac of the other": ("spoofed_mac", lambda w, a, b: ether(w, source=b.mac) / datagram(w, a.address(4))),
    "mac of the gateway": ("spoofed_mac", lambda w, a, b: ether(w, source=w.gateway_mac) / datagram(w, a.address(4))),
    "ipv4 never leased": ("spoofed_address", lambda w, a, b: ether(w) / datagram(w, "10.8.0.250")),
    "ipv4 of elsewhere": ("spoofed_address", lambda w, a, b: ether(w) / datagram(w, "192.0.2.1")),
    "ipv4 of the gateway": ("spoofed_server", lambda w, a, b: ether(w) / datagram(w, GATEWAY[4])),
    "ipv6 of elsewhere": ("spoofed_address", lambda w, a, b: ether(w) / datagram(w, "fd00:77::1")),
    "ipv6 of the gateway": ("spoofed_server", lambda w, a, b: ether(w) / datagram(w, GATEWAY[6])),
    "ipv6 of the other": ("claims_refused", lambda w, a, b: ether(w) / datagram(w, b.address(6))),
    "link-local of the gateway": ("spoofed_server", lambda w, a, b: ether(w) / datagram(
        w, w.state()["gateway"]["link_local"])),
    "link-local of the other": ("claims_refused", lambda w, a, b: ether(w) / datagram(w, link_local(b))),
    "arp of the gateway": ("spoofed_server", lambda w, a, b: ether(w) / ARP(
        op=2, hwsrc=a.mac, psrc=GATEWAY[4], hwdst=b.mac, pdst=b.address(4)) / Raw(EVIL)),
    "arp of the other": ("spoofed_address", lambda w, a, b: ether(w, destination=ALL) / ARP(
        op=1, hwsrc=a.mac, psrc=b.address(4), pdst=b.address(4)) / Raw(EVIL)),
    "arp with another mac": ("spoofed_mac", lambda w, a, b: ether(w) / ARP(
        op=2, hwsrc=mac(0x99), psrc=a.address(4), hwdst=b.mac, pdst=b.address(4)) / Raw(EVIL)),
    "na of the gateway": ("spoofed_server", lambda w, a, b: ether(w) / advertisement(GATEWAY[6], a.address(6))),
    "na of the gateway's link-local": ("spoofed_server", lambda w, a, b: ether(w) / advertisement(
        w.state()["gateway"]["link_local"], a.address(6))),
    "na of the other": ("spoofed_address", lambda w, a, b: ether(w) / advertisement(b.address(6), a.address(6))),
    "na of the other's link-local": ("spoofed_address", lambda w, a, b: ether(w) / advertisement(
        link_local(b), a.address(6))),
    "ra": ("spoofed_server", lambda w, a, b: ether(w) / IPv6(src=link_local(a), dst="ff02::1", hlim=255)
           / ICMPv6ND_RA() / Raw(EVIL)),
    "ra behind options": ("spoofed_server", lambda w, a, b: ether(w) / IPv6(
        src=link_local(a), dst="ff02::1", hlim=255) / IPv6ExtHdrDestOpt(options=PadN(optdata=b"1234"))
        / ICMPv6ND_RA() / Raw(EVIL)),
    "ra in fragments": ("spoofed_server", lambda w, a, b: ether(w) / IPv6(src=link_local(a), dst="ff02::1", hlim=255)
                        / IPv6ExtHdrFragment(m=1, id=7) / ICMPv6ND_RA() / Raw(EVIL)),
    "redirect": ("spoofed_server", lambda w, a, b: ether(w) / IPv6(
        src=link_local(a), dst=b.address(6), hlim=255) / ICMPv6ND_Redirect(tgt=link_local(a)) / Raw(EVIL)),
    "dhcp server": ("spoofed_server", lambda w, a, b: ether(w) / IP(src=a.address(4), dst="255.255.255.255")
                    / UDP(sport=67, dport=68) / BOOTP(op=2) / DHCP(options=[("message-type", 2)]) / Raw(EVIL)),
    "dhcp server on another port": ("spoofed_server", lambda w, a, b: ether(w) / IP(
        src=a.address(4), dst=b.address(4)) / UDP(sport=6767, dport=68) / BOOTP(op=2)
        / DHCP(options=[("message-type", 2)]) / Raw(EVIL)),
    "dhcpv6 server in fragments": ("spoofed_server", lambda w, a, b: ether(w) / IPv6(
        src=link_local(a), dst=link_local(b)) / IPv6ExtHdrFragment(m=1, id=7) / UDP(sport=1547, dport=546)
        / DHCP6_Reply() / Raw(EVIL)),
    "dhcpv6 server": ("spoofed_server", lambda w, a, b: ether(w) / IPv6(src=link_local(a), dst=link_local(b))
                      / UDP(sport=547, dport=546) / DHCP6_Reply() / Raw(EVIL)),
}


def count(world, reason):
    return (world.counters("gateway")[reason] if reason == "claims_refused"
            else world.drops("a").get(reason, 0))


@pytest.mark.parametrize("case", CASES)
def test_spoofed(world, case):
    if not world.guarded and case in ("mac of the other", "mac of the gateway"):
        pytest.skip("the bridge sends nothing back to where an address has moved")
    reason, make = CASES[case]
    a, b = world.guests["a"], world.guests["b"]
    frame = bytes(make(world, a, b))
    before = count(world, reason)
    with contextlib.closing(a.namespace.raw_socket(a.device)) as sender, \
            contextlib.closing(b.namespace.raw_socket(b.device)) as receiver:
        sender.send(frame)
        if not world.guarded:
            assert receiver.receive_matching(lambda got: EVIL in got)[1] == frame
            return
        wait_until(lambda: count(world, reason) == before + 1, timeout=5,
                   what=f"{reason}: {world.drops('a')} {world.counters('gateway')}")
        # What is sent after it arrives, and it has not.
        marker = bytes(ether(world) / datagram(world, a.address(4)).copy()).replace(EVIL, b"a good frame!")
        sender.send(marker)
        while b"a good frame!" not in (got := receiver.receive()[1]):
            assert EVIL not in got


@pytest.mark.sanitizer
def test_guests_still_work(world):
    """After all that, if it was of no use."""
    if not world.guarded:
        pytest.skip("tables are poisoned")
    a, b = world.guests["a"], world.guests["b"]
    for family in (4, 6):
        assert a.ping(GATEWAY[family]) and a.ping(b.address(family)) and b.ping(GATEWAY[family])


def test_addresses_that_nobody_gives(lab):
    """Without DHCP (and without advertisements) guests have the addresses they say they have: whoever says it first."""
    world = World(lab, "isolated", "none", network={"dhcp": False, "ra": False, "antispoof": True})
    a, b = world.guests["a"], world.guests["b"]
    a.static("10.8.0.50/24", "fd00:8::50/64")
    b.static("10.8.0.51/24", "fd00:8::51/64")
    for target in (GATEWAY[4], "10.8.0.51", GATEWAY[6], "fd00:8::51"):
        assert a.ping(target)
    refused = world.counters("gateway")["claims_refused"]
    with contextlib.closing(a.namespace.raw_socket(a.device)) as sender:
        for packet in (datagram(world, "10.8.0.51"), datagram(world, "fd00:8::51"), datagram(world, "10.8.0.255")):
            sender.send(bytes(ether(world) / packet))
        for packet in (datagram(world, GATEWAY[4]), datagram(world, GATEWAY[6])):
            sender.send(bytes(ether(world) / packet))
    wait_until(lambda: world.counters("gateway")["claims_refused"] == refused + 2, what="claims of the other's")
    world.until_dropped("a", "spoofed_server", 1)
    # Given by a server again, they are nobody's to choose.
    world.config["networks"]["lab"]["dhcp"] = True
    world.apply()
    assert not a.ping(GATEWAY[4], wait=1) and a.ping(GATEWAY[6])
    world.until_dropped("a", "spoofed_address")
