"""DHCP, DHCPv6 and router advertisements as clients know them: udhcpc, dhclient, dhcpcd, perfdhcp, rdisc6, the kernel.

Messages that no client is willing to send are made by scapy.
"""

import contextlib
import json
import re

import pytest
from lab import Lab, mac, needs_root
from process import wait_until
from scapy.all import ARP, BOOTP, DHCP, IP, UDP, Ether
from switch import WeftError
from world import GATEWAY, World

pytestmark = needs_root
DHCP_CONFIG = {
    "range": "10.8.0.100-10.8.0.119", "lease": "10m", "domain": "lab.internal", "search": ["a.test", "b.test"],
    "mtu": 1400, "ntp": "10.8.0.123", "router": "10.8.0.254", "dns": ["10.8.0.1", "10.8.0.53"],
    "routes": [{"to": "10.20.0.0/16", "via": "10.8.0.253"}],
    "boot": {"server": "10.8.0.2", "file": "boot.efi", "name": "tftp.lab"},
    "options": {"224": "hello", "225": "0x0a0b"},
    "hosts": {"web": {"mac": mac(1), "ip": "10.8.0.10", "ip6": "fd00:8::10"},
              "db": {"client-id": "the-db", "ip": "10.8.0.11"},
              "named": {"ip": "10.8.0.12"}},
}
IPV6_KEYS = (("accept_dad", 0), ("router_solicitation_delay", 0), ("accept_ra", 1), ("disable_ipv6", 0))
CLIENT_SCRIPT = """#!/bin/sh
[ "$reason" = BOUND ] && ip addr replace $new_ip_address/24 dev $interface && ip route replace default dev $interface
[ "$reason" = BOUND6 ] && ip addr replace $new_ip6_address/$new_ip6_prefixlen dev $interface nodad
env | grep -E '^(new_|old_|reason=)' | sed 's/^/option /'
echo "lease end"
exit 0
"""
CLIENT_CONFIG = """option classless code 121 = array of unsigned integer 8;
send host-name "%s";
request subnet-mask, routers, domain-name-servers, domain-name, domain-search, interface-mtu, ntp-servers, classless,
	dhcp6.name-servers, dhcp6.domain-search;
"""


def make_world(stack, network=None, guests=("a", "b", "c"), **dhcp):
    return World(Lab(stack), "isolated", "none", guests=guests,
                 network={"dhcp": {**DHCP_CONFIG, **dhcp}, "dns": {"domain": "lab.internal"}, **(network or {})})


@pytest.fixture(scope="module")
def world():
    with contextlib.ExitStack() as stack:
        yield make_world(stack)


@pytest.fixture
def small(lab):
    """Two addresses, and nothing reserved."""
    return World(lab, "isolated", "none", guests=("a", "b", "c"),
                 network={"dhcp": {"range": "10.8.0.100-10.8.0.101", "lease": "10m"}})


def leases(world):
    return {row["ip"]: row for row in world.switch.show("leases")}


def ipv6_on(guest):
    for key, value in IPV6_KEYS:
        guest.run("sysctl", "-qw", f"net.ipv6.conf.{guest.device}.{key}={value}")


def dhclient(guest, family, *options):
    """dhclient with files of its own; what its script said is in its output, as "option NAME=VALUE"."""
    directory = guest.world.lab.directory
    script, config = directory / "dhclient.sh", directory / f"dhclient-{guest.name}.conf"
    script.write_text(CLIENT_SCRIPT)
    script.chmod(0o755)
    config.write_text(CLIENT_CONFIG % guest.name)
    return guest.spawn("dhclient", f"-{family}", "-d", "-v", "-sf", script, "-cf", config, "-lf",
                       directory / f"dhclient-{guest.name}{family}.leases", "-pf",
                       directory / f"dhclient-{guest.name}.pid", *options, guest.device)


def options_of(client):
    return dict(re.findall(r"^option (\w+)=(.*)$", client.output, re.MULTILINE))


