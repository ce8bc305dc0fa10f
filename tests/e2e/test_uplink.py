"""Uplinks that change: addresses by DHCP and router advertisements, links that fall, uplinks replaced under running
guests, forwards, peers, restarts."""

import contextlib
import socket

import pytest
from lab import mac, needs_root
from process import wait_until
from world import GATEWAY, INTERNET, OUTSIDE, ROUTER, STATIC, Echo, World, give, ping, serve_dhcp, talk

pytestmark = needs_root
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


def outside(world):
    return world.state()["outside"]


def ipv4_outside(world):
    return next((address for address in outside(world)["addresses"] if "." in address), None)


def dynamic(lab, **network):
    """An interface as uplink without a word about its addresses, and a router that gives them."""
    world = World(lab, "nat", "interface", keys={"address": ["dhcp", "auto"]}, addresses=False, network=network)
    give(world.router, "wire0", "10.255.0.1/24", f"{ROUTER[6]}/64")
    return world


def udhcpd(lab, world, last, lease):
    """A server on the wire that gives 10.255.0.100 to `last`, for `lease` seconds."""
    config = lab.directory / "udhcpd.conf"
    config.write_text(f"""start 10.255.0.100
end {last}
interface wire0
min_lease 1
lease_file {lab.directory}/udhcpd.leases
pidfile {lab.directory}/udhcpd.pid
option subnet 255.255.255.0
option router 10.255.0.1
option lease {lease}
""")
    (lab.directory / "udhcpd.leases").touch()
    server = world.router.spawn("busybox", "udhcpd", "-f", config)
    lab.stack.callback(server.kill)
    return server


