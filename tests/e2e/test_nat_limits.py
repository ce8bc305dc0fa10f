"""A guest that opens sessions by the hundred thousand is held to its limit, and takes nothing from the others.

RFC 6888 REQ-4 and REQ-5 (limits of a subscriber), and fairness of ports and of the table (docs/nat.md).
"""

import concurrent.futures
import json
import socket

import pytest
from flood import ICMP, ICMPV6, UDP, Flooder, echo_request, ethernet, icmp6, ipv4, ipv6, udp, udp6
from gateway_place import FAR, INSIDE, Place, config, echo, exchange, guest_address, wait_value
from lab import needs_root

pytestmark = needs_root
FLOOD = 100000
GUEST_LIMIT = 65536
CONNECTIONS = 150
OWN = guest_address("a", 4)


@pytest.fixture
def place(lab):
    """Behind the host all of 198.18.0.0/15 answers to ping, and to nothing else."""
    place = Place(lab)
    place.host.run("ip", "route", "add", "198.18.0.0/15", "via", FAR[4])
    place.far.run("ip", "route", "add", "local", "198.18.0.0/15", "dev", "lo")
    # Silence where nobody listens: answers to a flood of datagrams are another matter.
    place.far.run("sysctl", "-qw", "net.ipv4.icmp_ratelimit=1000000")
    return place


def plug(place):
    """The guests know their neighbours, and are known to them, before the flood."""
    place.plug()
    place.ping("a", FAR[4])
    place.api.call("sessions_flush")
    return Flooder(place, "a")


