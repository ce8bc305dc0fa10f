"""Translation as both sides see it: real sockets of guests, of a router behind the uplink, and of servers beyond it.

The numbers in names are those of docs/nat.md. Everything that has one is tried over IPv4 and IPv6 (NAT66).
"""

import contextlib
import errno
import ftplib
import hashlib
import os
import socket
import struct
import threading

import pytest
from gateway_place import (FAMILY, FAR, FAR_TOO, HOST, INSIDE, IP_MTU, IP_MTU_DISCOVER, IP_RECVERR, IPV6_MTU,
                           IPV6_MTU_DISCOVER, IPV6_RECVERR, OUTSIDE, PMTUDISC_DO, UNREACHABLE, Place, config, echo,
                           exchange, guest_address, receive_exactly, wait_value)
from lab import needs_root

pytestmark = [needs_root, pytest.mark.sanitizer]
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
POOL = ["10.255.0.5", "10.255.0.6", "fd00:ff::5", "fd00:ff::6"]


@pytest.fixture(scope="module")
def module_place(module_lab):
    place = Place(module_lab)
    place.start(config())
    place.plug()
    return place


@pytest.fixture
def place(module_place, lab):
    """The module's place; sockets are closed with the test, and its sessions ended."""
    module_place.lab, kept = lab, module_place.lab
    yield module_place
    module_place.lab = kept
    module_place.api.call("sessions_flush")


def reconfigure(place, **network):
    place.api.call("apply", file="test", text=text(place, config(**network)))


def text(place, wanted):
    place.switch.write_config(wanted)
    return place.switch.file.read_text()


@contextlib.contextmanager
def configured(place, **network):
    """The module's network with other keys for a while."""
    reconfigure(place, **network)
    try:
        yield
    finally:
        reconfigure(place)


# Mapping

@both
def test_mapping_is_endpoint_independent(place, version):
    """RFC 4787 REQ-1, REQ-3, RFC 5382 REQ-1: one outside address and port for whatever a socket talks to; the port
    is kept where it is free."""
    inside = place.guest_socket("a", version=version, port=40000)
    far = [place.open("far", version=version, address=address[version]) for address in (FAR, FAR_TOO)]
    for server in far:
        inside.sendto(b"hello", server.getsockname()[:2])
        assert server.recvfrom(100)[1][:2] == (OUTSIDE[version], 40000)
    rows = place.sessions(guest=guest_address("a", version), protocol="udp")
    assert {row["outside"]["port"] for row in rows} == {40000} and len(rows) == 2
    assert all(row["inside"] == {"ip": guest_address("a", version), "port": 40000} for row in rows)


@both
@pytest.mark.parametrize("port", [40100, 40101, 900, 901])
def test_taken_port_keeps_parity_and_range(place, version, port):
    """RFC 4787 REQ-3a, REQ-4: the second guest of a port gets another one, even as it was even, low as it was low."""
    far = place.open("far", version=version, address=FAR[version])
    seen = {}
    for name in ("a", "b"):
        inside = place.guest_socket(name, version=version, port=port)
        inside.sendto(name.encode(), far.getsockname()[:2])
        data, sender = far.recvfrom(100)
        seen[data] = sender[1]
        far.sendto(name.encode(), sender)
        assert inside.recv(100) == name.encode()
    assert seen[b"a"] == port
    assert seen[b"b"] != port and (seen[b"b"] - port) % 2 == 0
    assert (seen[b"b"] < 1024) == (port < 1024)


@both
@pytest.mark.parametrize("filtering, welcome", [
    ("endpoint-independent", [True, True, True]), ("address-dependent", [True, True, False]),
    ("address-and-port-dependent", [True, False, False])])
def test_filtering(place, version, filtering, welcome):
    """RFC 4787 REQ-8: who may answer to a mapping: who was written to, others there, or all."""
    with configured(place, nat={"filtering": filtering}):
        inside = place.guest_socket("a", version=version, port=41000)
        asked = place.open("far", version=version, address=FAR[version])
        same_host = place.open("far", version=version, address=FAR[version])
        another = place.open("far", version=version, address=FAR_TOO[version])
        inside.sendto(b"hello", asked.getsockname()[:2])
        mapped = asked.recvfrom(100)[1]
        before = place.drops().get("nat_filtered", 0)
        senders = [asked, same_host, another]
        for sender in senders:
            sender.sendto(b"answer", mapped)
        asked.sendto(b"the last", mapped)
        got = []
        while (received := inside.recvfrom(100))[0] != b"the last":
            got.append(received[1][:2])
        assert got == [sender.getsockname()[:2] for sender, wanted in zip(senders, welcome, strict=True) if wanted]
        assert place.drops().get("nat_filtered", 0) - before == welcome.count(False)