@pytest.mark.sanitizer
def test_options(world):
    """All that can be configured, as udhcpc understands it."""
    wanted = [word for code in (42, 119, 121, 26, 66, 67, 224, 225) for word in ("-O", code)]
    got = world.guests["c"].dhcp(*wanted)
    expected = {"dns": "10.8.0.1 10.8.0.53", "domain": "lab.internal", "search": "a.test b.test", "mtu": "1400",
                "ntpsrv": "10.8.0.123", "siaddr": "10.8.0.2", "boot_file": "boot.efi", "sname": "tftp.lab",
                "opt224": b"hello".hex(), "opt225": "0a0b", "lease": "600", "mask": "24", "serverid": GATEWAY[4],
                "tftp": "tftp.lab", "bootfile": "boot.efi"}
    assert {key: got.get(key) for key in expected} == expected
    # A client that asks for classless routes gets no other router, unless it is among them (RFC 3442).
    assert "10.20.0.0/16 10.8.0.253" in got["staticroutes"]
    row = leases(world)[got["ip"]]
    assert row["mac"] == mac(3) and row["host"] == "c" and row["state"] == "bound" and row["port"] == "c"
    assert 0 < row["expires"] <= 600


def test_router_without_classless_routes(world):
    world.config["networks"]["lab"]["dhcp"] = {key: value for key, value in DHCP_CONFIG.items()
                                                        if key != "routes"}
    world.apply()
    got = world.guests["b"].dhcp("-O", 121)
    assert got["router"] == "10.8.0.254" and "staticroutes" not in got
    world.config["networks"]["lab"]["dhcp"] = DHCP_CONFIG
    world.apply()
    world.guests["b"].client.kill()


@pytest.mark.parametrize("how, ip", [("mac", "10.8.0.10"), ("client-id", "10.8.0.11"), ("name", "10.8.0.12")])
def test_reservations(lab, how, ip):
    world = make_world(lab.stack)
    guest = world.guests["a" if how == "mac" else "b"]
    more = {"mac": [], "client-id": ["-x", "0x3d:" + b"the-db".hex()], "name": ["-x", "hostname:named"]}[how]
    assert guest.dhcp(*more)["ip"] == ip
    row = leases(world)[ip]
    assert row["reserved"] and row["state"] == "bound"
    # Another client gets another address, even if it asks for this one.
    assert world.guests["c"].dhcp("-r", ip)["ip"] != ip


@pytest.mark.sanitizer
def test_dhclient(world):
    guest = world.guests["a"]
    client = dhclient(guest, 4)
    client.wait_for("bound to", 20)
    got = options_of(client)
    assert got["new_ip_address"] == "10.8.0.10" and got["new_domain_search"] == "a.test. b.test."
    assert got["new_classless"].startswith("16 10 20 10 8 0 253")
    client.kill()
    assert guest.ping(GATEWAY[4])
    before = world.counters("dhcp")["release"]
    assert dhclient(guest, 4, "-r").wait() == 0
    wait_until(lambda: world.counters("dhcp")["release"] == before + 1, what="release")
    assert "10.8.0.10" not in leases(world)


def test_dhcpcd(lab):
    """Both families at once, with its own tables of state hidden from the host; and the conflicts it looks for."""
    world = make_world(lab.stack, {"dhcp6": {"mode": "stateful"}}, guests=("a", "b"))
    guest = world.guests["b"]
    client = guest.spawn("unshare", "-m", "sh", "-c",
                         "mount -t tmpfs none /run; mount -t tmpfs none /var/lib/dhcpcd; "
                         f"exec dhcpcd -B -d -h bee -f /dev/null -c /bin/true -o domain_name {guest.device}")
    client.wait_for(lambda text: re.search(r"leased 10\.8\.0\.1[01]\d for 600 seconds", text), 30, what="lease")
    wait_until(lambda: guest.address(4), what="the leased address")
    assert guest.ping(GATEWAY[4])
    row = next(row for row in leases(world).values() if row["mac"] == guest.mac and ":" not in row["ip"])
    assert row["host"] == "bee" and row["client"]


