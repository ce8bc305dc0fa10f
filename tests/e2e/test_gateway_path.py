"""The way of a packet through the gateway: sizes, path MTU, hop limits, errors, streams; in routed and nat mode."""

import contextlib
import errno
import json
import os
import re
import socket

import pytest
from lab import Lab, needs_root
from process import wait_until
from world import ECHO_PORT, GATEWAY, INTERNET, World

pytestmark = needs_root
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_DO = 10, 23, 2
IP_MTU, IPV6_MTU = 14, 24
SMALL = 1300
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module", params=[("routed", "tap"), ("nat", "interface"), ("nat", "tap")], ids="-".join)
def world(request):
    with contextlib.ExitStack() as stack:
        world = World(Lab(stack), *request.param)
        world.up("a", "b")
        yield world


@pytest.fixture(scope="module", params=[("routed", "tap"), ("nat", "interface")], ids="-".join)
def narrow(request):
    """The link behind the next router takes less."""
    with contextlib.ExitStack() as stack:
        world = World(Lab(stack), *request.param)
        for namespace, device in ((world.router, "north"), (world.internet, "south")):
            namespace.run("ip", "link", "set", device, "mtu", SMALL)
        world.up("a", "b")
        yield world


@pytest.fixture(scope="module", params=["routed", "nat"])
def narrow_uplink(request):
    """The uplink itself takes less."""
    with contextlib.ExitStack() as stack:
        world = World(Lab(stack), request.param, "tap", keys={"mtu": SMALL})
        world.up("a", "b")
        yield world


@pytest.mark.sanitizer
@FAMILIES
def test_pings_of_all_sizes(world, family):
    a = world.guests["a"]
    for size in (0, 1, 1400, 1452, 1453, 1472, 1473, 3000, 20000, 65000):
        assert a.ping(INTERNET[family], "-s", size), size
    for size in (0, 1453, 8000, 65000):
        assert a.ping(GATEWAY[family], "-s", size), size


@FAMILIES
def test_streams(world, family):
    """iperf3 both ways, and a datagram of each size that two fragments can be."""
    a = world.guests["a"]
    for options in ((), ("-R",)):
        server = world.internet.spawn("iperf3", "-s", "-1", "--forceflush")
        world.lab.stack.callback(server.kill)
        server.wait_for("Server listening", 20)
        text = a.run("iperf3", "-J", "-n", "30M", "-c", INTERNET[family], *options)
        assert json.loads(text)["end"]["sum_received"]["bytes"] > 25 << 20
    for size in (1, 1472, 1473, 8000, 60000):
        a.talk(socket.SOCK_DGRAM, INTERNET[family], data=os.urandom(size))


@pytest.mark.sanitizer
@FAMILIES
def test_hop_limit(world, family):
    a = world.guests["a"]
    before = world.drops("a").get("ip_ttl", 0)
    text = a.run("ping", "-n", "-c", 1, "-W", 10, "-t", 1, INTERNET[family], check=False)
    assert GATEWAY[family] in text and re.search("Time to live exceeded|Hop limit", text), text
    assert world.drops("a")["ip_ttl"] == before + 1
    # The next router's own word, which a translator has to lead back.
    text = a.run("ping", "-n", "-c", 1, "-W", 10, "-t", 2, INTERNET[family], check=False)
    assert re.search("Time to live exceeded|Hop limit", text) and GATEWAY[family] not in text, text


@FAMILIES
def test_unreachable(world, family):
    """What the outside says about a port and a host comes to who asked."""
    a = world.guests["a"]
    with pytest.raises(ConnectionRefusedError):
        a.talk(socket.SOCK_DGRAM, INTERNET[family], port=9)
    with pytest.raises(ConnectionRefusedError):
        a.talk(socket.SOCK_STREAM, INTERNET[family], port=9)
    nobody = {4: "10.99.0.77", 6: "fd00:99::77"}[family]
    with pytest.raises(OSError) as refusal:
        a.talk(socket.SOCK_STREAM, nobody, timeout=15)
    assert refusal.value.errno == errno.EHOSTUNREACH


def path_mtu(guest, family):
    """The MTU a connected socket has learned, after it was told by a refusal."""
    level, discover, mtu = ((socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU) if family == 4
                            else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU))
    with guest.socket(family, socket.SOCK_DGRAM) as client:
        client.setsockopt(level, discover, PMTUDISC_DO)
        client.connect((INTERNET[family], ECHO_PORT))
        payload = bytes(1500 - (28 if family == 4 else 48))

        def told():
            with contextlib.suppress(OSError):
                client.send(payload)
            return client.getsockopt(level, mtu) < 1500

        wait_until(told, what="a path MTU")
        # What just fits, arrives. The answer is longer, and its sender has to learn as well.
        size = client.getsockopt(level, mtu)
        client.settimeout(1)

        def arrived():
            with contextlib.suppress(OSError):
                client.send(bytes(size - (28 if family == 4 else 48)))
                return client.recv(1 << 16)

        wait_until(arrived, what="answer to what fits")
        return size


def try_path_mtu(world, family):
    a = world.guests["a"]
    assert path_mtu(a, family) == SMALL
    a.run("ip", f"-{family}", "route", "flush", "cache")
    # TCP finds its way, in both directions, without knowing.
    data = os.urandom(300000)
    a.talk(socket.SOCK_STREAM, INTERNET[family], data=data)
    a.run("ip", f"-{family}", "route", "flush", "cache")
    # And larger packets are cut where that is allowed. (Not by a router, in IPv6: the guest cuts smaller, which a
    # translator that puts packets together first keeps.)
    wait_until(lambda: a.ping(INTERNET[family], "-s", 5000, "-M", "dont", wait=1), what="answer in fragments")
    a.run("ip", f"-{family}", "route", "flush", "cache")
    text = a.run("ping", "-n", "-c", 3, "-i", 0.2, "-W", 3, "-M", "do", "-s", 1440, INTERNET[family], check=False)
    assert re.search(rf"mtu ?[=:]? ?{SMALL}", text), text


@pytest.mark.sanitizer
@FAMILIES
def test_narrow_router(narrow, family):
    try_path_mtu(narrow, family)


@pytest.mark.sanitizer
@FAMILIES
def test_narrow_uplink(narrow_uplink, family):
    try_path_mtu(narrow_uplink, family)
    assert narrow_uplink.drops("a")["ip_too_big"] > 0


@FAMILIES
def test_narrow_inside_of_host_sockets(lab, family):
    """libslirp sends what the network takes; it would not hear that anything is too big."""
    world = World(lab, "nat", "user", network={"mtu": SMALL})
    a, = world.up("a")
    a.talk(socket.SOCK_STREAM, INTERNET[family], data=os.urandom(300000))
    assert world.switch.port("lab.uplink")["mtu"] == SMALL


@FAMILIES
def test_mss_is_clamped(lab, family):
    """No path MTU is learned, as no segment is ever too big."""
    world = World(lab, "nat", "tap", keys={"mtu": SMALL}, network={"mss-clamp": True})
    a, = world.up("a")
    a.talk(socket.SOCK_STREAM, INTERNET[family], data=os.urandom(300000))
    assert "ip_too_big" not in world.drops("a")