@both
def test_stranger_is_not_answered(place, version):
    """RFC 5382 REQ-4: a SYN that nobody asked for is neither let in nor answered at once; the inside's own
    addresses lead nowhere from outside."""
    stranger = place.open("far", socket.SOCK_STREAM, version)
    stranger.setblocking(False)
    before = place.drops()
    with contextlib.suppress(BlockingIOError):
        stranger.connect((OUTSIDE[version], 5555))
    wait_value(place.drops, lambda drops: drops.get("nat_filtered", 0) > before.get("nat_filtered", 0) or
               drops.get("nat_tcp_state", 0) > before.get("nat_tcp_state", 0), "a refusal counted")
    assert stranger.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, "answered"
    place.host.run("ip", f"-{version}", "route", "replace", guest_address("a", version), "via", OUTSIDE[version])
    inside = place.guest_socket("a", version=version, port=42000)
    sender = place.open("far", version=version, address=FAR[version])
    sender.sendto(b"to the inside", (guest_address("a", version), 42000))
    wait_value(place.drops, lambda drops: drops.get("not_forwarded", 0) > before.get("not_forwarded", 0),
               "not_forwarded")
    inside.setblocking(False)
    with pytest.raises(BlockingIOError):
        inside.recv(100)


# ICMP

@both
def test_refused(place, version):
    """RFC 5508 REQ-4: an error about a translated packet reaches the socket that sent it."""
    nobody = place.open("far", version=version, address=FAR[version])
    closed = nobody.getsockname()[:2]
    nobody.close()
    with place.guest_socket("a", version=version) as inside:
        inside.connect(closed)
        inside.send(b"anybody there?")
        with pytest.raises(ConnectionRefusedError):
            inside.recv(100)
    with pytest.raises(ConnectionRefusedError):
        place.connect("a", closed, version)


@both
def test_unreachable(place, version):
    """A router outside says that a network cannot be reached."""
    hidden = {4: "198.51.100.7", 6: "2001:db8:66::7"}[version]
    place.host.run("ip", f"-{version}", "route", "replace", "unreachable", hidden)
    with pytest.raises(OSError) as refusal:
        place.connect("a", (hidden, 80), version)
    assert refusal.value.errno in UNREACHABLE
    inside = place.guest_socket("a", version=version)
    inside.connect((hidden, 80))
    inside.setsockopt(*((socket.IPPROTO_IP, IP_RECVERR) if version == 4 else (socket.IPPROTO_IPV6, IPV6_RECVERR)), 1)
    inside.send(b"anybody there?")
    with pytest.raises(OSError) as refusal:
        inside.recv(100)
    assert refusal.value.errno in UNREACHABLE


def next_error(sender, version):
    """Waits for an ICMP error about a datagram of this socket: (errno, who sent it)."""
    with pytest.raises(OSError) as told:
        sender.recv(100)
    _, ancillary, _, _ = sender.recvmsg(2000, 512, socket.MSG_ERRQUEUE)
    # struct sock_extended_err (16 bytes), then the address of the offender.
    for level, _, content in ancillary:
        if level == (socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6):
            address = content[20:24] if version == 4 else content[24:40]
            return told.value.errno, socket.inet_ntop(FAMILY[version], address)
    raise AssertionError(ancillary)


