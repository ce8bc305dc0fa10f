"""The uplink of a network changes while weftd runs: host sockets, a tap, an interface, and back.

Sessions on addresses that are gone end, new ones work, and what guests have with each other is not touched.
"""

import socket

import pytest
from gateway_place import FAR, Place, assign, config, exchange, guest_address, link, wait_value
from lab import needs_root
from switch import WeftError

pytestmark = [needs_root, pytest.mark.sanitizer]
TAP = {"tap": "up0"}
WIRE = {"interface": "eth9", "address": ["10.254.0.2/24", "fd00:fe::2/64"], "gateway": ["10.254.0.1", "fd00:fe::1"]}
UPLINKS = {"user": {"user": True}, "tap": TAP, "interface": WIRE}
SEEN_AS = {"user": {4: "203.0.113.1", 6: "2001:db8:2::1"}, "tap": {4: "10.255.0.2", 6: "fd00:ff::2"},
           "interface": {4: "10.254.0.2", 6: "fd00:fe::2"}}


@pytest.fixture
def place(lab):
    """A second way to the far network: a router behind eth9 of the host."""
    place = Place(lab)
    router = lab.namespace("router")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    link(place.host, "eth9", router, "wire")
    assign(router, "wire", "10.254.0.1/24", "fd00:fe::1/64")
    link(router, "tofar", place.far, "eth1")
    assign(router, "tofar", "198.51.100.1/24", "2001:db8:3::1/64")
    assign(place.far, "eth1", "198.51.100.2/24", "2001:db8:3::2/64")
    for version, outside, via, far_via in ((4, "10.254.0.0/24", "198.51.100.2", "198.51.100.1"),
                                           (6, "fd00:fe::/64", "2001:db8:3::2", "2001:db8:3::1")):
        router.run("ip", f"-{version}", "route", "add", FAR[version], "via", via)
        place.far.run("ip", f"-{version}", "route", "add", outside, "via", far_via)
    return place


def reach(place, name, version):
    """A connection from a guest to the far side; who the far side sees."""
    listener = place.listen("far", version, FAR[version])
    client = place.connect(name, listener.getsockname()[:2], version)
    server, sender = listener.accept()
    place.lab.stack.callback(server.close)
    server.settimeout(20)
    exchange(client, server)
    return client, server, sender[0]


def between_guests(place, version):
    listener = place.listen("b", version, guest_address("b", version))
    client = place.connect("a", listener.getsockname()[:2], version)
    server, _ = listener.accept()
    place.lab.stack.callback(server.close)
    server.settimeout(20)
    return client, server


def change(place, uplink, **more):
    place.switch.write_config(config(uplink=uplink, **more))
    place.switch.weft("apply", place.switch.file)


def test_from_one_to_the_next(place):
    place.start(config(uplink=UPLINKS["user"]))
    place.plug()
    neighbours = [between_guests(place, version) for version in (4, 6)]
    for kind in ("user", "tap", "interface", "user", "interface", "tap"):
        change(place, UPLINKS[kind])
        assert all(row["outside"]["ip"] in outside(place) for row in place.sessions())
        for version in (4, 6):
            client, server, seen = reach(place, "a", version)
            assert seen == SEEN_AS[kind][version], kind
            if (kind, version) != ("user", 6):  # host sockets know no ping over IPv6
                place.ping("b", FAR[version])
            exchange(client, server)
        for pair in neighbours:
            exchange(*pair)
        uplink = place.api.show("ports", name="net.uplink")[0]
        assert uplink["type"] == kind and uplink["link"] == "up"
    names = {row["name"] for row in place.api.show("ports")}
    assert names == {"a", "b", "net.uplink", "net.gw", "net.out"}


def outside(place):
    return [address.split("/")[0] for address in place.api.show("networks")[0]["outside"]["addresses"]]


def test_address_changes(place):
    """The same tap, another address: sessions of the old one end, those of one that stays go on."""
    two = {"tap": "up0", "address": ["10.255.0.2/28", "fd00:ff::2/64"], "gateway": ["10.255.0.1", "fd00:ff::1"]}
    other = {**two, "address": ["10.255.0.9/28", "fd00:ff::2/64"]}
    place.start(config(uplink=two))
    place.plug()
    old, old_server, seen = reach(place, "a", 4)
    kept = reach(place, "a", 6)
    assert seen == "10.255.0.2"
    change(place, other)
    assert {row["outside"]["ip"] for row in place.sessions()} == {"fd00:ff::2"}
    exchange(kept[0], kept[1])
    assert reach(place, "a", 4)[2] == "10.255.0.9"
    before = place.drops().get("nat_tcp_state", 0)
    old.sendall(b"still there?")
    wait_value(lambda: place.drops().get("nat_tcp_state", 0), lambda count: count > before, "a segment of no session")
    old_server.setblocking(False)
    with pytest.raises(BlockingIOError):
        old_server.recv(100)


def test_uplink_goes_and_comes(place):
    """Without its uplink a network says so at once; with it again everything is as before."""
    place.start(config(uplink=WIRE))
    place.plug()
    client, server, _ = reach(place, "a", 4)
    neighbours = between_guests(place, 4)
    place.host.run("ip", "link", "set", "eth9", "down")
    wait_value(lambda: place.api.show("ports", name="net.uplink")[0]["link"], lambda link: link == "down", "link down")
    with pytest.raises(OSError, match="unreachable"):
        place.connect("a", (FAR[4], 80))
    with pytest.raises(OSError, match="unreachable|No route"):
        place.connect("a", (FAR[6], 80), 6)
    exchange(*neighbours)
    place.host.run("ip", "link", "set", "eth9", "up")
    wait_value(lambda: place.api.show("ports", name="net.uplink")[0]["link"], lambda link: link == "up", "link up")
    # The session has waited.
    exchange(client, server)
    reach(place, "b", 4)


def test_uplink_taken_away(place):
    place.start(config(uplink=TAP))
    place.plug()
    reach(place, "a", 4)
    neighbours = between_guests(place, 4)
    wanted = config()
    wanted["networks"]["net"]["uplink"] = "none"
    place.switch.write_config(wanted)
    place.switch.weft("apply", place.switch.file)
    assert "up0" not in place.host.run("ip", "-br", "link")
    with pytest.raises(OSError, match="unreachable"):
        place.connect("a", (FAR[4], 80))
    exchange(*neighbours)
    change(place, TAP)
    assert reach(place, "a", 4)[2] == SEEN_AS["tap"][4]
    exchange(*neighbours)


def test_refused_change(place):
    """One that cannot be: everything stays, connections too."""
    place.start(config(uplink=TAP))
    place.plug()
    client, server, _ = reach(place, "a", 4)
    with pytest.raises(WeftError, match="eth7.*not there"):
        change(place, {**WIRE, "interface": "eth7"})
    assert place.api.show("ports", name="net.uplink")[0]["type"] == "tap"
    wait_value(lambda: place.api.show("ports", name="net.uplink")[0]["link"], lambda link: link == "up", "link up")
    exchange(client, server)
    assert reach(place, "a", 4)[2] == SEEN_AS["tap"][4]
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
