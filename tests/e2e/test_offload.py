"""The offload matrix: each kind of frame from each kind of sender to each kind of receiver, checked byte by byte.

A receiver gets a frame as it is where it can take it, else completed or cut; whatever it gets has to be right.
"""

import socket

import frontend as fe
import pytest
from frames import GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, TCP, UDP, Packet, plain
from lab import mac, needs_root
from process import Timeout

SENDER, RECEIVER = mac(0x51), mac(0x52)
BIG = 60000

GUEST_ALL = (fe.F_GUEST_CSUM | fe.F_GUEST_TSO4 | fe.F_GUEST_TSO6 | fe.F_GUEST_UFO | fe.F_GUEST_USO4
             | fe.F_GUEST_USO6)
HOST_ALL = fe.F_CSUM | fe.F_HOST_TSO4 | fe.F_HOST_TSO6 | fe.F_HOST_UFO | fe.F_HOST_USO
WITHOUT_MRG = fe.DEFAULT_FEATURES & ~fe.F_MRG_RXBUF

# Vhost-user receivers: features, and the size of their buffers.
RECEIVERS = {
    "nothing": (fe.DEFAULT_FEATURES, 2048),
    "no-mergeable": (WITHOUT_MRG, 2048),
    "csum": (fe.DEFAULT_FEATURES | fe.F_GUEST_CSUM, 2048),
    "tso4": (fe.DEFAULT_FEATURES | fe.F_GUEST_CSUM | fe.F_GUEST_TSO4, 2048),
    "all": (fe.DEFAULT_FEATURES | GUEST_ALL, 2048),
    "all-no-mergeable": (WITHOUT_MRG | GUEST_ALL, 65562),
}
TAP_OFFLOADS = {"tap-on": "on", "tap-off": "off"}


def packets(vlan):
    """All frame kinds; name: Packet."""
    def packet(*arguments, **options):
        return Packet(SENDER, RECEIVER, *arguments, vlan=vlan, **options)

    kinds = {}
    for version, gso in ((4, GSO_TCPV4), (6, GSO_TCPV6)):
        kinds[f"tcp{version} whole"] = packet(TCP, version, 1000)
        kinds[f"tcp{version} partial"] = packet(TCP, version, 1001, partial=True)
        kinds[f"tcp{version} gso"] = packet(TCP, version, 5000, 1400, gso, partial=True)
        kinds[f"tcp{version} gso 64 KiB"] = packet(TCP, version, BIG + 1, 1448, gso, partial=True)
        kinds[f"udp{version} whole"] = packet(UDP, version, 33)
        kinds[f"udp{version} partial"] = packet(UDP, version, 700, partial=True)
        kinds[f"udp{version} uso"] = packet(UDP, version, 8001, 1000, GSO_UDP_L4, partial=True)
        kinds[f"udp{version} uso 64 KiB"] = packet(UDP, version, BIG, 1472 - 20 * (version == 6), GSO_UDP_L4,
                                                   partial=True)
        kinds[f"udp{version} ufo"] = packet(UDP, version, 9000, 1480 - 20 * (version == 6) - 8 * (version == 6),
                                            GSO_UDP, partial=True)
    kinds["full size"] = packet(TCP, 4, 1460)
    return kinds


class TapEnd:
    """A tap moved into a namespace, with its offloads on or off, spoken to by a raw socket."""

    def __init__(self, lab, inner, name, state, hardware):
        self.namespace = lab.namespace()
        self.namespace.adopt(inner, name, mac=hardware)
        # Off: the kernel tells the tap, which tells us, that its side takes only plain frames.
        for offload in ("tso", "ufo", "tx-udp-segmentation", "tx"):
            self.namespace.run("ethtool", "-K", name, offload, state, check=False)
        self.raw = self.namespace.raw_socket(name, vnet_header=True)
        lab.stack.callback(self.raw.close)
        self.send, self.receive = self.raw.send, self.raw.receive


def transfer(sender, receiver, kinds):
    """Sends each packet and checks what comes; returns, by name, how many frames it became."""
    became = {}
    for name, packet in kinds.items():
        expected = packet.expects()
        try:
            sender.send(packet.frame, packet.header)
            while not expected.complete:
                arrived = receiver.receive(10)
                if not arrived:
                    raise Timeout("nothing came")
                if packet.mine(arrived[1]):
                    expected.feed(*arrived)
        except (AssertionError, Timeout, OSError) as error:
            raise AssertionError(f"{name}: {error!r} after {expected.frames} frames") from error
        became[name] = expected.frames
    return became


def without(kinds, *words):
    return {name: packet for name, packet in kinds.items() if not any(word in name for word in words)}