class Connection:
    """A TCP connection over which bytes go to and fro."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.number = 0

    def turn(self):
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            self.number += 1
            data = b"turn %6d" % self.number
            sender.sendall(data)
            assert receiver.recv(len(data), socket.MSG_WAITALL) == data


def connection(stack, client, server_namespace, target, family, port=0):
    listener = stack.enter_context(contextlib.closing(server_namespace.socket(
        socket.AF_INET if family == 4 else socket.AF_INET6, TCP)))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.settimeout(20)
    listener.bind(("", port))
    listener.listen()
    guest = stack.enter_context(client.socket(family, TCP, timeout=40))
    guest.connect((target, listener.getsockname()[1]))
    accepted, _ = listener.accept()
    accepted.settimeout(40)
    stack.enter_context(accepted)
    both = Connection(guest, accepted)
    both.turn()
    return both


@pytest.mark.sanitizer
def test_addresses_given(lab):
    """By DHCP and SLAAC; another one when the link comes back elsewhere; the host itself hears nothing of it."""
    world = dynamic(lab, dns={"domain": "lab.internal"})
    options = ("--dhcp-option=option:dns-server,10.99.0.2", "--dhcp-option=option6:dns-server,[fd00:99::2]")
    server = serve_dhcp(lab, world.router, "wire0", "10.255.0.100,10.255.0.120", "fd00:ff::", *options)
    first = wait_until(lambda: ipv4_outside(world), what="an address by DHCP")
    wait_until(lambda: any(":" in address for address in outside(world)["addresses"]), what="one by SLAAC")
    state = outside(world)
    assert first.startswith("10.255.0.1") and first.endswith("/24")
    assert state["dhcp"]["state"] == "bound" and state["dhcp"]["server"] == "10.255.0.1"
    assert "10.255.0.1" in state["gateways"] and "10.99.0.2" in state["dns"]
    a, _ = world.up("a", "b")
    for family in (4, 6):
        seen = a.talk(TCP, INTERNET[family])[0]
        assert seen in [address.split("/")[0] for address in state["addresses"]]
        assert a.talk(UDP, INTERNET[family])[0] == seen
    # The link comes back where another server is.
    server.kill()
    world.router.run("ip", "link", "set", "wire0", "down")
    wait_until(lambda: world.state()["uplink_link"] == "down", what="link down")
    serve_dhcp(lab, world.router, "wire0", "10.255.0.200,10.255.0.220", "fd00:ff::", *options)
    world.router.run("ip", "link", "set", "wire0", "up")
    give(world.router, "wire0", f"{ROUTER[6]}/64")
    second = wait_until(lambda: (now := ipv4_outside(world)) and now != first and now, timeout=40,
                        what="another address")
    assert second.startswith("10.255.0.2")
    assert a.talk(TCP, INTERNET[4])[0] == second.split("/")[0]


@pytest.mark.parametrize("length", [24, 25])
def test_prefix_of_the_inside(lab, length):
    """RFC 4787, REQ-7: what is given outside takes nothing from the inside, and is of use all the same."""
    world = World(lab, "nat", "interface", addresses=False, network={
        "dhcp": {"range": "10.8.0.10-10.8.0.19"}, "uplink": {"interface": "eth1"}})
    give(world.router, "wire0", f"10.8.0.1/{length}", "fd00:8::1/64")
    serve_dhcp(lab, world.router, "wire0", "10.8.0.100,10.8.0.120", "fd00:8::")
    wait_until(lambda: len(outside(world)["addresses"]) == 2, what="addresses")
    assert f"/{length}, given outside, overlaps" in world.switch.child.output
    a, b = world.up("a", "b")
    for family in (4, 6):
        assert a.talk(TCP, INTERNET[family])[0] in [text.split("/")[0] for text in outside(world)["addresses"]]
        assert a.ping(b.address(family)) and a.ping(GATEWAY[family])
    assert not [row for row in world.switch.show("routes") if row["type"] == "connected" and row["leg"] == "outside"]


def test_renewal(lab):
    """A lease of seconds (10 are the least that weft takes) is renewed without a word to the guests; when the server
    has gone, so has the address."""
    world = dynamic(lab)
    server = udhcpd(lab, world, "10.255.0.110", 10)
    address = wait_until(lambda: ipv4_outside(world), what="an address")
    a, = world.up("a")
    with contextlib.ExitStack() as stack:
        stream = connection(stack, a, world.internet, INTERNET[4], 4)
        acks = server.output.count("sending ACK")
        server.wait_for(lambda text: text.count("sending ACK") >= acks + 1, 20, what="a renewal")
        assert ipv4_outside(world) == address
        stream.turn()
    server.kill()
    wait_until(lambda: ipv4_outside(world) is None, what="the end of the lease")
    assert outside(world)["dhcp"]["state"] == "searching"
    with pytest.raises(OSError, match="nreachable|No route"):
        a.talk(TCP, INTERNET[4], timeout=20)


def test_address_is_somebody_elses(lab):
    """RFC 5227: who has it is asked to say so. One that was given is declined for another."""
    world = dynamic(lab)
    udhcpd(lab, world, "10.255.0.101", 3600)
    first = wait_until(lambda: ipv4_outside(world), what="an address")
    world.router.run("ip", "addr", "add", first.replace("/24", "/32"), "dev", "wire0")
    world.router.run("ip", "link", "set", "wire0", "down")
    wait_until(lambda: world.state()["uplink_link"] == "down", what="link down")
    world.router.run("ip", "link", "set", "wire0", "up")
    wait_until(lambda: (now := ipv4_outside(world)) and now != first, timeout=40, what="another address")
    assert f"{first[:-3]} is used by" in world.switch.child.output
    # One that is written down stays, and people are told.
    give(world.router, "wire0", "10.255.0.2/24", "fd00:ff::2/64")
    world.config["networks"]["lab"]["uplink"] = {"interface": "eth1", **STATIC}
    world.apply()
    for taken in OUTSIDE.values():
        world.switch.child.wait_for(f"{taken} is used by", 20)
    assert world.counters("neighbours")["defended"] >= 2


@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["routed", "nat"])
def test_link_falls_and_returns(lab, mode):
    world = World(lab, mode, "interface")
    a, b = world.up("a", "b")
    for family in (4, 6):
        assert a.ping(INTERNET[family])
    world.router.run("ip", "link", "set", "wire0", "down")
    wait_until(lambda: world.state()["uplink_link"] == "down", what="link down")
    for family in (4, 6):
        # At once, not after the retransmissions of a minute.
        with pytest.raises(OSError, match="nreachable|No route"):
            a.talk(TCP, INTERNET[family], timeout=30)
        assert a.ping(b.address(family)) and a.ping(GATEWAY[family])
    assert world.drops("a")["ip_no_route"] >= 2
    world.router.run("ip", "link", "set", "wire0", "up")
    give(world.router, "wire0", f"{ROUTER[6]}/64")
    world.router.run("ip", "route", "replace", "10.8.0.0/24", "via", OUTSIDE[4])
    world.router.run("ip", "route", "replace", "fd00:8::/64", "via", OUTSIDE[6])
    wait_until(lambda: world.state()["uplink_link"] == "up", what="link up")
    for family in (4, 6):
        wait_until(lambda: a.ping(INTERNET[family], wait=2), what="way out")


def test_host_is_undisturbed(lab):
    """The interface's own addresses go on being the host's, beside weft's."""
    world = World(lab, "nat", "interface")
    give(world.host, "eth1", "10.254.0.5/24", "fd00:fe::5/64")
    give(world.router, "wire0", "10.254.0.1/24", "fd00:fe::1/64")
    a, = world.up("a")
    for mine, other in (("10.254.0.5", "10.254.0.1"), ("fd00:fe::5", "fd00:fe::1")):
        assert ping(world.host, other, count=3) and ping(world.router, mine, count=3)
    for family in (4, 6):
        assert a.talk(TCP, INTERNET[family])[0] == OUTSIDE[family]


