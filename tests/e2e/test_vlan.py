"""802.1Q: access ports, trunks, a native VLAN, and isolated ports, byte by byte."""

import pytest
from frames import mac_bytes, plain
from lab import address, mac, needs_root
from process import wait_until

BROADCAST = "ff:ff:ff:ff:ff:ff"
# Nothing tells that a frame does not come; a marker sent after it, which has to come, does.
MARKER = b"marker"


@pytest.fixture
def ports(lab):
    """Frontends: two in VLAN 10, one in 20, a trunk of both, a trunk of both with native 10."""
    config = lab.isolated("a10", "b10", "c20", "trunk", "native")
    config["ports"]["a10"]["vlan"] = config["ports"]["b10"]["vlan"] = 10
    config["ports"]["c20"]["vlan"] = 20
    config["ports"]["trunk"]["vlans"] = [10, 20]
    config["ports"]["native"].update(vlans=[10, 20], native=10)
    switch = lab.switch(config)
    return switch, {name: lab.frontend(name) for name in config["ports"]}


# How many markers each port hears: see send_markers().
MARKERS = {"a10": 1, "b10": 2, "c20": 1, "trunk": 1, "native": 3}


def send(switch, frontends, name, frame):
    """Sends a frame and waits until the switch is done with it: a later one cannot overtake it."""
    def seen():
        receive = switch.port(name)["receive"]
        return receive["packets"] + receive["drops"]

    before = seen()
    frontends[name].send(frame)
    wait_until(lambda: seen() > before, what=f"frame from {name}")


def send_markers(switch, frontends):
    send(switch, frontends, "trunk", plain(mac(0x64), BROADCAST, MARKER, 10))
    send(switch, frontends, "trunk", plain(mac(0x64), BROADCAST, MARKER, 20))
    send(switch, frontends, "a10", plain(mac(0x65), BROADCAST, MARKER))


def received(frontend, markers):
    """All frames up to the last marker."""
    frames = []
    while markers:
        _, frame = frontend.receive()
        if MARKER in frame:
            markers -= 1
        else:
            frames.append(frame)
    return frames


CASES = [
    # sender, VLAN of the sent frame, {receiver: VLAN of what it gets}
    ("a10", None, {"b10": None, "trunk": 10, "native": None}),
    ("c20", None, {"trunk": 20, "native": 20}),
    ("trunk", 10, {"a10": None, "b10": None, "native": None}),
    ("trunk", 20, {"c20": None, "native": 20}),
    ("native", None, {"a10": None, "b10": None, "trunk": 10}),
    ("native", 20, {"c20": None, "trunk": 20}),
    # What is not allowed, and the reason of the drop.
    ("trunk", None, "vlan_untagged"),
    ("trunk", 30, "vlan_not_allowed"),
    ("a10", 20, "vlan_not_allowed"),
]


@pytest.mark.sanitizer
def test_broadcasts_stay_in_their_vlan(ports):
    switch, frontends = ports
    for number, (sender, vlan, outcome) in enumerate(CASES, 1):
        payload = b"payload %d" % number * 10
        send(switch, frontends, sender, plain(mac(number), BROADCAST, payload, vlan))
        send_markers(switch, frontends)
        for name, frontend in frontends.items():
            frames = received(frontend, MARKERS[name])
            if isinstance(outcome, dict) and name in outcome:
                assert frames == [plain(mac(number), BROADCAST, payload, outcome[name])], (sender, vlan, name)
            else:
                assert frames == [], (sender, vlan, name)
        if isinstance(outcome, str):
            assert switch.port(sender)["receive"]["drops_by_reason"][outcome] >= 1, (sender, vlan)


