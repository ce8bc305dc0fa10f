"""A world around a gateway: guests, a router and an internet, each the kernel's own stack in a namespace.

    guest a ──tap──┐              (tap: the host itself; interface: a veth to a router of its own)
    guest b ──tap──┴─ weftd ──uplink── router ──veth── internet

Used by tests/e2e. Guests are taps that were moved into namespaces; weftd runs in the host's namespace.
"""

import ipaddress
import itertools
import json
import selectors
import socket
import struct
import threading

from lab import mac
from process import wait_until

CAPABILITIES = ["net_admin", "net_raw", "net_bind_service"]
INTERNET = {4: "10.99.0.2", 6: "fd00:99::2"}
ROUTER = {4: "10.255.0.1", 6: "fd00:ff::1"}   # the next hop of the gateway
OUTSIDE = {4: "10.255.0.2", 6: "fd00:ff::2"}  # the gateway's own outside
GATEWAY = {4: "10.8.0.1", 6: "fd00:8::1"}
PREFIX = {4: "10.8.0.0/24", 6: "fd00:8::/64"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
STATIC = {"address": [f"{OUTSIDE[4]}/30", f"{OUTSIDE[6]}/64"], "gateway": [ROUTER[4], ROUTER[6]]}
ECHO_PORT = 7
worlds = itertools.count(1)
UDHCPC_SCRIPT = """#!/bin/sh
case $1 in
bound|renew)
	ip addr flush dev $interface scope global label $interface
	ip addr add $ip/$mask dev $interface
	[ -z "$mtu" ] || ip link set $interface mtu $mtu
	for r in $router; do ip route replace default via $r; done
	echo "lease $1 $ip"
	env | sed 's/^/option /'
	echo "lease end" ;;
nak) echo "lease nak" ;;
esac
exit 0
"""


class Echo:
    """A server of TCP and UDP on port 7, both families: tells each client its address, then says all again."""

    def __init__(self, namespace, port=ECHO_PORT):
        self.selector = selectors.DefaultSelector()
        self.stop = socket.socketpair()
        self.selector.register(self.stop[0], selectors.EVENT_READ, None)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            listener = namespace.socket(socket.AF_INET6, kind)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                listener.listen(64)
            self.selector.register(listener, selectors.EVENT_READ,
                                   self._accept if kind == socket.SOCK_STREAM else self._datagram)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self):
        self.stop[1].send(b"x")
        self.thread.join(10)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.stop[1].close()
        self.selector.close()

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    @staticmethod
    def _told(peer):
        return f"{peer[0].removeprefix('::ffff:')} {peer[1]}\n".encode()

    def _accept(self, listener):
        client, peer = listener.accept()
        client.sendall(self._told(peer))
        self.selector.register(client, selectors.EVENT_READ, self._again)

    def _again(self, client):
        try:
            data = client.recv(1 << 16)
            client.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(client)
            client.close()

    def _datagram(self, server):
        data, peer = server.recvfrom(1 << 16)
        try:
            server.sendto(self._told(peer) + data, peer)
        except OSError:
            pass  # an ICMP error about one client is nothing to the others


