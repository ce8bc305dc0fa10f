"""Names by the gateway: of guests both ways, of configured hosts, and by resolvers in a namespace; dig asks."""

import contextlib
import re
import socket

import pytest
from lab import Lab, mac, needs_root
from process import wait_until
from world import GATEWAY, World, dnsmasq, link, give

pytestmark = needs_root
UPSTREAM, DEAD = "10.66.0.2", "10.66.0.3"


@pytest.fixture(scope="module")
def world():
    """Guests a and b; a resolver in a namespace "upstream" beside the host."""
    with contextlib.ExitStack() as stack:
        lab = Lab(stack)
        world = World(lab, "routed", "tap", network={
            "dhcp": {"hosts": {"web": {"mac": mac(0x55), "ip": "10.8.0.10", "ip6": "fd00:8::10"}}},
            "dns": {"domain": "lab.internal", "forwarders": [UPSTREAM],
                    "hosts": {"printer": ["10.8.0.50", "fd00:8::50"], "router.other.test": "192.0.2.7"}}})
        upstream = world.namespace("upstream")
        link(world.host, "dns0", upstream, "dns1")
        give(world.host, "dns0", "10.66.0.1/24")
        give(upstream, "dns1", f"{UPSTREAM}/24")
        long = [f"--txt-record=long.test,{'x' * 250},{'y' * 250},{'z' * 250},{'0' * 250},{'1' * 250},{'2' * 250}"]
        # 30 addresses are more than 512 bytes.
        many = [f"--host-record=many.test,192.0.2.{number}" for number in range(1, 60)]
        world.upstream = dnsmasq(lab, upstream, f"--listen-address={UPSTREAM}", "--bind-interfaces", "--log-queries",
                                 "--address=/www.test/192.0.2.1", "--address=/www.test/2001:db8::1",
                                 "--host-record=reverse.test,192.0.2.9", "--address=/nowhere.test/", "--local-ttl=60",
                                 "--cname=alias.test,reverse.test", "--mx-host=www.test,mail.test,10", *long, *many)
        a, _ = world.up("a", "b")
        world.a = a
        yield world


def dig(world, *question, check=True):
    return world.a.run("dig", "+time=5", "+tries=2", f"@{GATEWAY[4]}", *question, check=check)


def short(world, *question):
    return dig(world, "+short", *question).split()


def asked(world, name):
    """How often the resolver was asked for it."""
    return len(re.findall(rf"query\[\w+\] {re.escape(name)} from", world.upstream.output))


TRANSPORTS = pytest.mark.parametrize("how", [("+notcp",), ("+tcp",)], ids=["udp", "tcp"])


@pytest.mark.sanitizer
@TRANSPORTS
def test_own_names(world, how):
    guests = world.guests
    for name in ("a", "b"):
        assert short(world, *how, f"{name}.lab.internal") == [guests[name].address(4)]
        assert short(world, *how, "-x", guests[name].address(4)) == [f"{name}.lab.internal."]
    assert short(world, *how, "web.lab.internal", "AAAA") == ["fd00:8::10"]
    assert short(world, *how, "-x", "10.8.0.10") == ["web.lab.internal."]
    assert short(world, *how, "-x", "fd00:8::10") == ["web.lab.internal."]
    assert short(world, *how, "printer.lab.internal") == ["10.8.0.50"]
    assert short(world, *how, "-x", "fd00:8::50") == ["printer.lab.internal."]
    assert short(world, *how, "router.other.test") == ["192.0.2.7"]
    assert "status: NXDOMAIN" in dig(world, *how, "nobody.lab.internal")
    # Nobody outside is asked about names and addresses inside.
    assert "status: NXDOMAIN" in dig(world, *how, "-x", "10.8.0.77")
    assert "lab.internal" not in world.upstream.output and "10.8.0.77" not in world.upstream.output


@pytest.mark.sanitizer
@TRANSPORTS
def test_by_ipv6(world, how):
    for server in (GATEWAY[6], f"{world.state()['gateway']['link_local']}%{world.a.device}"):
        text = world.a.run("dig", "+short", "+time=5", "+tries=2", *how, f"@{server}", "b.lab.internal")
        assert text.split() == [world.guests["b"].address(4)]


@pytest.mark.sanitizer
@TRANSPORTS
def test_forwarded(world, how):
    assert short(world, *how, "www.test") == ["192.0.2.1"]
    assert short(world, *how, "www.test", "AAAA") == ["2001:db8::1"]
    assert short(world, *how, "-x", "192.0.2.9") == ["reverse.test."]
    assert short(world, *how, "alias.test") == ["reverse.test.", "192.0.2.9"]
    assert short(world, *how, "www.test", "MX") == ["10", "mail.test."]
    assert "status: NXDOMAIN" in dig(world, *how, "nowhere.test")