@pytest.mark.sanitizer
def test_stateful_dhcpv6(lab):
    """As odhcp6c or dhclient ask: a range of its own, a reservation, and a release."""
    world = make_world(lab.stack, {"dhcp6": {
        "mode": "stateful", "range": "fd00:8::100-fd00:8::1ff", "ntp": "fd00:8::123", "search": ["six.test"]}})
    for name, expected in (("a", re.compile("fd00:8::10")), ("b", re.compile("fd00:8::1[0-9a-f]{2}"))):
        guest = world.guests[name]
        ipv6_on(guest)
        client = dhclient(guest, 6)
        client.wait_for("reason=BOUND6", 30)
        client.wait_for("lease end", 10, start=client.output.index("reason=BOUND6"))
        got = options_of(client)
        assert expected.fullmatch(got["new_ip6_address"])
        assert got["new_dhcp6_domain_search"] == "six.test." and got["new_dhcp6_name_servers"] == GATEWAY[6]
        client.kill()
        assert leases(world)[got["new_ip6_address"]]["reserved"] == (name == "a")
        # The router's word about itself comes by its advertisement, which gives no address here.
        wait_until(lambda: "fd00:8::/64" in guest.run("ip", "-6", "route"), what="prefix")
        assert guest.ping(GATEWAY[6])
        assert dhclient(guest, 6, "-r").wait(40) == 0
        assert got["new_ip6_address"] not in leases(world)


def test_stateless_dhcpv6(world):
    guest = world.guests["b"]
    guest.slaac()
    client = dhclient(guest, 6, "-S")
    client.wait_for("new_dhcp6_name_servers", 30)
    got = options_of(client)
    assert got["new_dhcp6_name_servers"] == GATEWAY[6] and got["new_dhcp6_domain_search"] == "lab.internal."
    client.kill()


@pytest.mark.sanitizer
def test_router_advertisement(lab):
    world = World(lab, "routed", "tap", guests=("b",), network={
        "ra": {"preferred": "1h", "valid": "2h", "mtu": 1400, "dns": "fd00:8::53", "search": ["six.test"],
               "lifetime": 3000}})
    guest = world.guests["b"]
    assert guest.slaac(dad=True) == "fd00:8::5054:ff:fe00:1"
    text = guest.run("rdisc6", "-1", guest.device)
    for line in (r"Prefix\s+: fd00:8::/64", r"Valid time\s+:\s+7200", r"Pref. time\s+:\s+3600", r"MTU\s+:\s+1400",
                 r"Recursive DNS server\s+: fd00:8::53", r"DNS search list\s+: six\.test",
                 r"Router lifetime\s+:\s+3000", r"Source link-layer address: " + world.leg_mac().upper()):
        assert re.search(line, text), (line, text)
    assert world.leg_mac().upper() in guest.run("ndisc6", "-1", GATEWAY[6], guest.device)
    assert f"default via {world.state()['gateway']['link_local']}" in guest.run("ip", "-6", "route")
    # What it said, it takes back when it ends.
    world.switch.stop()
    wait_until(lambda: "default" not in guest.run("ip", "-6", "route"), what="router's farewell")


def exchanges(text):
    """(sent, received, lost) of both exchanges, as perfdhcp has counted them."""
    return re.findall(r"sent packets: (\d+)\s+received packets: (\d+)\s+drops: (\d+)", text)


def test_perfdhcp_as_a_relay_agent(lab):
    """Many clients of DHCPv4, for whom perfdhcp speaks as their relay agent: only where that may be."""
    world = World(lab, "isolated", "none", guests=("b",),
                  ports={"a": {"network": "lab", "tap": "wa", "antispoof": False}})
    guest, other = world.guests["a"], world.guests["b"]
    guest.run("ip", "addr", "add", "10.8.0.7/24", "dev", guest.device)
    text = guest.run("perfdhcp", "-4", "-l", guest.device, "-r", 20, "-R", 40, "-p", 4, check=False)
    assert all(int(received) >= 40 for _, received, _ in exchanges(text)), text
    assert sum(row["state"] == "bound" for row in leases(world).values()) == 40
    assert other.dhcp()["ip"]
    before = world.counters("dhcp")["relayed"]
    other.run("perfdhcp", "-4", "-l", other.device, "-r", 100, "-n", 10, "-R", 10, "-W", 100000, check=False)
    wait_until(lambda: world.counters("dhcp")["relayed"] == before + 10, what="relay agents that are refused")