@both
def test_traceroute(place, version):
    """The gateway, a router outside and the end answer a datagram that gets so far."""
    with place.guest_socket("a", version=version) as inside:
        if version == 4:
            ip, ttl = socket.IPPROTO_IP, socket.IP_TTL
            inside.setsockopt(ip, IP_RECVERR, 1)
        else:
            ip, ttl = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
            inside.setsockopt(ip, IPV6_RECVERR, 1)
        nobody = place.open("far", version=version, address=FAR[version])
        inside.connect(nobody.getsockname()[:2])
        nobody.close()
        way = []
        for hops in (1, 2, 3):
            inside.setsockopt(ip, ttl, hops)
            inside.send(b"how far?")
            way.append(next_error(inside, version)[1])
    assert way == [INSIDE[version], HOST[version], FAR[version]]
    output = place.guests["a"].run("ping", "-n", "-c", 1, "-W", 10, "-t", 2, FAR[version], check=False)
    assert "exceeded" in output and HOST[version] in output, output


@both
def test_ping(place, version):
    """RFC 5508 REQ-1: echo of two guests at once, and of sizes that take fragments."""
    pings = [place.guests[name].spawn("ping", "-n", "-c", 3, "-i", 0.05, "-W", 10, "-s", size, FAR[version])
             for name in ("a", "b") for size in (56, 9000)]
    try:
        for ping in pings:
            assert ping.wait(30) == 0 and " 0% packet loss" in ping.output, ping.output
    finally:
        for ping in pings:
            ping.kill()
    protocols = {row["protocol"] for row in place.sessions()}
    assert protocols == {"icmp" if version == 4 else "icmpv6"}


# Packets of all sizes

@pytest.fixture
def narrow(place):
    """The way to the far network is narrower than the rest of the world."""
    networks = {4: {"203.0.113.0/24": "tofar", "10.255.0.0/28": "up0"},
                6: {"2001:db8:2::/64": "tofar", "fd00:ff::/64": "up0"}}

    def mtu(value):
        for version, ways in networks.items():
            for network, device in ways.items():
                place.host.run("ip", f"-{version}", "route", "change", network, "dev", device, "proto", "kernel",
                               *(["scope", "link"] if version == 4 else ["metric", 256]), "mtu", value)
            for namespace in (place.far, *place.guests.values()):
                namespace.run("ip", f"-{version}", "route", "flush", "cache")

    mtu(1300)
    yield 1300
    mtu(1500)


def mtu_of(sender, version):
    return sender.getsockopt(*((socket.IPPROTO_IP, IP_MTU) if version == 4 else (socket.IPPROTO_IPV6, IPV6_MTU)))


def never_fragment(sender, version):
    sender.setsockopt(*((socket.IPPROTO_IP, IP_MTU_DISCOVER) if version == 4
                        else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)), PMTUDISC_DO)


@both
def test_path_mtu_of_datagrams(place, narrow, version):
    """A router outside says how much fits, and the guest's kernel takes it."""
    with echo(place.open("far", version=version, address=FAR[version])) as server:
        inside = place.guest_socket("a", version=version)
        never_fragment(inside, version)
        inside.connect(server.socket.getsockname()[:2])
        inside.setsockopt(*((socket.IPPROTO_IP, IP_RECVERR) if version == 4
                            else (socket.IPPROTO_IPV6, IPV6_RECVERR)), 1)
        inside.send(bytes(1400))
        assert next_error(inside, version) == (errno.EMSGSIZE, HOST[version])
        assert mtu_of(inside, version) == narrow
        inside.send(bytes(1200))
        assert len(inside.recv(2000)) == 1200


@both
def test_path_mtu_of_streams(place, narrow, version):
    up, down = os.urandom(1 << 20), os.urandom(1 << 20)
    listener = place.listen("far", version, FAR[version])
    client = place.connect("a", listener.getsockname()[:2], version)
    server, _ = listener.accept()
    with client, server:
        server.settimeout(20)
        writer = threading.Thread(target=client.sendall, args=(up,))
        writer.start()
        assert receive_exactly(server, len(up)) == up
        writer.join()
        writer = threading.Thread(target=server.sendall, args=(down,))
        writer.start()
        assert receive_exactly(client, len(down)) == down
        writer.join()
        assert mtu_of(client, version) == narrow