def learn(sender, receiver):
    """Both MACs become known, so that nothing is flooded."""
    broadcast = "ff:ff:ff:ff:ff:ff"
    receiver.send(plain(RECEIVER, broadcast, b"hello"))
    while b"hello" not in sender.receive()[1]:
        pass


@pytest.mark.sanitizer
@pytest.mark.parametrize("vlan", [None, 7], ids=["untagged", "tagged"])
@pytest.mark.parametrize("kind", RECEIVERS)
def test_guest_to_guest(lab, kind, vlan):
    config = lab.isolated("from", "to")
    if vlan:
        for port in config["ports"].values():
            port["vlans"] = [vlan]
            port["native"] = 1
    switch = lab.switch(config)
    features, size = RECEIVERS[kind]
    sender = lab.frontend("from", features=fe.DEFAULT_FEATURES | HOST_ALL, buffer_size=66000)
    receiver = lab.frontend("to", features=features, buffer_size=size, size=128)
    assert sender.features == fe.DEFAULT_FEATURES | HOST_ALL and receiver.features == features
    learn(sender, receiver)
    became = transfer(sender, receiver, packets(vlan))
    if kind.startswith("all"):
        assert set(became.values()) == {1}, became  # nothing is cut for one who can take it whole
    if kind == "tso4":
        assert became["tcp4 gso 64 KiB"] == 1 and became["tcp6 gso 64 KiB"] > 40
    for name in ("from", "to"):
        port = switch.port(name)
        assert port["receive"]["drops"] == port["transmit"]["drops"] == 0, port


@needs_root
@pytest.mark.sanitizer
@pytest.mark.parametrize("kind", ["nothing", "csum", "all"])
@pytest.mark.parametrize("state", TAP_OFFLOADS)
@pytest.mark.parametrize("direction", ["tap-to-guest", "guest-to-tap"])
def test_tap_and_guest(lab, kind, state, direction):
    inner = lab.namespace()
    config = lab.isolated("guest")
    config["ports"]["t0"] = {"network": "lab", "tap": "t0"}
    switch = lab.tap_switch(config, inner)
    features, size = RECEIVERS[kind]
    guest = lab.frontend("guest", features=features | HOST_ALL, buffer_size=66000)
    tap_is_sender = direction == "tap-to-guest"
    tap = TapEnd(lab, inner, "t0", TAP_OFFLOADS[state], SENDER if tap_is_sender else RECEIVER)
    sender, receiver = (tap, guest) if tap_is_sender else (guest, tap)
    learn(sender, receiver)
    # A packet socket knows UFO no more, and USO only in newer kernels: test_datagrams_to_tap() has those.
    kinds = without(packets(None), "ufo", "uso")
    transfer(sender, receiver, kinds)
    for name in ("guest", "t0"):
        port = switch.port(name)
        assert port["receive"]["errors"] == port["transmit"]["errors"] == 0, port


@needs_root
@pytest.mark.sanitizer
def test_datagrams_to_tap(lab):
    """UDP from a guest to a socket behind a tap: what was one datagram arrives as one, what was many as many."""
    inner, outer = lab.namespace(), lab.namespace()
    config = lab.isolated("guest")
    config["ports"]["t0"] = {"network": "lab", "tap": "t0"}
    lab.tap_switch(config, inner)
    guest = lab.frontend("guest", features=fe.DEFAULT_FEATURES | HOST_ALL, buffer_size=66000)
    outer.adopt(inner, "t0", "10.1.0.2/24", mac=RECEIVER)
    with outer.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("10.1.0.2", 4321))
        receiver.settimeout(10)
        for name, packet in packets(None).items():
            if not name.startswith("udp4"):
                continue
            guest.send(packet.frame, packet.header)
            size = packet.header[3] if "uso" in name else len(packet.payload)
            for offset in range(0, len(packet.payload), size):
                assert receiver.recv(70000) == packet.payload[offset:offset + size], (name, offset)


@needs_root
@pytest.mark.parametrize("from_state", TAP_OFFLOADS)
@pytest.mark.parametrize("to_state", TAP_OFFLOADS)
def test_tap_to_tap(lab, from_state, to_state):
    inner = lab.namespace()
    config = {"networks": {"lab": {"mode": "isolated"}},
              "ports": {name: {"network": "lab", "tap": name} for name in ("t0", "t1")}}
    lab.tap_switch(config, inner)
    sender = TapEnd(lab, inner, "t0", TAP_OFFLOADS[from_state], SENDER)
    receiver = TapEnd(lab, inner, "t1", TAP_OFFLOADS[to_state], RECEIVER)
    learn(sender, receiver)
    transfer(sender, receiver, without(packets(None), "ufo", "uso"))