def test_unicast_is_learned_by_vlan(ports):
    """The same MAC in two VLANs is two stations."""
    switch, frontends = ports
    frontends["a10"].send(plain(mac(1), BROADCAST))
    frontends["c20"].send(plain(mac(1), BROADCAST))
    for name in ("b10", "trunk", "native"):
        frontends[name].receive()
    places = {(row["mac"], row["vlan"]): row["port"] for row in switch.show("macs")}
    assert places[mac(1), 10] == "a10" and places[mac(1), 20] == "c20"
    frontends["trunk"].send(plain(mac(2), mac(1), b"to a10" * 10, 10))
    frontends["trunk"].send(plain(mac(2), mac(1), b"to c20" * 10, 20))
    to_10 = frontends["a10"].receive_matching(lambda frame: frame[:6] == mac_bytes(mac(1)))[1]
    to_20 = frontends["c20"].receive_matching(lambda frame: frame[:6] == mac_bytes(mac(1)))[1]
    assert to_10 == plain(mac(2), mac(1), b"to a10" * 10) and to_20 == plain(mac(2), mac(1), b"to c20" * 10)


def test_isolated_ports_reach_only_others(lab):
    config = lab.isolated("i1", "i2", "open")
    config["ports"]["i1"]["isolated"] = config["ports"]["i2"]["isolated"] = True
    switch = lab.switch(config)
    frontends = {name: lab.frontend(name) for name in config["ports"]}
    send(switch, frontends, "i1", plain(mac(1), BROADCAST, b"from i1"))
    send(switch, frontends, "open", plain(mac(3), BROADCAST, b"from open"))
    assert b"from i1" in frontends["open"].receive()[1]
    assert b"from open" in frontends["i1"].receive()[1]
    assert b"from open" in frontends["i2"].receive()[1], "an isolated port heard another"
    # Known addresses too.
    send(switch, frontends, "i2", plain(mac(2), mac(1), b"to i1"))
    send(switch, frontends, "i2", plain(mac(2), mac(3), b"to open"))
    assert b"to open" in frontends["open"].receive()[1]
    assert switch.port("i2")["receive"]["drops_by_reason"]["isolated"] == 1


@needs_root
@pytest.mark.sanitizer
def test_guest_on_a_trunk(lab):
    """A real guest with 802.1Q devices reaches an access port's namespace and a tap trunk's raw frames."""
    inner, access = lab.namespace(), lab.namespace()
    trunk = lab.namespace()
    config = lab.isolated("vm1")
    config["ports"]["vm1"]["vlans"] = [10, 20]
    config["ports"]["t10"] = {"network": "lab", "tap": "t10", "vlan": 10}
    config["ports"]["tt"] = {"network": "lab", "tap": "tt", "vlans": [10, 20]}
    switch = lab.tap_switch(config, inner)
    access.adopt(inner, "t10", f"{address(9)}/24")
    trunk.adopt(inner, "tt")
    raw = trunk.raw_socket("tt")
    lab.stack.callback(raw.close)
    guest = lab.qemu("vm1", 1, ip=None)
    guest.run("ip link set eth0 up; vconfig add eth0 10; vconfig add eth0 20; ip link set eth0.10 up; "
              f"ip link set eth0.20 up; ip addr add {address(1)}/24 dev eth0.10")
    assert "3 packets received" in guest.run(f"ping -c 3 -i 0.2 {address(9)}")
    # The guest's ARP request, seen tagged by the trunk.
    arp = raw.receive_matching(lambda frame: frame[12:18] == bytes.fromhex("8100000a0806"))[1]
    assert arp[6:12] == mac_bytes(mac(1))
    # A tagged frame from the tap into VLAN 20 counts at the guest's eth0.20 and nowhere else.
    count = "cat /sys/class/net/eth0.%d/statistics/rx_packets"
    before = guest.run(count % 10)
    twenty = int(guest.run(count % 20))
    for _ in range(5):
        raw.send(plain(mac(7), mac(1), b"tagged", 20))
    guest.run(f"until [ $({count % 20}) -ge {twenty + 5} ]; do usleep 20000; done")
    assert guest.run(count % 10) == before
    assert {(row["vlan"], row["port"]) for row in switch.show("macs") if row["mac"] == mac(7)} == {(20, "tt")}
