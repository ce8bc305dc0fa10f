"""A tap as an uplink that somebody deletes or sets down: weft makes it again, and the network goes on."""

import socket

import pytest
from frames import plain
from lab import mac, needs_root
from process import wait_until
from world import GATEWAY, INTERNET, World

pytestmark = needs_root


@pytest.mark.sanitizer
def test_comes_back(lab):
    host = lab.namespace()
    switch = lab.tap_switch({"networks": {"lab": {"mode": "bridge", "uplink": {"tap": "weft0"}}},
                             "ports": {"guest": {"network": "lab", "vhost-user": lab.socket("guest")}}}, host)
    guest = lab.frontend("guest")
    host.run("ip", "link", "del", "weft0")
    switch.child.wait_for(lambda text: "interface weft0 is back" in text, 60, what="the tap's return")
    assert switch.port("lab.uplink")["link"] == "up"
    wire = host.raw_socket("weft0")
    lab.stack.callback(wire.close)
    guest.send(plain(mac(1), mac(2), b"again"))
    wire.receive_matching(lambda frame: b"again" in frame)
    wire.send(plain(mac(2), mac(1), b"and back"))
    guest.receive_matching(lambda frame: b"and back" in frame)


@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["routed", "nat"])
def test_host_sets_it_down(lab, mode):
    """Guests are told, and have each other and their gateway meanwhile; then all is as it was."""
    world = World(lab, mode, "tap")
    a, b = world.up("a", "b")
    world.host.run("ip", "link", "set", "weft0", "down")
    wait_until(lambda: world.state()["uplink_link"] == "down", what="link down")
    for family in (4, 6):
        with pytest.raises(OSError, match="nreachable|No route"):
            a.talk(socket.SOCK_STREAM, INTERNET[family], timeout=30)
        assert a.ping(b.address(family)) and a.ping(GATEWAY[family])
    # With the interface the host has forgotten its routes by it, and the address over IPv6.
    world.host.run("ip", "link", "set", "weft0", "up")
    wait_until(lambda: world.state()["uplink_link"] == "up", what="link up")
    for family in (4, 6):
        a.talk(socket.SOCK_STREAM, INTERNET[family])
