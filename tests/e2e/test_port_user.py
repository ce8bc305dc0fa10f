"""Host sockets as an uplink: guests reach services of the host's namespace, without any privilege of weftd's."""

import errno
import hashlib
import os
import socket
import threading

import pytest
from lab import needs_root
from process import Child

pytestmark = needs_root
IP_RECVERR = 11


def config(*ports, **uplink):
    return {"networks": {"lab": {"mode": "bridge", "uplink": {"user": True, **uplink}}},
            "ports": {name: {"network": "lab", "tap": {"name": name, "existing": True}} for name in ports}}


@pytest.fixture
def place(lab):
    """A host, and a guest that is the kernel in another namespace: a tap that weftd may attach to."""
    host, guest = lab.namespace(), lab.namespace()
    host.run("ip", "tuntap", "add", "dev", "t0", "mode", "tap", "user", "nobody")
    return host, guest


def plug(host, guest):
    guest.adopt(host, "t0", "10.0.2.15/24")
    guest.run("sysctl", "-qw", "net.ipv6.conf.t0.disable_ipv6=0")
    guest.run("ip", "addr", "add", "fd00:10:0:2::f/64", "dev", "t0", "nodad")
    guest.run("ip", "route", "add", "default", "via", "10.0.2.2")


def serve(namespace, family, address, data):
    """A server that sends what it is sent to it, and then the data, to one client. Returns its port."""
    listener = namespace.socket(family, socket.SOCK_STREAM)
    listener.bind((address, 0))
    listener.listen()

    def run():
        with listener:
            client, _ = listener.accept()
            with client:
                digest = hashlib.sha256()
                while piece := client.recv(1 << 16):
                    digest.update(piece)
                client.sendall(digest.digest() + data)

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.sanitizer
@pytest.mark.parametrize("family, to, listen", [(socket.AF_INET, "10.0.2.2", "127.0.0.1"),
                                                (socket.AF_INET6, "fd00:10:0:2::2", "::1")], ids=["ipv4", "ipv6"])
def test_tcp_and_ping(lab, place, family, to, listen):
    host, guest = place
    switch = lab.switch(config("t0", **{"host-loopback": True}), namespace=host.name)
    plug(host, guest)
    guest.run("ping", "-c", 2, "-i", 0.2, "-W", 10, to)
    up, down = os.urandom(3 << 20), os.urandom(3 << 20)
    port = serve(host, family, listen, down)
    with guest.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(60)
        client.connect((to, port))
        client.sendall(up)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(1 << 20):
            received += piece
    assert received == hashlib.sha256(up).digest() + down
    uplink = switch.port("lab.uplink")
    assert uplink["link"] == "up" and uplink["gateway"] == "10.0.2.2"
    assert uplink["frames_lost"] == uplink["sockets_refused"] == 0


@pytest.mark.sanitizer
def test_loopback_is_closed(lab, place):
    """By default neither the gateway's address nor the loopback's own leads to the host's loopback."""
    host, guest = place
    switch = lab.switch(config("t0"), namespace=host.name)
    plug(host, guest)
    # Its loopback addresses as any others, for a guest that is up to no good.
    guest.run("sysctl", "-qw", "net.ipv4.conf.t0.route_localnet=1")
    guest.run("ip", "link", "set", "lo", "down")
    guest.run("ip", "route", "add", "127.9.0.0/16", "via", "10.0.2.2", "src", "10.0.2.15")
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, \
            guest.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("0.0.0.0", 4321))
        server.setblocking(False)
        client.settimeout(30)
        client.bind(("10.0.2.15", 0))
        client.sendto(b"hidden", ("127.9.0.1", 4321))
        client.connect(("10.0.2.2", 4321))
        client.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        client.send(b"hidden")
        # The refusal of the second; the first was looked at before.
        with pytest.raises(OSError) as refusal:
            client.recv(100)
        assert refusal.value.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED)
        with pytest.raises(BlockingIOError):
            server.recv(100)
    assert switch.port("lab.uplink")["frames_filtered"] >= 1


def test_dhcp_of_its_own(lab, place):
    """As a bridge's uplink it serves the guests itself."""
    host, guest = place
    lab.switch(config("t0", subnet="192.168.77.0/24"), namespace=host.name)
    guest.adopt(host, "t0")
    script = lab.directory / "lease.sh"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "lease $ip $router $dns"\nexit 0\n')
    script.chmod(0o755)
    client = Child(["busybox", "udhcpc", "-f", "-q", "-n", "-t", 10, "-i", "t0", "-s", script],
                   namespace=guest.name)
    lab.stack.callback(client.kill)
    client.wait_for(lambda text: "lease 192.168.77.15 192.168.77.2 192.168.77.3" in text, 60, what="a lease")