def test_perfdhcp(lab):
    """Many clients of DHCPv6 behind one port: each its own address, up to a bound that is counted."""
    world = World(lab, "isolated", "none", guests=("a", "b"), network={"dhcp6": "stateful"})
    guest = world.guests["a"]
    ipv6_on(guest)
    wait_until(lambda: "tentative" not in guest.run("ip", "-6", "addr") and "fe80" in guest.run("ip", "-6", "addr"),
               what="link-local address")
    text = guest.run("perfdhcp", "-6", "-l", guest.device, "-r", 100, "-n", 50, "-R", 50, "-u", "-W", 1000000,
                     check=False)
    assert exchanges(text) == [("50", "50", "0")] * 2 and "non unique addresses: 0" in text, text
    assert sum(":" in ip for ip in leases(world)) == 50
    guest.run("perfdhcp", "-6", "-l", guest.device, "-r", 100, "-n", 100, "-R", 100, "-W", 100000, check=False)
    assert world.counters("dhcp6")["over_limit"] > 0
    assert sum(":" in ip for ip in leases(world)) <= 64
    # Another guest is not troubled by it.
    other = world.guests["b"]
    ipv6_on(other)
    dhclient(other, 6).wait_for("reason=BOUND6", 30)


def message(kind, client, *options, ciaddr="0.0.0.0", source="0.0.0.0", target="255.255.255.255"):
    return bytes(Ether(src=client, dst="ff:ff:ff:ff:ff:ff") / IP(src=source, dst=target) / UDP(sport=68, dport=67)
                 / BOOTP(chaddr=bytes.fromhex(client.replace(":", "")), xid=77, ciaddr=ciaddr, flags=0x8000)
                 / DHCP(options=[("message-type", kind), *options, "end"]))


def test_lists_of_one_guest(lab):
    """What weft shows of a guest, known by its port, MAC or address; a network of two hosts beside it."""
    world = World(lab, "isolated", "none", guests=("a",), more={"pair": {"mode": "isolated", "ipv4": "10.77.0.1/31"}},
                  ports={"z": {"network": "pair", "tap": "wz"}})
    a, z = world.guests["a"], world.guests["z"]
    a.dhcp()
    got = z.dhcp()
    assert (got["ip"], got["mask"], "broadcast" in got) == ("10.77.0.0", "31", False)
    assert z.ping("10.77.0.1") and a.ping(GATEWAY[4])
    show = world.switch.weft
    for guest in ("z", z.mac, "10.77.0.0"):
        for what in ("leases", "neighbours"):
            rows = json.loads(show("show", what, "--guest", guest, "--json"))
            assert [(row["network"], row["ip"], row["mac"]) for row in rows] == [("pair", "10.77.0.0", z.mac)]
    routes = json.loads(show("show", "routes", "--guest", "z", "--json"))
    assert {row["network"] for row in routes} == {"pair"} and any(row["to"] == "10.77.0.0/31" for row in routes)
    assert json.loads(show("show", "leases", "--guest", "z", "--network", "lab", "--json")) == []


def test_decline(small):
    """An address that a client found in use is put aside, and counted."""
    guest = small.guests["a"]
    ip = guest.dhcp()["ip"]
    raw = guest.raw()
    raw.send(message("decline", guest.mac, ("server_id", GATEWAY[4]), ("requested_addr", ip)))
    wait_until(lambda: leases(small)[ip]["state"] == "declined", what="declined lease")
    assert small.counters("dhcp")["decline"] == 1
    guest.client.kill()
    assert guest.dhcp()["ip"] != ip