def flows(make):
    """(source port or identifier, destination) of 100,000 flows."""
    for i in range(FLOOD):
        yield make(1024 + i // 4, f"198.18.{i % 4}.1")


def pings(flooder):
    return flows(lambda port, to: flooder.to_gateway(ipv4(OWN, to, ICMP, echo_request(port))))


def datagrams(flooder):
    return flows(lambda port, to: flooder.to_gateway(ipv4(OWN, to, UDP, udp(port, 7))))


class Neighbour:
    """The other guest: opens connections and flows, all of which have to succeed."""

    def __init__(self, place, server):
        self.place, self.server = place, server
        self.listener = place.listen("far", 4, FAR[4])
        self.done = 0

    def connect(self):
        with self.place.connect("b", self.listener.getsockname()[:2]) as client:
            server, _ = self.listener.accept()
            with server:
                exchange(client, server)
        with self.place.guest_socket("b") as client:
            client.sendto(b"hello", self.server)
            assert client.recv(100) == b"hello"
        self.done += 1


@pytest.mark.parametrize("kind", ["answered", "unanswered"])
def test_flood_of_sessions(place, kind):
    switch = place.start(config())
    flooder = plug(place)
    with echo(place.open("far", version=4, address=FAR[4])) as server, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        neighbour = Neighbour(place, server.socket.getsockname()[:2])
        neighbour.connect()
        memory = place.memory()
        flood = pool.submit(flooder.send, pings(flooder) if kind == "answered" else datagrams(flooder))
        while not flood.done():
            neighbour.connect()
        assert flood.result() == FLOOD
        for _ in range(CONNECTIONS):
            neighbour.connect()
    # The sessions, and no more than a few buffers beside.
    assert place.memory() - memory < (GUEST_LIMIT + 4 * CONNECTIONS) * 128 + (8 << 20)
    nat = place.counters()["nat"]
    mine = json.loads(switch.weft("show", "sessions", "--guest", "a", "--json"))
    assert len(mine) == GUEST_LIMIT and {row["inside"]["ip"] for row in mine} == {OWN}
    assert nat["evicted"] + nat["refused_guest"] == FLOOD - GUEST_LIMIT
    assert place.drops("a").get("nat_guest_limit", 0) == nat["refused_guest"]
    if kind == "answered":
        # Ones in use are never thrown out for new ones.
        assert nat["refused_guest"] > 0
        assert {row["state"] for row in mine} <= {"two-way", "one-way"}
    else:
        assert nat["refused_guest"] == 0 and {row["protocol"] for row in mine} == {"udp"}
    assert nat["bytes_per_session"] <= 128
    assert "nat_guest_limit" not in place.drops("b") and "nat_session_limit" not in place.drops("b")
    assert str(GUEST_LIMIT) in switch.weft("sessions", "flush", "--guest", "a")
    assert place.sessions(guest="a") == [] and len(place.sessions(guest="b")) >= CONNECTIONS


def test_sockets_are_left_for_others(place):
    """Host sockets are fewer than sessions: of those, too, a guest gets no more than it leaves."""
    place.start(config(uplink={"user": True}))
    flooder = plug(place)
    with echo(place.open("far", version=4, address=FAR[4])) as server, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        neighbour = Neighbour(place, server.socket.getsockname()[:2])
        flood = pool.submit(flooder.send, datagrams(flooder))
        # Its own share is a thousand at least; the sockets of flows stay for minutes, those of connections for a while.
        while not flood.done() and neighbour.done < CONNECTIONS:
            neighbour.connect()
        assert flood.result() == FLOOD
        for _ in range(CONNECTIONS):
            neighbour.connect()
    uplink = place.api.show("ports", name="net.uplink")[0]
    assert uplink["sockets_refused"] > FLOOD / 4 and uplink["sockets"] <= 4096
    assert not set(uplink["transmit"]["drops_by_reason"]) - {"uplink_share"}


def test_ports_are_left_for_others(place):
    """A guest that uses a port for each session gets no more of them than it leaves."""
    place.start(config())
    flooder = plug(place)
    with echo(place.open("far", version=4, address=FAR[4])) as server:
        neighbour = Neighbour(place, server.socket.getsockname()[:2])
        flooder.send(flooder.to_gateway(ipv4(OWN, "198.18.0.1", UDP, udp(port, 7))) for port in range(1024, 65536))
        for _ in range(CONNECTIONS):
            neighbour.connect()
    refused = place.counters()["nat"]["refused_port"]
    held = len(place.sessions(guest="a"))
    assert held + refused == 65536 - 1024 and held <= (65536 - 1024) / 2
    assert place.drops("a")["nat_no_port"] == refused
    assert "nat_no_port" not in place.drops("b")


def test_table_is_left_for_others(place):
    """The limit of all sessions: no guest gets more of them than it leaves for the others."""
    place.start(config(nat={"sessions": 1000, "guest-sessions": 1000}))
    flooder = plug(place)
    with echo(place.open("far", version=4, address=FAR[4])) as server:
        neighbour = Neighbour(place, server.socket.getsockname()[:2])
        flooder.send(flooder.to_gateway(ipv4(OWN, f"198.18.{i}.1", ICMP, echo_request(7 + i))) for i in range(250))
        wait_value(lambda: place.sessions(guest="a"), lambda rows: {row["state"] for row in rows} == {"two-way"},
                   "answers")
        flooder.send(flooder.to_gateway(ipv4(OWN, f"198.19.{i // 8}.1", ICMP, echo_request(700 + i)))
                     for i in range(2000))
        for _ in range(CONNECTIONS):
            neighbour.connect()
    nat = place.counters()["nat"]
    held = place.sessions(guest="a")
    assert 250 <= len(held) <= 500
    # What was answered before the table was full has stayed.
    assert sum(row["remote"]["ip"].startswith("198.18.") for row in held) == 250
    assert place.api.show("networks")[0]["nat"]["sessions"] <= 1000
    assert nat["refused_limit"] == place.drops("a").get("nat_session_limit", 0)
    assert "nat_session_limit" not in place.drops("b")


def test_limit_lowered_at_run_time(place):
    """A lower limit ends nothing, and refuses what is new."""
    switch = place.start(config())
    flooder = plug(place)
    flooder.send(flooder.to_gateway(ipv4(OWN, "198.18.0.1", ICMP, echo_request(port))) for port in range(2000, 2300))
    wait_value(lambda: place.sessions(guest="a"), lambda rows: [row["state"] for row in rows] == ["two-way"] * 300,
               "300 answers")
    switch.write_config(config(nat={"guest-sessions": 100}))
    switch.weft("apply", switch.file)
    assert len(place.sessions(guest="a")) == 300
    flooder.send(flooder.to_gateway(ipv4(OWN, "198.18.0.1", ICMP, echo_request(port))) for port in range(3000, 3010))
    assert place.drops("a")["nat_guest_limit"] == 10 and len(place.sessions(guest="a")) == 300
    place.ping("b", FAR[4])


def test_addresses_without_end(place):
    """A guest that makes itself ever new IPv6 addresses gets no more sessions by that than a few hosts would."""
    place.start(config(nat={"sessions": 2000, "guest-sessions": 100}))
    flooder = plug(place)
    place.ping("b", FAR[6])

    def claim(number):
        own = f"fd00:8::bad:{number:x}"
        # Asking for the gateway is enough to have the address.
        yield ethernet(flooder.own, "33:33:ff:00:00:01", 0x86dd, ipv6(own, "ff02::1:ff00:1", ICMPV6, icmp6(
            own, "ff02::1:ff00:1", 135, bytes(4) + socket.inet_pton(socket.AF_INET6, INSIDE[6])), 255))

    def use(number):
        own = f"fd00:8::bad:{number:x}"
        for port in range(100):
            yield flooder.to_gateway(ipv6(own, FAR[6], UDP, udp6(own, FAR[6], 1024 + number * 100 + port, 9)), 0x86dd)

    for number in range(100):
        flooder.send(claim(number))
        claims = place.counters()["gateway"]
        wait_value(lambda: place.counters()["gateway"], lambda now: now["claims"] + now["claims_refused"] > number,
                   f"an answer about claim {number}, after {claims}")
        flooder.send(use(number))
    listener = place.listen("far", 6, FAR[6])
    for _ in range(CONNECTIONS):
        with place.connect("b", listener.getsockname()[:2], 6) as client:
            server, _ = listener.accept()
            with server:
                exchange(client, server)
    counters = place.counters()
    assert counters["gateway"]["claims_refused"] > 0
    assert counters["nat"]["sessions"] <= 17 * 100 + CONNECTIONS + 10, counters["nat"]
    assert "nat_session_limit" not in place.drops("b")