@both
def test_path_mtu_inside(place, version):
    """What does not fit inside is told to the sender outside, who knows nothing of the inside."""
    with configured(place, mtu=1300):
        inside = place.guest_socket("a", version=version, port=43000)
        server = place.open("far", version=version, address=FAR[version])
        inside.sendto(b"hello", server.getsockname()[:2])
        server.connect(server.recvfrom(100)[1])
        server.setsockopt(*((socket.IPPROTO_IP, IP_RECVERR) if version == 4
                            else (socket.IPPROTO_IPV6, IPV6_RECVERR)), 1)
        never_fragment(server, version)
        server.send(bytes(1400))
        assert next_error(server, version) == (errno.EMSGSIZE, OUTSIDE[version])
        assert mtu_of(server, version) == 1300
    for namespace in (place.far, *place.guests.values()):
        namespace.run("ip", f"-{version}", "route", "flush", "cache")


@both
def test_large_datagrams(place, version):
    """RFC 4787 REQ-14: fragments are put together, both ways, whoever comes first."""
    with echo(place.open("far", version=version, address=FAR[version])) as server:
        inside = place.guest_socket("a", version=version)
        for size in (1473, 3000, 9000, 60000):
            data = os.urandom(size)
            inside.sendto(data, server.socket.getsockname()[:2])
            assert inside.recv(1 << 16) == data, size


@both
def test_other_protocols(place, version):
    """What has no ports is translated by address: one guest of each far address."""
    inside = place.guest_socket("a", socket.SOCK_RAW, version, protocol=253)
    server = place.open("far", socket.SOCK_RAW, version, FAR[version], protocol=253)
    skip = 20 if version == 4 else 0
    inside.sendto(b"question", (FAR[version], 0))
    data, sender = server.recvfrom(100)
    assert data[skip:] == b"question" and sender[0] == OUTSIDE[version]
    server.sendto(b"answer", (sender[0], 0))
    data, sender = inside.recvfrom(100)
    assert data[skip:] == b"answer" and sender[0] == FAR[version]
    row, = place.sessions(protocol="253")
    assert row["outside"] == {"ip": OUTSIDE[version], "port": None} and row["state"] == "two-way"


# TCP

@both
def test_half_closed(place, version):
    """RFC 5382 REQ-2: one side has said all it has to say, the other goes on."""
    question, answer = os.urandom(1 << 20), os.urandom(1 << 20)
    listener = place.listen("far", version, FAR[version])
    client = place.connect("a", listener.getsockname()[:2], version)
    server, _ = listener.accept()
    with client, server:
        server.settimeout(20)
        writer = threading.Thread(target=lambda: (client.sendall(question), client.shutdown(socket.SHUT_WR)))
        writer.start()
        assert receive_exactly(server, len(question)) == question and server.recv(1) == b""
        writer.join()
        row, = place.sessions(guest="a", protocol="tcp")
        assert row["state"] == "half-closed" and row["direction"] == "out"
        writer = threading.Thread(target=lambda: (server.sendall(answer), server.shutdown(socket.SHUT_WR)))
        writer.start()
        assert receive_exactly(client, len(answer)) == answer and client.recv(1) == b""
        writer.join()
    wait_value(lambda: place.sessions(protocol="tcp"), lambda rows: rows[0]["state"] == "closed", "closed")


@both
def test_reset(place, version):
    listener = place.listen("far", version, FAR[version])
    client = place.connect("a", listener.getsockname()[:2], version)
    server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_value(lambda: place.sessions(protocol="tcp"), lambda rows: rows[0]["state"] == "reset", "reset")


@both
def test_simultaneous_open(place, version):
    """RFC 5382 REQ-2a: both ends connect to each other at once; the guest's SYN makes the way for the other's."""
    inside = place.guest_socket("a", socket.SOCK_STREAM, version, port=44000)
    outside = place.open("far", socket.SOCK_STREAM, version, FAR[version], 44001)
    sent = place.api.show("ports", name="net.uplink")[0]["transmit"]["packets"]
    # The first SYN of the guest is lost on the way, or it would be answered by a reset.
    place.host.run("ip", f"-{version}", "route", "add", "blackhole", FAR[version])
    for end, to in ((inside, (FAR[version], 44001)), (outside, (OUTSIDE[version], 44000))):
        end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            end.connect(to)
        if end is inside:
            wait_value(lambda: place.api.show("ports", name="net.uplink")[0]["transmit"]["packets"],
                       lambda count: count > sent, "the SYN on its way")
            place.host.run("ip", f"-{version}", "route", "del", "blackhole", FAR[version])
    for end in (inside, outside):
        end.setblocking(True)
        end.settimeout(20)
    exchange(inside, outside)