def test_taken_address_is_not_offered(lab):
    """Somebody sits on every address of the range but one: the server looks before it offers."""
    world = World(lab, "isolated", "none", guests=("a",),
                  ports={"s": {"network": "lab", "tap": "ws", "antispoof": False}},
                  network={"dhcp": {"range": "10.8.0.100-10.8.0.102", "lease": "10m"}})
    squatter, guest = world.guests["s"], world.guests["a"]
    squatter.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0")
    for number in (100, 102):
        squatter.run("ip", "addr", "add", f"10.8.0.{number}/24", "dev", squatter.device)
    assert guest.dhcp()["ip"] == "10.8.0.101"
    assert world.counters("dhcp")["conflict"] <= 2
    states = {ip: row["state"] for ip, row in leases(world).items()}
    assert states["10.8.0.101"] == "bound"
    assert all(state == "declined" for ip, state in states.items() if ip != "10.8.0.101")


@pytest.mark.sanitizer
def test_exhaustion(small):
    assert {small.guests[name].dhcp()["ip"] for name in "ab"} == {"10.8.0.100", "10.8.0.101"}
    guest = small.guests["c"]
    guest.spawn("busybox", "udhcpc", "-f", "-i", guest.device, "-n", "-t", 2, "-T", 1, "-s", "/bin/true").wait()
    assert small.counters("dhcp")["exhausted"] >= 1 and guest.mac not in {row["mac"] for row in leases(small).values()}
    # Taken back by hand, it is the next one's.
    small.guests["a"].client.kill()
    ip = small.guests["a"].address(4)
    small.switch.weft("lease", "release", ip)
    assert guest.dhcp()["ip"] == ip
    with pytest.raises(WeftError) as refused:
        small.switch.weft("lease", "release", "10.8.0.102")
    assert refused.value.status == 1 and "nobody has leased 10.8.0.102" in refused.value.text


def test_starvation_by_one_guest(lab):
    """A guest that invents clients gets some addresses and no more; another one still gets its own."""
    world = World(lab, "isolated", "none", guests=("b",),
                  ports={"a": {"network": "lab", "tap": "wa", "antispoof": False}})
    raw = world.guests["a"].raw()
    for number in range(250):
        raw.send(message("discover", f"52:54:00:11:22:{number:02x}"))
    wait_until(lambda: world.counters("dhcp")["port_limit"] > 0, what="bound of the port")
    assert world.guests["b"].dhcp()["ip"]


@pytest.mark.sanitizer
def test_leases_outlive_a_kill(small):
    guest = small.guests["a"]
    ip = guest.dhcp()["ip"]
    before = leases(small)[ip]
    small.switch.kill()
    small.switch.start()
    after = leases(small)[ip]
    assert {key: after[key] for key in ("mac", "client", "host", "state")} == {
        key: before[key] for key in ("mac", "client", "host", "state")}
    assert after["expires"] <= before["expires"]


def test_machine_on_another_port(lab):
    """A guest that is started again at another port keeps its address: its MAC says who it is, and is guarded."""
    config = lab.isolated("vm1", "vm2")
    config["networks"]["lab"]["ipv4"] = "10.9.0.1/24"
    switch = lab.switch(config)
    ask = ("ip link set eth0 up; udhcpc -i eth0 -n -q -t 8 >/dev/null 2>&1; "
           "ip -4 addr show dev eth0 | grep -o 'inet [0-9.]*'")
    first = lab.qemu("vm1", 1, ip=None)
    leased = first.run(ask).split()[1]
    first.close()
    wait_until(lambda: switch.port("vm1")["link"] == "down", what="the end of the first")
    again = lab.qemu("again", 1, port="vm2", ip=None)
    assert again.run(ask).split()[1] == leased
    assert "1 packets received" in again.run("ping -c 1 10.9.0.1")
    assert [(row["ip"], row["mac"], row["port"]) for row in switch.show("leases")] == [(leased, mac(1), "vm2")]


def test_arp_probe_of_the_server_claims_nothing(small):
    """RFC 5227: the check before an offer has no sender address, so nobody's table changes by it."""
    raw = small.guests["b"].raw()
    small.guests["a"].dhcp()
    probe = Ether(raw.receive_matching(lambda frame: frame[12:14] == b"\x08\x06")[1])[ARP]
    assert probe.psrc == "0.0.0.0" and probe.pdst.startswith("10.8.0.10") and probe.hwsrc == small.leg_mac()