class Guest:
    """A guest that is the kernel: its tap has been moved into a namespace of its own."""

    def __init__(self, world, name, number, namespace=None):
        self.world, self.name, self.number = world, name, number
        self.device, self.mac = f"w{name}", mac(number)
        self.namespace = namespace or world.namespace(f"guest-{name}")
        self.run = self.namespace.run
        if namespace:
            namespace.set_up(self.device, mac=self.mac)
        else:
            self.namespace.adopt(world.host, self.device, mac=self.mac)

    def spawn(self, *command):
        child = self.namespace.spawn(*command)
        self.world.lab.stack.callback(child.kill)
        return child

    def socket(self, family, kind, timeout=20):
        new = self.namespace.socket(FAMILIES[family], kind)
        new.settimeout(timeout)
        return new

    def raw(self):
        raw = self.namespace.raw_socket(self.device)
        self.world.lab.stack.callback(raw.close)
        return raw

    def dhcp(self, *options):
        """A lease by udhcpc, which stays; returns {option: value} as its script got them."""
        script = self.world.lab.directory / "udhcpc.sh"
        script.write_text(UDHCPC_SCRIPT)
        script.chmod(0o755)
        client = self.spawn("busybox", "udhcpc", "-f", "-R", "-i", self.device, "-t", 20, "-T", 1, "-s", script,
                            *(() if "hostname" in " ".join(map(str, options)) else ("-x", f"hostname:{self.name}")),
                            *options)
        client.wait_for("lease end", 40)
        self.client = client
        return lease_options(client.output)

    def slaac(self, dad=False):
        """Turns IPv6 on and waits for an address and a router; returns the address."""
        for key, value in (("accept_dad", int(dad)), ("router_solicitation_delay", 0), ("accept_ra", 1),
                           ("addr_gen_mode", 0), ("use_tempaddr", 0), ("disable_ipv6", 0)):
            self.run("sysctl", "-qw", f"net.ipv6.conf.{self.device}.{key}={value}")
        return wait_until(lambda: self.address(6), what="an IPv6 address")

    def static(self, ipv4, ipv6):
        """Addresses nobody gave, for a bridge."""
        self.run("sysctl", "-qw", f"net.ipv6.conf.{self.device}.disable_ipv6=0",
                 f"net.ipv6.conf.{self.device}.accept_dad=0")
        self.run("ip", "addr", "add", ipv4, "dev", self.device)
        self.run("ip", "addr", "add", ipv6, "dev", self.device, "nodad")

    def address(self, family):
        """Its global address, None without one."""
        for link in json.loads(self.run("ip", "-j", "addr", "show", "dev", self.device)):
            for row in link.get("addr_info", []):
                if (row["family"] == ("inet" if family == 4 else "inet6") and row["scope"] == "global"
                        and not row.get("tentative")):
                    return row["local"]
        return None

    def ping(self, target, *options, count=1, wait=10):
        """Whether all echo requests were answered."""
        return ping(self.namespace, target, *options, count=count, wait=wait)

    def talk(self, kind, target, port=ECHO_PORT, data=b"hello", timeout=20):
        """Talks with an Echo; returns the address and port that it saw us have."""
        return talk(self.namespace, kind, target, port, data, timeout)


def lease_options(output):
    """The options of the last lease in what udhcpc and its script have printed."""
    text = output[:output.rindex("lease end")]
    text = text[text.rindex("lease "):] if "option " not in text else text[text.rindex("\nlease "):]
    return dict(line[7:].split("=", 1) for line in text.splitlines() if line.startswith("option ") and "=" in line)


def ping(namespace, target, *options, count=1, wait=10):
    """One after the other: of several ping waits for the last only as long as the others took."""
    return all(" 1 received" in namespace.run("ping", "-n", "-c", 1, "-W", wait, *options, target, check=False,
                                              timeout=wait + 60)
               for _ in range(count))


def talk(namespace, kind, target, port=ECHO_PORT, data=b"hello", timeout=20):
    family = 6 if ":" in target else 4
    with namespace.socket(FAMILIES[family], kind) as client:
        client.settimeout(timeout)
        client.connect((target, port))
        client.sendall(data)
        received = b""
        if kind == socket.SOCK_DGRAM:
            received = client.recv(1 << 16)
        else:
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(1 << 16):
                received += piece
        told, again = received.split(b"\n", 1)
        assert again == data
        address, own_port = told.decode().split()
        return address, int(own_port)


