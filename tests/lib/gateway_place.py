"""Two guests behind a gateway, the host as its next hop, and a far network behind that: each a namespace, with the
kernel's own stack as guest, router and server.

    a, b (10.8.0.11, .12) - taps - weftd - tap up0 - host (10.255.0.1) - veth - far (203.0.113.2, .3)

and the same over IPv6. Used by the end-to-end tests of gateways. Sockets are the test's own, opened in the namespaces.
"""

import contextlib
import errno
import itertools
import json
import select
import socket
import threading

from lab import mac
from process import wait_until

GUESTS = {"a": 11, "b": 12}
INSIDE = {4: "10.8.0.1", 6: "fd00:8::1"}
OUTSIDE = {4: "10.255.0.2", 6: "fd00:ff::2"}
HOST = {4: "10.255.0.1", 6: "fd00:ff::1"}
HOST_FAR = {4: "203.0.113.1", 6: "2001:db8:2::1"}
FAR = {4: "203.0.113.2", 6: "2001:db8:2::2"}
FAR_TOO = {4: "203.0.113.3", 6: "2001:db8:2::3"}
PREFIX = {4: {"inside": 24, "outside": 28, "far": 24}, 6: {"inside": 64, "outside": 64, "far": 64}}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

IP_MTU_DISCOVER, IP_MTU, IP_RECVERR, PMTUDISC_DO = 10, 14, 11, 2
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR = 23, 24, 25
places = itertools.count(1)
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH)


def guest_address(name, version):
    return f"10.8.0.{GUESTS[name]}" if version == 4 else f"fd00:8::{GUESTS[name]}"


def config(mode="nat", uplink=None, port=None, top=None, **network):
    """Network "net" with its guests' addresses reserved, so that the guard (which is on) knows them. `port` makes a
    guest's port of its name."""
    uplink = uplink or {"tap": "up0"}
    if "user" not in uplink:
        uplink = {"address": [f"{OUTSIDE[v]}/{PREFIX[v]['outside']}" for v in (4, 6)],
                  "gateway": [HOST[4], HOST[6]], **uplink}
    hosts = {name: {"mac": mac(number), "ip": guest_address(name, 4)} for name, number in GUESTS.items()}
    return {
        "networks": {"net": {
            "mode": mode, "ipv4": f"{INSIDE[4]}/24", "ipv6": f"{INSIDE[6]}/64", "dhcp": {"hosts": hosts},
            "dns": {"forward": False}, "uplink": uplink, **network}},
        "ports": {name: {"network": "net", **(port(name) if port else {"tap": f"t{name}"})} for name in GUESTS},
        **(top or {})}