@pytest.mark.sanitizer
def test_long_answers(world):
    """Cut for UDP as the client says it can take them, whole by TCP, which dig then asks by itself."""
    flags = dig(world, "+ignore", "+noedns", "many.test")
    assert re.search(r"flags:[^;]* tc", flags)
    assert len(short(world, "+noedns", "many.test")) == 59
    assert len(short(world, "+tcp", "many.test")) == 59
    assert "2" * 250 in dig(world, "+short", "long.test", "TXT")


def test_cache(world):
    name = "cached.www.test"
    assert short(world, name) == ["192.0.2.1"]
    before, hits = asked(world, name), world.counters("dns")["cached"]
    for how in ("+notcp", "+tcp", "+notcp"):
        assert short(world, how, name) == ["192.0.2.1"]
    assert asked(world, name) == before and world.counters("dns")["cached"] == hits + 3


def test_refused(world):
    """Another class, a transfer of the zone, an inverse of old; what is no message at all gets no answer."""
    for question in (("version.bind", "CH", "TXT"), ("+tcp", "lab.internal", "AXFR")):
        dig(world, *question, check=False)
    assert world.counters("dns")["refused"] >= 2
    before = world.counters("dns")
    with world.a.socket(4, socket.SOCK_DGRAM) as client:
        client.connect((GATEWAY[4], 53))
        client.send(b"\x12\x34\x80\0" + bytes(8))  # an answer
        client.send(b"short")
        client.send(b"\x12\x34\x01\0\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1")  # a name that points to itself
        assert client.recv(512)[3] & 15 == 1
    after = world.counters("dns")
    assert after["ignored"] >= before["ignored"] + 2 and after["malformed"] == before["malformed"] + 1


def test_many_at_once(world):
    """One connection with many questions, as resolvers keep them; and many in parallel."""
    text = dig(world, "+tcp", "+keepopen", *(word for number in range(40) for word in (f"n{number}.www.test", "A")))
    assert text.count("\t192.0.2.1\n") == 40
    before = world.counters("dns_tcp")["connections"]
    assert dig(world, "+tcp", "+keepopen", "+short", "a.lab.internal", "b.lab.internal").count("\n") == 2
    assert world.counters("dns_tcp")["connections"] == before + 1


def change(world, **dns):
    old = world.config["networks"]["lab"]["dns"]
    world.config["networks"]["lab"]["dns"] = {**old, **dns}
    world.apply()
    return old


def test_dead_resolver(world):
    """The second is asked when the first is silent; with silent ones only the client hears of failure."""
    old = change(world, forwarders=[DEAD, UPSTREAM])
    assert short(world, "second.www.test") == ["192.0.2.1"]
    change(world, forwarders=[DEAD])
    # Before dig gives up, which asks once here.
    text = world.a.run("dig", "+time=5", "+tries=1", f"@{GATEWAY[4]}", "third.www.test", check=False)
    assert "status: SERVFAIL" in text
    assert world.counters("dns")["failed"] == 1
    world.config["networks"]["lab"]["dns"] = old
    world.apply()


def test_forward_off(world):
    old = world.config["networks"]["lab"]["dns"]
    world.config["networks"]["lab"]["dns"] = {"domain": "lab.internal", "forward": False}
    world.apply()
    assert "status: REFUSED" in dig(world, "off.www.test") and not asked(world, "off.www.test")
    assert short(world, "a.lab.internal")
    world.config["networks"]["lab"]["dns"] = old
    world.apply()


def test_loop(world):
    """A resolver, on a guest, that asks weft what weft asks it: refused and counted, and no storm."""
    b = world.guests["b"]
    looping = dnsmasq(world.lab, b.namespace, f"--listen-address={b.address(4)}", "--bind-interfaces",
                      f"--server={GATEWAY[4]}", "--log-queries", "--cache-size=0")
    old = change(world, forwarders=[b.address(4)])
    text = world.a.run("dig", "+time=20", "+tries=1", f"@{GATEWAY[4]}", "round.and.round", check=False)
    assert re.search("status: (SERVFAIL|REFUSED)", text), text
    assert world.counters("dns")["looped"] >= 1
    assert 1 <= len(re.findall("query.*round.and.round", looping.output)) < 20
    world.config["networks"]["lab"]["dns"] = old
    world.apply()
    looping.kill()


def test_name_goes_with_its_lease(world):
    b = world.guests["b"]
    ip = b.address(4)
    b.client.kill()
    world.switch.weft("lease", "release", "lab", ip)
    assert "status: NXDOMAIN" in dig(world, "b.lab.internal")
    assert "status: NXDOMAIN" in dig(world, "-x", ip)
    assert b.dhcp("-x", "hostname:renamed")
    wait_until(lambda: short(world, "renamed.lab.internal") == [b.address(4)], what="new name")
