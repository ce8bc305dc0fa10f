"""What guests reach and what reaches them, in each mode, by each uplink, in both families.

A guest knows nothing but DHCP and router advertisements. What must not pass is sent as a crafted frame, past the
sender's own routing table; that it did not arrive is known from the drop that was counted, and from a frame sent
after it that did arrive.
"""

import contextlib
import os
import socket

import pytest
from lab import Lab, needs_root
from world import GATEWAY, INTERNET, OUTSIDE, World, carries, ip_frame, ping, resolver, talk

pytestmark = needs_root
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PLACES = [("isolated", "none"), ("bridge", "tap"), ("bridge", "interface"), ("routed", "tap"),
          ("routed", "interface"), ("routed", "user"), ("nat", "tap"), ("nat", "interface"), ("nat", "user")]
RESOLVER = "10.53.0.1"  # in the host's namespace
# Whoever sends by a user uplink is seen as the host, whatever the mode.
USER_OUTSIDE = {4: "10.99.0.1", 6: "fd00:99::1"}


@pytest.fixture(scope="module", params=PLACES, ids="-".join)
def world(request):
    mode, uplink = request.param
    with contextlib.ExitStack() as stack:
        lab = Lab(stack)
        more = {} if mode == "bridge" else {"dns": {"domain": "lab.internal", "forwarders": [RESOLVER]}}
        if mode == "isolated":
            del more["dns"]["forwarders"]
        world = World(lab, mode, uplink, network=more)
        world.host.run("ip", "addr", "add", f"{RESOLVER}/32", "dev", "lo")
        resolver(lab, world.host, RESOLVER, "--address=/www.test/10.99.0.2", "--address=/www.test/fd00:99::2")
        if mode == "bridge":
            world.serve_segment()
        world.up("a", "b")
        yield world


def families(function):
    return pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])(function)


@pytest.mark.sanitizer
@families
def test_guests_reach_each_other(world, family):
    a, b = world.guests["a"], world.guests["b"]
    assert a.ping(b.address(family)) and b.ping(a.address(family))
    assert a.ping(b.address(family), "-s", 60000)
    assert a.ping(GATEWAY[family])


@pytest.mark.sanitizer
@families
def test_guests_reach_outside(world, family):
    a = world.guests["a"]
    if world.mode == "isolated":
        with pytest.raises(OSError):
            a.talk(TCP, INTERNET[family], timeout=3)
        return
    seen = (USER_OUTSIDE[family] if world.kind == "user" else
            OUTSIDE[family] if world.mode == "nat" else a.address(family))
    data = os.urandom(200000)
    assert a.talk(TCP, INTERNET[family], data=data)[0] == seen
    assert a.talk(UDP, INTERNET[family], data=data[:1000])[0] == seen
    # libslirp passes no echo requests of IPv6 on.
    if (world.kind, family) != ("user", 6):
        assert a.ping(INTERNET[family], count=2)
        assert a.ping(INTERNET[family], "-s", 8000)


@pytest.mark.sanitizer
def test_names(world):
    """With what DHCP told, and nothing else."""
    if world.mode == "bridge":
        return
    a = world.guests["a"]

    def dig(*question):
        return a.run("dig", "+short", "+time=5", "+tries=2", f"@{GATEWAY[4]}", *question).split()

    assert dig("b.lab.internal") == [world.guests["b"].address(4)]
    assert dig("+tcp", "-x", a.address(4)) == ["a.lab.internal."]
    outside = [] if world.mode == "isolated" else [INTERNET[4]]
    assert dig("www.test") == outside
    assert dig("+tcp", "www.test") == outside


@families
def test_outside_reaches_guests(world, family):
    """By their own addresses where the mode has it so; a network that is translated hides them."""
    a = world.guests["a"]
    if world.mode in ("bridge", "routed") and world.kind != "user":
        assert ping(world.internet, a.address(family), count=2)
        with a.socket(family, TCP) as listener:
            listener.bind(("", 0))
            listener.listen()
            with world.internet.socket(listener.family, TCP) as client:
                client.settimeout(20)
                client.connect((a.address(family), listener.getsockname()[1]))
                accepted, peer = listener.accept()
                accepted.close()
                assert peer[0] == INTERNET[family]


@families
def test_isolated_leads_nowhere(world, family):
    """Frames straight to the gateway's MAC, whatever the guest's own routes say."""
    if world.mode != "isolated":
        return
    a = world.guests["a"]
    before = world.drops("a").get("ip_prohibited", 0)
    raw = a.raw()
    for target in (INTERNET[family], USER_OUTSIDE[family]):
        raw.send(ip_frame(a.mac, world.leg_mac(), a.address(family), target))
    world.until_dropped("a", "ip_prohibited", before + 1)


@families
def test_nothing_unasked_comes_in(world, family):
    """From the uplink's wire, at the MAC of the gateway's outer leg: to a guest's address, to a port of the
    gateway's that is nobody's, and to one of a guest's that has not written to that sender."""
    if world.mode != "nat" or world.kind == "user":
        return
    a = world.guests["a"]
    wire = world.router.raw_socket(world.wire)
    inside = a.raw()
    world.lab.stack.callback(wire.close)
    router_mac = world.device_mac(world.router, world.wire)
    outer_mac = world.leg_mac(outside=True)
    before = world.drops("lab.uplink")
    wire.send(ip_frame(router_mac, outer_mac, INTERNET[family], a.address(family)))
    world.until_dropped("lab.uplink", "not_forwarded", before.get("not_forwarded", 0))
    with pytest.raises(ConnectionRefusedError):
        talk(world.internet, UDP, OUTSIDE[family], 2222)
    _, port = a.talk(UDP, INTERNET[family])
    wire.send(ip_frame(router_mac, outer_mac, INTERNET[family], OUTSIDE[family], port=port))
    world.until_dropped("lab.uplink", "nat_filtered", before.get("nat_filtered", 0))
    assert a.ping(INTERNET[family])
    # All that came in up to the answer.
    while True:
        frame = inside.receive()[1]
        assert b"crafted" not in frame
        if frame[12:14] == (b"\x08\x00" if family == 4 else b"\x86\xdd") and _is_echo_reply(frame, family):
            break


def _is_echo_reply(frame, family):
    return frame[23] == 1 and frame[34] == 0 if family == 4 else frame[20] == 58 and frame[54] == 129


@families
def test_another_network_stays_outside(world, family):
    """The other side of isolation: what another network's guest sends to a guest's MAC or address stays there."""
    stranger = world.stranger()
    a = world.guests["a"]
    inside = a.raw()
    raw = stranger.raw()
    address = stranger.address(family)
    gateway_mac = world.leg_mac(network="strange")
    raw.send(ip_frame(stranger.mac, a.mac, address, a.address(family)))
    raw.send(ip_frame(stranger.mac, "ff:ff:ff:ff:ff:ff", address, a.address(family)))
    before = world.drops("z").get("ip_prohibited", 0)
    raw.send(ip_frame(stranger.mac, gateway_mac, address, a.address(family)))
    world.until_dropped("z", "ip_prohibited", before)
    assert world.guests["b"].ping(a.address(family))
    while True:
        frame = inside.receive()[1]
        assert not carries(b"crafted")(frame)
        if frame[6:12] == bytes.fromhex(world.guests["b"].mac.replace(":", "")):
            break