@pytest.mark.sanitizer
def test_uplink_is_replaced(lab):
    """From one kind to the next by `weft apply`, while guests talk with each other and keep their addresses."""
    world = World(lab, "nat", "interface")
    # The host has a way of its own.
    world.host.run("ip", "link", "add", "own0", "type", "veth", "peer", "name", "own1", "netns", world.internet.name)
    for namespace, device, number in ((world.host, "own0", 1), (world.internet, "own1", 2)):
        namespace.run("ip", "link", "set", device, "up")
        give(namespace, device, f"10.98.0.{number}/24", f"fd00:98::{number}/64")
    target = {4: "10.98.0.2", 6: "fd00:98::2"}
    a, b = world.up("a", "b")
    addresses = [a.address(4), a.address(6)]
    interface = world.config["networks"]["lab"]["uplink"]
    tap = {"tap": "weft0", "address": ["10.97.0.2/30", "fd00:97::2/64"], "gateway": ["10.97.0.1", "fd00:97::1"]}
    world.internet.run("ip", "route", "add", "10.97.0.0/30", "via", "10.98.0.1")
    world.internet.run("ip", "route", "add", "fd00:97::/64", "via", "fd00:98::1")
    with contextlib.ExitStack() as stack:
        streams = [connection(stack, a, b.namespace, b.address(family), family) for family in (4, 6)]
        assert a.talk(TCP, INTERNET[4])[0] == OUTSIDE[4]
        for uplink, to, seen in (({"user": True}, target, {4: "10.98.0.1", 6: "fd00:98::1"}),
                                 (tap, target, {4: "10.97.0.2", 6: "fd00:97::2"}),
                                 (interface, INTERNET, OUTSIDE)):
            world.config["networks"]["lab"]["uplink"] = uplink
            world.apply()
            for stream in streams:
                stream.turn()
            for family in (4, 6):
                assert a.talk(TCP, to[family])[0] == seen[family], (uplink, family)
        world.config["networks"]["lab"]["uplink"] = "none"
        world.apply()
        for stream in streams:
            stream.turn()
        with pytest.raises(OSError, match="nreachable|No route"):
            a.talk(TCP, INTERNET[4], timeout=30)
    assert [a.address(4), a.address(6)] == addresses
    assert "weft0" not in world.host.run("ip", "-br", "link")


FORWARDS = [{"proto": "both", "listen": 2007, "to": "10.8.0.10:7"},
            {"proto": "tcp", "listen": "3000-3009", "to": "10.8.0.10:3000"},
            {"proto": "both", "listen": 2007, "to": "[fd00:8::10]:7"}]


@pytest.mark.sanitizer
@pytest.mark.parametrize("kind", ["tap", "interface", "user"])
def test_forwards(lab, kind):
    """From outside to a guest, by what is declared and by nothing else; and from another guest by the same door."""
    world = World(lab, "nat", kind, network={
        "dhcp": {"hosts": {"a": {"mac": mac(1), "ip": "10.8.0.10", "ip6": "fd00:8::10"}}}, "forward": FORWARDS})
    a, b = world.up("a", "b")
    a.run("ip", "addr", "add", "fd00:8::10/64", "dev", a.device, "nodad")
    for server in (Echo(a.namespace), Echo(a.namespace, 3005)):
        lab.stack.callback(server.close)
    door = ({4: "10.99.0.1", 6: "fd00:99::1"} if kind == "user" else OUTSIDE)
    source = world.internet if kind != "tap" else world.host
    for family in (4, 6):
        for protocol in (TCP, UDP):
            seen = talk(source, protocol, door[family], 2007)[0]
            # The translator leaves the sender as it is; sockets of the host cannot.
            if kind == "interface":
                assert seen == INTERNET[family]
    talk(source, TCP, door[4], 3005)
    with pytest.raises(OSError):
        talk(source, TCP, door[4], 3010, timeout=1)
    with pytest.raises(OSError):
        talk(source, UDP, door[4], 3005, timeout=1)
    if kind != "user":
        assert b.talk(TCP, OUTSIDE[4], 2007) and b.talk(UDP, OUTSIDE[6], 2007)
        rows = world.switch.show("sessions")
        assert any(row["forward"] and row["inside"]["ip"] == "10.8.0.10" for row in rows)