# Protocols and pools

class PassiveFtp(threading.Thread):
    """As much of an FTP server as a client in passive mode needs for one file (RFC 959, RFC 2428)."""

    def __init__(self, place, version, content):
        super().__init__(daemon=True)
        self.place, self.version, self.content = place, version, content
        self.listener = place.listen("far", version, FAR[version])
        self.start()

    def run(self):
        control, _ = self.listener.accept()
        control.settimeout(20)
        with control, control.makefile("rw", newline="") as lines:
            def say(line):
                lines.write(line + "\r\n")
                lines.flush()

            say("220 ready")
            data = None
            for line in lines:
                command = line.split()[0].upper()
                if command in ("PASV", "EPSV"):
                    data = self.place.listen("far", self.version, FAR[self.version])
                    port = data.getsockname()[1]
                    say(f"229 passive (|||{port}|)" if command == "EPSV" else
                        f"227 passive ({FAR[4].replace('.', ',')},{port >> 8},{port & 255})")
                elif command == "RETR":
                    stream, _ = data.accept()
                    say("150 here it is")
                    with stream:
                        stream.sendall(self.content)
                    say("226 done")
                else:
                    say({"USER": "331 password?", "PASS": "230 welcome", "TYPE": "200 ok", "QUIT": "221 bye"}[command])
                    if command == "QUIT":
                        return


@both
def test_passive_ftp(place, version):
    content = os.urandom(300000)
    server = PassiveFtp(place, version, content)
    script = ("import ftplib, hashlib, sys; f = ftplib.FTP(timeout=20); f.connect(sys.argv[1], int(sys.argv[2])); "
              "f.login(); h = hashlib.sha256(); f.retrbinary('RETR file', h.update); f.quit(); print(h.hexdigest())")
    assert ftplib.FTP.trust_server_pasv_ipv4_address is False
    output = place.guests["a"].run("/usr/bin/python3", "-c", script, FAR[version], server.listener.getsockname()[1])
    assert output.strip() == hashlib.sha256(content).hexdigest()


@both
def test_pool_on_the_link(place, version):
    """Who is on the uplink's own link finds each address of a pool there, however many they are."""
    pool = [f"10.255.0.{n}" for n in range(3, 15)] + [f"fd00:ff::{n:x}" for n in range(3, 15)]
    with configured(place, nat={"pool": pool}):
        for address in pool:
            if (":" in address) == (version == 6):
                assert " 0% packet loss" in place.host.run("ping", "-n", "-c", 1, "-W", 10, address)


@both
def test_pool(place, version):
    """RFC 4787 REQ-2: of several addresses each guest keeps one, for all its sockets."""
    addresses = [address for address in POOL if (":" in address) == (version == 6)]
    more = [f"10.8.0.{n}" if version == 4 else f"fd00:8::{n}" for n in range(100, 116)]
    guest = place.guests["a"]
    for address in more:
        guest.run("ip", "addr", "add", f"{address}/{32 if version == 4 else 128}", "dev", "ta", *(
            [] if version == 4 else ["nodad"]))
    with configured(place, nat={"pool": POOL}, antispoof=False):
        far = [place.open("far", version=version, address=address[version]) for address in (FAR, FAR_TOO)]
        used = {}
        for address in more:
            for _ in range(4):
                inside = place.open("a", version=version, address=address)
                for server in far:
                    inside.sendto(b"hello", server.getsockname()[:2])
                    sender = server.recvfrom(100)[1]
                    server.sendto(b"answer", sender)
                    assert inside.recv(100) == b"answer"
                    used.setdefault(address, set()).add(sender[0])
        assert all(len(own) == 1 for own in used.values()), used
        assert set().union(*used.values()) == set(addresses)
        listener = place.listen("far", version, FAR[version])
        client = place.connect("b", listener.getsockname()[:2], version)
        server, sender = listener.accept()
        with client, server:
            assert sender[0] in addresses
            exchange(client, server)
    for address in more:
        guest.run("ip", "addr", "del", f"{address}/{32 if version == 4 else 128}", "dev", "ta")