class World:
    """Namespaces host, router and internet, and a weftd with one network "lab" (others by `more`).

    `uplink`: "none", "tap", "interface", "user"; `keys` are added to the uplink's, `network` to the network's.
    `guests` are behind taps, `veths` behind interfaces of the host's, which are there without weftd.
    """

    def __init__(self, lab, mode, uplink, guests=("a", "b"), network=None, keys=None, more=None, ports=None,
                 veths=(), addresses=True):
        self.lab, self.mode, self.kind = lab, mode, uplink
        self.number = next(worlds)
        self.host = self.namespace("host")
        forwarding(self.host)
        self.router = self.host
        if uplink == "interface":
            self.router = self.namespace("router")
            forwarding(self.router)
            link(self.host, "eth1", self.router, "wire0")
            if addresses:
                give(self.router, "wire0", f"{ROUTER[4]}/30", f"{ROUTER[6]}/64")
        self.internet = None
        if uplink != "none":
            self.internet = self.namespace("internet")
            link(self.router, "north", self.internet, "south")
            give(self.router, "north", "10.99.0.1/24", "fd00:99::1/64")
            give(self.internet, "south", f"{INTERNET[4]}/24", f"{INTERNET[6]}/64")
            self.internet.run("ip", "route", "add", "default", "via", "10.99.0.1")
            self.internet.run("ip", "route", "add", "default", "via", "fd00:99::1")
            echo = Echo(self.internet)
            lab.stack.callback(echo.close)
        self.config = {"networks": {"lab": self.network(network or {}, keys or {}), **(more or {})},
                       "ports": {**{name: {"network": "lab", "tap": f"w{name}"} for name in guests},
                                 **{name: {"network": "lab", "interface": f"p{name}"} for name in veths},
                                 **(ports or {})}}
        behind = {name: self.namespace(f"guest-{name}") for name in veths}
        for name, namespace in behind.items():
            link(self.host, f"p{name}", namespace, f"w{name}")
        self.switch = lab.switch(self.config, namespace=self.host.name, capabilities=CAPABILITIES)
        if uplink == "interface" and mode == "routed":
            for family in (4, 6):
                self.router.run("ip", "route", "add", PREFIX[family], "via", OUTSIDE[family])
        self.guests = {name: Guest(self, name, number, behind.get(name))
                       for number, name in enumerate(self.config["ports"], 1)}

    def namespace(self, name):
        """One of this world's own: there may be several at once."""
        return self.lab.namespace(f"{self.number}-{name}")

    def network(self, network, keys):
        uplink = {"none": "none", "tap": {"tap": "weft0"}, "interface": {"interface": "eth1"},
                  "user": {"user": True}}[self.kind]
        inside = {"ipv4": f"{GATEWAY[4]}/24", "ipv6": f"{GATEWAY[6]}/64"} if self.mode != "bridge" else {}
        if self.mode in ("routed", "nat") and self.kind in ("tap", "interface"):
            uplink = {**uplink, **STATIC}
        if uplink != "none":
            uplink = {**uplink, **keys}
        return {"mode": self.mode, **inside, "uplink": uplink, **network}

    def apply(self):
        """Puts self.config into force."""
        self.switch.write_config(self.config)
        return self.switch.weft("apply", self.switch.file)

    @property
    def wire(self):
        """The router's device on the uplink."""
        return "wire0" if self.kind == "interface" else "weft0"

    def serve_segment(self):
        """The router serves the segment of a bridge: addresses, names, the way out."""
        give(self.router, self.wire, f"{GATEWAY[4]}/24", f"{GATEWAY[6]}/64")
        self.router.run("ip", "link", "set", self.wire, "up")
        serve_dhcp(self.lab, self.router, self.wire, "10.8.0.100,10.8.0.200", "fd00:8::")

    def stranger(self):
        """The guest "z" of a second network "strange", isolated with a gateway."""
        if "z" not in self.guests:
            self.config["networks"]["strange"] = {"mode": "isolated", "ipv4": "10.77.0.1/24",
                                                  "ipv6": "fd00:77::1/64"}
            self.config["ports"]["z"] = {"network": "strange", "tap": "wz"}
            self.apply()
            self.guests["z"] = Guest(self, "z", 0x77)
            self.up("z")
        return self.guests["z"]

    @staticmethod
    def device_mac(namespace, device):
        return json.loads(namespace.run("ip", "-j", "link", "show", "dev", device))[0]["address"]

    def up(self, *names):
        """DHCP and SLAAC for these guests; returns them."""
        for name in names:
            self.guests[name].dhcp()
        for name in names:
            self.guests[name].slaac()
        return [self.guests[name] for name in names]

    def state(self, network="lab"):
        """The network's row of `weft show networks`."""
        return next(row for row in self.switch.show("networks") if row["name"] == network)

    def counters(self, part, network="lab"):
        return self.state(network)["counters"][part]

    def drops(self, port, direction="receive"):
        return self.switch.port(port)[direction]["drops_by_reason"]

    def leg_mac(self, outside=False, network="lab"):
        return self.state(network)["outside" if outside else "gateway"]["mac"]

    def until_dropped(self, port, reason, before=0, direction="receive"):
        """Waits until the port has counted more drops for this reason than `before`."""
        return wait_until(lambda: (count := self.drops(port, direction).get(reason, 0)) > before and count,
                          what=f"drop {reason} on {port} (it has {self.drops(port, direction)})", timeout=10)