@pytest.mark.sanitizer
@FAMILIES
def test_connection_outlives_a_kill(lab, family):
    """SIGKILL under an open connection through NAT: it goes on with the next weftd, and so does one between guests,
    which never ask for an address again. They are behind interfaces, which outlive weftd."""
    world = World(lab, "nat", "interface", guests=(), veths=("a", "b"))
    a, b = world.up("a", "b")
    with contextlib.ExitStack() as stack:
        streams = [connection(stack, a, world.internet, INTERNET[family], family),
                   connection(stack, a, b.namespace, b.address(family), family)]
        sessions = [row for row in world.switch.show("sessions") if row["protocol"] == "tcp"]
        world.switch.kill()
        world.switch.start()
        for _ in range(3):
            for stream in streams:
                stream.turn()
        again = [row for row in world.switch.show("sessions") if row["protocol"] == "tcp"]
        assert [row["outside"] for row in again] == [row["outside"] for row in sessions]
        assert a.talk(TCP, INTERNET[family])


def test_connection_outlives_a_kill_with_addresses_given(lab):
    """The same where DHCP and SLAAC give the uplink's addresses again, one after the other."""
    world = World(lab, "nat", "interface", guests=(), veths=("a",), addresses=False, network={
        "uplink": {"interface": "eth1"}})
    give(world.router, "wire0", "10.255.0.1/24", f"{ROUTER[6]}/64")
    serve_dhcp(lab, world.router, "wire0", "10.255.0.100,10.255.0.120", "fd00:ff::")
    wait_until(lambda: len(outside(world)["addresses"]) == 2, what="addresses")
    a, = world.up("a")
    with contextlib.ExitStack() as stack:
        streams = [connection(stack, a, world.internet, INTERNET[family], family) for family in (4, 6)]
        world.switch.kill()
        world.switch.start()
        for stream in streams:
            stream.turn()


def test_router_machine_as_uplink(lab):
    """A machine at a vhost-user port is the way out of another one, which knows nothing but DHCP."""
    config = {"networks": {"lab": {"mode": "nat", "ipv4": f"{GATEWAY[4]}/24", "ipv6": f"{GATEWAY[6]}/64",
                                   "uplink": {"vhost-user": lab.socket("router"), **STATIC}}},
              "ports": {"vm": {"network": "lab", "vhost-user": lab.socket("vm")}}}
    switch = lab.switch(config)
    router, guest = lab.uml("router", 1), lab.uml("vm", 2)
    router.run(f"ip addr flush dev eth0 scope global; ip addr add {ROUTER[4]}/30 dev eth0; "
               f"ip addr add {ROUTER[6]}/64 dev eth0; ip addr add {INTERNET[4]}/32 dev lo; "
               f"ip addr add {INTERNET[6]}/128 dev lo; "
               "while ip -6 addr show dev eth0 | grep -q tentative; do usleep 50000; done; (while true; do nc -l -p 7 -e cat; done) >/dev/null 2>&1 &")
    guest.run("ip -4 addr flush dev eth0 scope global; "
              "printf '#!/bin/sh\n[ $1 = bound ] || exit 0\nip addr add $ip/$mask dev eth0\n"
              "ip route add default via $router\n' >/tmp/lease; chmod +x /tmp/lease; "
              "udhcpc -i eth0 -n -q -s /tmp/lease")
    assert "1 packets received" in guest.run(f"ping -c 1 -W 10 {INTERNET[4]}")
    assert "hello" in guest.run(f"echo hello | nc -w 10 {INTERNET[4]} 7")
    guest.run("until ip -6 route | grep -q default; do usleep 50000; done; "
              "while ip -6 addr show dev eth0 | grep -q tentative; do usleep 50000; done")
    assert "1 packets received" in guest.run(f"ping -c 1 -W 10 {INTERNET[6]}")
    assert {row["inside"]["ip"] for row in switch.show("sessions") if row["protocol"] == "icmp"} == {
        next(row["ip"] for row in switch.show("leases") if "." in row["ip"])}


@pytest.mark.sanitizer
def test_peers(lab):
    """Routed networks reach each other where one names the other, and no others."""
    more = {name: {"mode": "routed", "ipv4": f"10.{number}.0.1/24", "ipv6": f"fd00:{number}::1/64",
                   **({"peers": ["lab"]} if name == "friend" else {})}
            for name, number in (("friend", 61), ("foreign", 62))}
    world = World(lab, "routed", "none", guests=("a",), more=more, ports={
        name: {"network": network, "tap": f"w{name}"} for name, network in (("f", "friend"), ("x", "foreign"))})
    a, friend, foreign = world.up("a", "f", "x")
    for family in (4, 6):
        assert a.ping(friend.address(family)) and friend.ping(a.address(family))
        assert a.ping(friend.address(family), "-s", 30000)
        for stranger, target in ((foreign, a), (a, foreign), (friend, foreign)):
            before = world.drops(stranger.name).get("ip_no_route", 0)
            with pytest.raises(OSError, match="nreachable|No route"):
                stranger.talk(TCP, target.address(family), timeout=30)
            world.until_dropped(stranger.name, "ip_no_route", before)
