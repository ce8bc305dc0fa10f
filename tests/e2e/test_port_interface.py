"""An interface of the host as a bridge's uplink: one end of a veth pair, with the segment at the other end.

weftd and the host's side live in one namespace, the segment in another.
"""

import pytest
from frames import plain
from lab import mac, needs_root
from switch import WeftError
from test_offload import HOST_ALL, RECEIVER, RECEIVERS, SENDER, learn, packets, transfer, without

pytestmark = needs_root
CAPABILITIES = ["net_admin", "net_raw"]


def config(lab, **uplink):
    return {"networks": {"lab": {"mode": "bridge", "uplink": {"interface": "eth1", **uplink}}},
            "ports": {"guest": {"network": "lab", "vhost-user": lab.socket("guest")}}}


def veth(host, segment):
    """eth1 of the host, at whose other end is wire0 of the segment."""
    host.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "wire0", "netns", segment.name)
    host.set_up("eth1", "10.8.0.1/24")
    segment.set_up("wire0", "10.8.0.2/24")


@pytest.fixture
def place(lab):
    host, segment = lab.namespace(), lab.namespace()
    veth(host, segment)
    return host, segment


@pytest.mark.sanitizer
@pytest.mark.parametrize("vlan", [None, 7], ids=["untagged", "tagged"])
@pytest.mark.parametrize("kind", ["nothing", "all"])
@pytest.mark.parametrize("direction", ["segment-to-guest", "guest-to-segment"])
def test_offloads(lab, place, direction, kind, vlan):
    host, segment = place
    switch = lab.switch(config(lab), namespace=host.name, capabilities=CAPABILITIES)
    features, size = RECEIVERS[kind]
    guest = lab.frontend("guest", features=features | HOST_ALL, buffer_size=max(size, 66000))
    wire = segment.raw_socket("wire0", vnet_header=True)
    lab.stack.callback(wire.close)
    sender, receiver = (wire, guest) if direction == "segment-to-guest" else (guest, wire)
    learn(sender, receiver)
    # A packet socket, which is the segment here, knows no UFO, and USO only in newer kernels.
    kinds = packets(vlan) if direction == "guest-to-segment" else without(packets(vlan), "ufo", "uso")
    became = transfer(sender, receiver, kinds)
    if direction == "guest-to-segment" or kind == "all":
        assert became["tcp4 gso 64 KiB"] == became["tcp6 gso 64 KiB"] == 1, became
    for name in ("guest", "lab.uplink"):
        port = switch.port(name)
        assert port["receive"]["errors"] == port["transmit"]["errors"] == 0, port


@pytest.mark.sanitizer
def test_host_is_undisturbed(lab, place):
    """The host's own traffic goes on, both ways, and nothing of it that is for one alone comes to a guest."""
    host, segment = place
    lab.switch(config(lab), namespace=host.name, capabilities=CAPABILITIES)
    guest = lab.frontend("guest")
    assert " 0% packet loss" in host.run("ping", "-c", 3, "-i", 0.1, "-W", 5, "10.8.0.2")
    assert " 0% packet loss" in segment.run("ping", "-c", 3, "-i", 0.1, "-W", 5, "10.8.0.1")
    wire = segment.raw_socket("wire0")
    lab.stack.callback(wire.close)
    wire.send(plain(SENDER, mac(0x77), b"the last"))
    while b"the last" not in (frame := guest.receive()[1]):
        # ARP requests for all.
        assert frame[:6] == b"\xff" * 6 and frame[12:14] == b"\x08\x06", frame


def wait_for_port(switch, wanted):
    """Asks until the uplink is as wanted: the kernel's news come by netlink, on weftd's own loop."""
    for _ in range(2000):
        port = switch.port("lab.uplink")
        if wanted(port):
            return port
    raise AssertionError(port)


@pytest.mark.sanitizer
def test_follows_the_interface(lab, place):
    host, segment = place
    switch = lab.switch(config(lab), namespace=host.name, capabilities=CAPABILITIES)
    guest = lab.frontend("guest")
    port = switch.port("lab.uplink")
    assert port["link"] == "up" and port["mtu"] == 1500 and port["driver"] == "packet" and port["kernel_drops"] == 0
    segment.run("ip", "link", "set", "wire0", "down")
    wait_for_port(switch, lambda port: port["link"] == "down")
    segment.run("ip", "link", "set", "wire0", "up")
    wait_for_port(switch, lambda port: port["link"] == "up")
    host.run("ip", "link", "set", "eth1", "mtu", 1400)
    wait_for_port(switch, lambda port: port["mtu"] == 1400)
    host.run("ip", "link", "del", "eth1")
    port = wait_for_port(switch, lambda port: port["link"] == "down")
    assert port["fault"] == "interface gone"
    veth(host, segment)
    wait_for_port(switch, lambda port: port["link"] == "up")
    wire = segment.raw_socket("wire0")
    lab.stack.callback(wire.close)
    guest.send(plain(RECEIVER, mac(0x77), b"again"))
    wire.receive_matching(lambda frame: b"again" in frame)