class Place:
    """The namespaces. weftd runs in that of the host; start() it, then plug() the guests in."""

    def __init__(self, lab, far_mtu=1500):
        self.lab = lab
        number = next(places)
        self.host, self.far = lab.namespace(f"{number}-host"), lab.namespace(f"{number}-far")
        self.guests = {name: lab.namespace(f"{number}-{name}") for name in GUESTS}
        self.switch = self.api = None
        self.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                      # weftd's tap is ready at once.
                      "net.ipv6.conf.default.accept_dad=0",
                      # A router that answers every lost packet, as tests lose many.
                      "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        link(self.host, "tofar", self.far, "eth0", mtu=far_mtu)
        assign(self.host, "tofar", *(f"{HOST_FAR[v]}/{PREFIX[v]['far']}" for v in (4, 6)))
        assign(self.far, "eth0", *(f"{address[v]}/{PREFIX[v]['far']}" for address in (FAR, FAR_TOO) for v in (4, 6)))
        for version in (4, 6):
            self.far.run("ip", f"-{version}", "route", "add", "default", "via", HOST_FAR[version])

    def start(self, config, namespace=None, capabilities=("net_admin", "net_raw")):
        self.switch = self.lab.switch(config, namespace=(namespace or self.host).name,
                                      capabilities=list(capabilities))
        self.lab.stack.callback(lambda: self.api.close())
        self.reconnect()
        return self.switch

    def reconnect(self):
        self.api = Api(self.switch.api)

    def plug(self, names=GUESTS):
        """The guests' ends of their taps, with static addresses."""
        for name in names:
            guest = self.guests[name]
            guest.adopt(self.host, f"t{name}", mac=mac(GUESTS[name]))
            settle(guest, name, f"t{name}")

    def open(self, where, kind=socket.SOCK_DGRAM, version=4, address=None, port=0, protocol=0):
        """A socket of a guest's ("a"), the host's or the far namespace, bound; closed with the test."""
        namespace = self.guests.get(where) or getattr(self, where)
        made = namespace.socket(FAMILY[version], kind, protocol)
        self.lab.stack.callback(made.close)
        made.settimeout(20)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address or port:
            made.bind((address or ("0.0.0.0" if version == 4 else "::"), port))
        return made

    def guest_socket(self, name, kind=socket.SOCK_DGRAM, version=4, port=0, protocol=0):
        return self.open(name, kind, version, guest_address(name, version), port, protocol)

    def listen(self, where, version=4, address=None, port=0):
        listener = self.open(where, socket.SOCK_STREAM, version, address, port)
        listener.listen(512)
        return listener

    def connect(self, where, to, version=4, port=0):
        """A TCP connection from a guest, or from elsewhere."""
        if where in GUESTS:
            client = self.guest_socket(where, socket.SOCK_STREAM, version, port)
        else:
            client = self.open(where, socket.SOCK_STREAM, version, port=port)
        client.connect(to)
        return client

    def ping(self, name, to, *options):
        # One after the other: of several ping waits for the last only as long as the others took.
        for _ in range(3):
            output = self.guests[name].run("ping", "-n", "-c", 1, "-W", 10, *options, to)
            assert " 0% packet loss" in output, output

    def drops(self, port=None):
        """{reason: count} of a port, or of all together."""
        found = {}
        for row in self.api.show("drops", **({"name": port} if port else {})):
            found[row["reason"]] = found.get(row["reason"], 0) + row["count"]
        return found

    def counters(self):
        return self.api.show("networks")[0]["counters"]

    def sessions(self, **filters):
        return self.api.show("sessions", **filters)

    def memory(self):
        """Bytes that weftd has in memory (RSS)."""
        # Its child is setpriv's successor: the same process.
        with open(f"/proc/{self.switch.child.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


class Api:
    """A connection to the API that stays open: asking costs no process."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def call(self, method, **parameters):
        self.socket.sendall(json.dumps({"method": method, "params": parameters}).encode() + b"\n")
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def show(self, what, **parameters):
        return self.call("show", what=what, **parameters)

    def close(self):
        self.file.close()
        self.socket.close()


class Echo:
    """A UDP socket that sends back what it gets, in a thread; `heard` are the senders, in order."""

    def __init__(self, bound):
        self.socket, self.heard = bound, []
        self.socket.settimeout(None)
        self._stop, self._other = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            if self._stop in select.select([self.socket, self._stop], [], [])[0]:
                return
            with contextlib.suppress(OSError):  # an error of an answer before
                data, sender = self.socket.recvfrom(1 << 16)
                self.heard.append(sender[:2])
                self.socket.sendto(data, sender)

    def close(self):
        self._other.close()
        self._thread.join(20)
        self._stop.close()


@contextlib.contextmanager
def echo(bound):
    running = Echo(bound)
    try:
        yield running
    finally:
        running.close()


def link(one, device, other, peer, mtu=1500):
    """A veth pair between two namespaces, up, with IPv6 but no addresses that come by themselves."""
    one.run("ip", "link", "add", device, "mtu", mtu, "type", "veth",
            "peer", "name", peer, "mtu", mtu, "netns", other.name)
    for namespace, name in ((one, device), (other, peer)):
        prepare(namespace, name)
        namespace.run("ip", "link", "set", name, "up")


def prepare(namespace, device):
    namespace.run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=0", f"net.ipv6.conf.{device}.accept_ra=0",
                  f"net.ipv6.conf.{device}.accept_dad=0")


def assign(namespace, device, *addresses):
    for address in addresses:
        namespace.run("ip", "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))


def settle(guest, name, device):
    """A guest's static addresses and default routes."""
    prepare(guest, device)
    assign(guest, device, *(f"{guest_address(name, v)}/{PREFIX[v]['inside']}" for v in (4, 6)))
    for version in (4, 6):
        guest.run("ip", f"-{version}", "route", "add", "default", "via", INSIDE[version], "dev", device)


def exchange(client, server):
    """Both directions of a connection work."""
    for one, other, data in ((client, server, b"to the server"), (server, client, b"to the client")):
        one.sendall(data)
        assert receive_exactly(other, len(data)) == data


def receive_exactly(stream, size):
    data = bytearray()
    while len(data) < size:
        piece = stream.recv(min(size - len(data), 1 << 20))
        assert piece, f"closed after {len(data)} of {size} bytes"
        data += piece
    return bytes(data)


def wait_value(ask, wanted, what):
    """The first answer of ask() that wanted(it); what was seen last is said when it does not come."""
    last = None

    def happened():
        nonlocal last
        last = ask()
        return wanted(last)

    try:
        wait_until(happened, 20, what, 0.01)
    except Exception as problem:
        raise AssertionError(f"{what}; last: {last}") from problem
    return last