def forwarding(namespace):
    for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0"):
        namespace.run("sysctl", "-qw", key)


def link(first, first_device, second, second_device):
    """A veth pair between two namespaces."""
    first.run("ip", "link", "add", first_device, "type", "veth", "peer", "name", second_device, "netns",
              second.name)
    for namespace, device in ((first, first_device), (second, second_device)):
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=0", f"net.ipv6.conf.{device}.accept_ra=0")
        namespace.run("ip", "link", "set", device, "up")


def give(namespace, device, *addresses):
    for address in addresses:
        more = ["nodad"] if ":" in address else []
        namespace.run("ip", "addr", "add", address, "dev", device, *more)


def dnsmasq(lab, namespace, *options):
    """A dnsmasq that is told everything by its options; a process.Child."""
    child = namespace.spawn("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null",
                            "--user=root", "--pid-file=", "--no-resolv", "--no-hosts", *options)
    lab.stack.callback(child.kill)
    child.wait_for("started, version", 20)
    return child


def resolver(lab, namespace, address, *options):
    """A resolver of a namespace's own, that logs each question."""
    return dnsmasq(lab, namespace, f"--listen-address={address}", "--bind-interfaces", "--log-queries", *options)


def serve_dhcp(lab, namespace, device, addresses, prefix, *options, lease="1h"):
    """A DHCP server and router advertisements on a device."""
    leases = lab.directory / f"dnsmasq-{device}.leases"
    return dnsmasq(lab, namespace, "--port=0", f"--interface={device}", "--bind-dynamic", "--log-dhcp",
                   f"--dhcp-range={addresses},{lease}", f"--dhcp-range={prefix},ra-only", "--enable-ra",
                   "--dhcp-authoritative", "--no-ping", f"--dhcp-leasefile={leases}", *options)


def ip_frame(source_mac, destination_mac, source, destination, payload=None, ttl=64, port=2222):
    """A whole frame with an IP packet; the payload is a UDP datagram from port 1111 to `port` if nothing is said."""
    from scapy.all import ICMP, IP, UDP, Ether, ICMPv6EchoRequest, IPv6, Raw
    version = ipaddress.ip_address(destination).version
    network = (IP(src=source, dst=destination, ttl=ttl) if version == 4
               else IPv6(src=source, dst=destination, hlim=ttl))
    if payload is None:
        payload = UDP(sport=1111, dport=port) / Raw(b"crafted")
    elif payload == "ping":
        payload = (ICMP(id=77) if version == 4 else ICMPv6EchoRequest(id=77)) / Raw(b"crafted")
    return bytes(Ether(src=source_mac, dst=destination_mac) / network / payload).ljust(60, b"\0")


def carries(marker):
    return lambda frame: marker in frame


def linger(client):
    """Close means reset: no TIME_WAIT is left behind."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