def test_refused(lab, place):
    host, _ = place
    switch = lab.switch({"networks": {"lab": {"mode": "bridge"}}}, namespace=host.name, capabilities=CAPABILITIES)

    def apply(**uplink):
        switch.write_config(config(lab, **uplink))
        return switch.weft("apply", switch.file)

    with pytest.raises(WeftError, match=r"weft.yaml:\d+: .*interface 'eth9' is not there"):
        apply(interface="eth9")
    with pytest.raises(WeftError, match=r"not an Ethernet interface"):
        apply(interface="lo")
    host.run("ip", "route", "add", "default", "via", "10.8.0.2")
    with pytest.raises(WeftError, match=r"default route leaves by it.*`allow-default-route: true`"):
        apply()
    apply(**{"allow-default-route": True})
    assert switch.port("lab.uplink")["link"] == "up"


def test_several_queues(lab, place):
    """Frames of many flows, each once, by whatever queue."""
    host, segment = place
    switch = lab.switch({**config(lab, queues=4), "workers": {"count": 2}}, namespace=host.name,
                        capabilities=CAPABILITIES)
    guest = lab.frontend("guest", size=256)  # room for all at once
    wire = segment.raw_socket("wire0")
    lab.stack.callback(wire.close)
    learn(wire, guest)
    sent = {plain(mac(i), RECEIVER, b"flow %d" % i) for i in range(0x60, 0xc0)}
    for frame in sent:
        wire.send(frame)
    seen = []
    while len(seen) < len(sent):
        frame = guest.receive_matching(lambda frame: b"flow" in frame)[1]
        assert frame in sent and frame not in seen
        seen.append(frame)
    assert switch.port("lab.uplink")["queues"] == 4


XDP = [*CAPABILITIES, "bpf", "ipc_lock"]


def tags_stay(host, segment):
    host.run("ethtool", "-K", "eth1", "rxvlan", "off")
    segment.run("ethtool", "-K", "wire0", "txvlan", "off")


@pytest.mark.sanitizer
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_xdp(lab, place, mode):
    """Guests and segment reach each other, the host is undisturbed, and nothing is left when weftd is killed."""
    host, segment = place
    tags_stay(host, segment)
    if mode == "generic":  # a veth's driver wants no program when the other end may send more than it takes
        segment.run("ip", "link", "set", "wire0", "mtu", 9000)
    switch = lab.switch(config(lab, driver="xdp"), namespace=host.name, capabilities=XDP)
    port = wait_for_port(switch, lambda port: port["link"] == "up")
    assert (port["driver"], port["xdp_mode"], port["zero_copy"]) == ("xdp", mode, False)
    guest = lab.frontend("guest")
    wire = segment.raw_socket("wire0")
    lab.stack.callback(wire.close)
    for size in (20, 500, 1400):
        guest.send(plain(RECEIVER, mac(0x77), b"out" * (size // 3)))
        wire.receive_matching(lambda frame: b"out" * (size // 3) in frame)
        wire.send(plain(mac(0x77), RECEIVER, b"in" * (size // 2)))
        guest.receive_matching(lambda frame: b"in" * (size // 2) in frame)
    host.run("ip", "neigh", "flush", "all")
    segment.run("ip", "neigh", "flush", "all")
    assert " 0% packet loss" in host.run("ping", "-c", 3, "-i", 0.1, "-W", 5, "10.8.0.2")
    assert " 0% packet loss" in segment.run("ping", "-c", 3, "-i", 0.1, "-W", 5, "10.8.0.1")
    assert "xdp" in host.run("ip", "link", "show", "eth1")
    switch.kill()
    assert "xdp" not in host.run("ip", "link", "show", "eth1")
    switch.start()
    # The kernel gives the queue free when it comes to it.
    assert wait_for_port(switch, lambda port: port["link"] == "up")["xdp_mode"] == mode


def test_xdp_refused(lab, place):
    host, segment = place
    switch = lab.switch({"networks": {"lab": {"mode": "bridge"}}}, namespace=host.name, capabilities=CAPABILITIES)
    switch.write_config(config(lab, driver="xdp"))
    with pytest.raises(WeftError, match=r"rxvlan off"):
        switch.weft("apply", switch.file)
    tags_stay(host, segment)
    with pytest.raises(WeftError, match=r"XDP needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"):
        switch.weft("apply", switch.file)
