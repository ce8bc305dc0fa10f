"""Port forwards: from outside to a guest, from a guest to another's, changed while connections are open; and with host
sockets as the uplink, where the host listens."""

import contextlib
import socket

import pytest
from demo import WAY_OUT
from gateway_place import (FAR, FAR_TOO, HOST_FAR, INSIDE, OUTSIDE, Place, config, echo, exchange, guest_address,
                           wait_value)
from lab import needs_root
from switch import WeftError

pytestmark = [needs_root, pytest.mark.sanitizer]
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
A, B = {v: guest_address("a", v) for v in (4, 6)}, {v: guest_address("b", v) for v in (4, 6)}


def end(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@pytest.fixture(scope="module")
def module_place(module_lab):
    place = Place(module_lab)
    place.start(config())
    place.plug()
    return place


@pytest.fixture
def place(module_place, lab):
    """The module's place without a forward; sockets are closed with the test, and its sessions ended."""
    module_place.lab, kept = lab, module_place.lab
    apply(module_place)
    yield module_place
    # Farewells first, then the sessions.
    lab.stack.close()
    module_place.lab = kept
    module_place.api.call("sessions_flush")


def apply(place, *forwards, **network):
    place.switch.write_config(config(forward=list(forwards), **network))
    place.switch.weft("apply", place.switch.file)


def listed(place):
    return {(row["protocol"], row["listen"], row["to"], row["source"])
            for row in place.api.show("networks")[0]["nat"]["forwards"]}


def connect_by(place, listener, where, to, version, port=0):
    """A connection through a forward to a guest's listener works both ways; returns both ends."""
    outer = place.connect(where, to, version, port)
    try:
        inner, _ = listener.accept()
    except TimeoutError as problem:
        raise AssertionError((outer, place.sessions(), place.api.show("drops"), place.api.show("ports"))) from problem
    place.lab.stack.callback(inner.close)
    inner.settimeout(20)
    exchange(outer, inner)
    return outer, inner


def refused_quietly(place, to, version):
    """A SYN to there is dropped with a name, and nobody answers it."""
    before = place.drops().get("nat_filtered", 0)
    with place.open("far", socket.SOCK_STREAM, version, FAR[version]) as client:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(to)
        wait_value(place.drops, lambda drops: drops.get("nat_filtered", 0) > before, "a refused SYN counted")
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        mine = dict(zip(("ip", "port"), client.getsockname(), strict=False))
        assert mine not in [row["remote"] for row in place.sessions()]


@both
def test_tcp(place, version):
    apply(place, {"proto": "tcp", "listen": 2222, "to": end(A[version], 22)})
    listener = place.listen("a", version, A[version], 22)
    outer, inner = connect_by(place, listener, "far", (OUTSIDE[version], 2222), version)
    assert inner.getpeername()[:2] == outer.getsockname()[:2]
    row, = place.sessions(protocol="tcp")
    assert row["forward"] and row["direction"] == "in" and row["state"] == "established"
    assert row["outside"] == {"ip": OUTSIDE[version], "port": 2222}
    refused_quietly(place, (OUTSIDE[version], 2223), version)


@both
def test_udp(place, version):
    apply(place, {"proto": "udp", "listen": 5353, "to": end(A[version], 53)})
    with echo(place.open("a", version=version, address=A[version], port=53)):
        for address in (FAR, FAR_TOO):
            client = place.open("far", version=version, address=address[version])
            client.sendto(b"question", (OUTSIDE[version], 5353))
            assert client.recvfrom(100)[0] == b"question"
    refused_quietly(place, (OUTSIDE[version], 5353), version)


@both
def test_both_protocols_and_ranges(place, version):
    """The n-th port of the range is the n-th of the guest's, at both its ends."""
    apply(place, {"proto": "both", "listen": "2000-2010", "to": end(A[version], 3000)})
    for number in (0, 5, 10):
        listener = place.listen("a", version, A[version], 3000 + number)
        connect_by(place, listener, "far", (OUTSIDE[version], 2000 + number), version)
        with echo(place.open("a", version=version, address=A[version], port=3000 + number)):
            client = place.open("far", version=version, address=FAR[version])
            client.sendto(b"question", (OUTSIDE[version], 2000 + number))
            assert client.recvfrom(100)[1][:2] == (OUTSIDE[version], 2000 + number)
    for port in (1999, 2011):
        refused_quietly(place, (OUTSIDE[version], port), version)


@both
def test_restricted_source(place, version):
    only = f"{FAR_TOO[version]}/{32 if version == 4 else 128}"
    apply(place, {"listen": 2222, "to": end(A[version], 22), "source": only})
    listener = place.listen("a", version, A[version], 22)
    refused_quietly(place, (OUTSIDE[version], 2222), version)
    allowed = place.open("far", socket.SOCK_STREAM, version, FAR_TOO[version])
    allowed.connect((OUTSIDE[version], 2222))
    inner, sender = listener.accept()
    with inner:
        assert sender[0] == FAR_TOO[version]
        exchange(allowed, inner)


@both
def test_listen_address(place, version):
    """Of several addresses outside only the one that is named."""
    addresses = {4: ["10.255.0.5", "10.255.0.6"], 6: ["fd00:ff::5", "fd00:ff::6"]}
    apply(place, {"listen": end(addresses[version][0], 2222), "to": end(A[version], 22)},
          {"listen": end(addresses[version][1], 2222), "to": end(B[version], 22)},
          nat={"pool": addresses[4] + addresses[6]})
    for name, address in zip(("a", "b"), addresses[version], strict=True):
        listener = place.listen(name, version, guest_address(name, version), 22)
        connect_by(place, listener, "far", (address, 2222), version)
    apply(place, {"listen": end(addresses[version][0], 2222), "to": end(A[version], 22)},
          nat={"pool": addresses[4] + addresses[6]})
    refused_quietly(place, (addresses[version][1], 2222), version)


@both
def test_hairpin(place, version):
    """RFC 4787 REQ-9, RFC 5382 REQ-8: a guest reaches another's forward by the address outside, and so itself; each
    end sees the other by its address outside."""
    apply(place, {"proto": "both", "listen": 2222, "to": end(A[version], 22)})
    listener = place.listen("a", version, A[version], 22)
    for name in ("b", "a"):
        outer, inner = connect_by(place, listener, name, (OUTSIDE[version], 2222), version)
        assert inner.getpeername()[0] == OUTSIDE[version]
        assert outer.getpeername()[:2] == (OUTSIDE[version], 2222)
    with echo(place.open("a", version=version, address=A[version], port=22)) as server:
        client = place.guest_socket("b", version=version)
        client.sendto(b"question", (OUTSIDE[version], 2222))
        assert client.recvfrom(100)[1][:2] == (OUTSIDE[version], 2222)
        assert server.heard[0][0] == OUTSIDE[version]


@both
def test_hairpin_between_mappings(place, version):
    """Two guests that know each other's outside ports talk over them, without a forward."""
    far = place.open("far", version=version, address=FAR[version])
    guests, mapped = {}, {}
    for name in ("a", "b"):
        guests[name] = place.guest_socket(name, version=version)
        guests[name].sendto(b"who am I?", far.getsockname()[:2])
        mapped[name] = far.recvfrom(100)[1][:2]
    guests["a"].sendto(b"I open the way", mapped["b"])
    # The two come by queues of their own: the second must not overtake the first.
    wait_value(lambda: [(row["remote"]["ip"], row["remote"]["port"]) for row in place.sessions(guest="a")],
               lambda remotes: mapped["b"] in remotes, "a way opened")
    guests["b"].sendto(b"hello a", mapped["a"])
    data, sender = guests["a"].recvfrom(100)
    assert data == b"hello a" and sender[:2] == mapped["b"]
    guests["a"].sendto(b"hello b", mapped["b"])
    while (received := guests["b"].recvfrom(100))[0] == b"I open the way":
        pass
    assert received[0] == b"hello b" and received[1][:2] == mapped["a"]


@both
def test_changed_at_run_time(place, version):
    """add and del leave what is open through others alone, and end what goes through their own."""
    weft = place.switch.weft
    outward = place.listen("far", version, FAR[version])
    client = place.connect("b", outward.getsockname()[:2], version)
    server, _ = outward.accept()
    listener = place.listen("a", version, A[version], 22)
    weft("forward", "add", "net", "--listen", 2222, "--to", end(A[version], 22))
    (protocol, _, to, source), = listed(place)
    assert (protocol, to, source) == ("tcp", end(A[version], 22), None)
    first = connect_by(place, listener, "far", (OUTSIDE[version], 2222), version)
    weft("forward", "add", "net", "--proto", "both", "--listen", "4000-4002", "--to", end(A[version], 22))
    second = connect_by(place, place.listen("a", version, A[version], 24), "far", (OUTSIDE[version], 4002), version)
    for pair in ((client, server), first, second):
        exchange(*pair)
    with pytest.raises(WeftError, match="2222"):
        weft("forward", "add", "net", "--listen", 2222, "--to", end(B[version], 22))
    with pytest.raises(WeftError, match="4001"):
        weft("forward", "add", "net", "--listen", 4001, "--to", end(B[version], 22))
    weft("forward", "del", "net", "2222")
    for pair in ((client, server), second):
        exchange(*pair)
    assert {row["outside"]["port"] for row in place.sessions(protocol="tcp") if row["forward"]} == {4002}
    refused_quietly(place, (OUTSIDE[version], 2222), version)
    with pytest.raises(WeftError, match="2222"):
        weft("forward", "del", "net", "2222")
    weft("forward", "del", "net", "4000-4002")
    exchange(client, server)
    assert listed(place) == set()


def test_udp_range_deleted_by_protocol(place):
    weft = place.switch.weft
    weft("forward", "add", "net", "--proto", "tcp", "--listen", 2222, "--to", end(A[4], 22))
    weft("forward", "add", "net", "--proto", "udp", "--listen", 2222, "--to", end(B[4], 23))
    weft("forward", "del", "net", "2222/udp")
    assert [row["protocol"] for row in place.api.show("networks")[0]["nat"]["forwards"]] == ["tcp"]
    connect_by(place, place.listen("a", 4, A[4], 22), "far", (OUTSIDE[4], 2222), 4)


@both
def test_nobody_there(place, version):
    """To an address that no guest has: the sender is told that the host cannot be reached; a guest that refuses is
    another thing."""
    nobody = {4: "10.8.0.99", 6: "fd00:8::99"}[version]
    apply(place, {"listen": 2222, "to": end(nobody, 22)}, {"listen": 2223, "to": end(A[version], 23)})
    with pytest.raises(ConnectionRefusedError):
        place.connect("far", (OUTSIDE[version], 2223), version)
    with pytest.raises(OSError, match="No route to host|unreachable"):
        place.connect("far", (OUTSIDE[version], 2222), version)
    place.ping("a", FAR[version])


def test_tap_side_is_left_alone(place):
    """What the administrator made of the host's side of the uplink stays there through a change of forwards."""
    place.host.run("ip", "route", "add", "192.0.2.0/24", "via", OUTSIDE[4])
    try:
        place.switch.weft("forward", "add", "net", "--listen", 2222, "--to", end(A[4], 22))
        assert "192.0.2.0/24" in place.host.run("ip", "route")
        place.switch.weft("forward", "del", "net", "2222")
        assert "192.0.2.0/24" in place.host.run("ip", "route")
    finally:
        place.host.run("ip", "route", "del", "192.0.2.0/24", check=False)


# Host sockets as the uplink

@pytest.fixture
def user_place(lab):
    place = Place(lab)
    place.start(user_config())
    place.plug()
    return place


def user_config(*forwards):
    return config(uplink={"user": True}, forward=list(forwards))


def listening(place, kind="tcp"):
    """{(address, port)} that the host's namespace listens on."""
    rows = place.host.run("ss", "-Hln", f"--{kind}").splitlines()
    ends = [row.split()[3] for row in rows]
    return {(text.rsplit(":", 1)[0].split("%")[0], int(text.rsplit(":", 1)[1])) for text in ends}


@both
def test_user_uplink(user_place, version):
    """The host listens, by the host's own words, and what comes reaches the guest."""
    place, weft = user_place, user_place.switch.weft
    everywhere = {4: "0.0.0.0", 6: "[::]"}[version]
    loopback = {4: "127.0.0.1", 6: "::1"}[version]
    weft("forward", "add", "net", "--proto", "both", "--listen", "2222-2223", "--to", end(A[version], 22))
    for kind in ("tcp", "udp"):
        assert {(everywhere, 2222), (everywhere, 2223)} <= listening(place, kind)
    listener = place.listen("a", version, A[version], 22)
    first = connect_by(place, listener, "host", (loopback, 2222), version)
    with echo(place.open("a", version=version, address=A[version], port=22)) as server:
        client = place.open("far", version=version)
        client.connect((HOST_FAR[version], 2222))
        client.send(b"question")
        assert client.recv(100) == b"question"
        # Others come and go: what is open, datagrams too, goes on as it was.
        weft("forward", "add", "net", "--listen", end(loopback, 2300), "--to", end(A[version], 22))
        assert (loopback if version == 4 else "[::1]", 2300) in listening(place)
        second = connect_by(place, listener, "host", (loopback, 2300), version)
        client.send(b"another")
        assert client.recv(100) == b"another"
        assert len(set(server.heard)) == 1
    exchange(*first)
    weft("forward", "del", "net", end(loopback, 2300))
    assert 2300 not in {port for _, port in listening(place)}
    with pytest.raises(ConnectionRefusedError):
        place.connect("host", (loopback, 2300), version)
    exchange(*first)
    weft("forward", "del", "net", "2222-2223")
    assert not {port for _, port in listening(place)} & {2222, 2223, 2300}
    second[0].close()


@both
def test_user_uplink_from_loopback(user_place, version):
    """Clients on the host's loopback are answered, by TCP and UDP, in turn with others and in several fragments; what
    else listens there is none of the guest's business."""
    place, weft = user_place, user_place.switch.weft
    loopback = {4: "127.0.0.1", 6: "::1"}[version]
    weft("forward", "add", "net", "--proto", "both", "--listen", "2222", "--to", end(A[version], 22))
    connect_by(place, place.listen("a", version, A[version], 22), "host", (loopback, 2222), version)
    far = place.open("far", version=version, address=FAR[version])
    clients = [place.open("host", version=version, address=loopback) for _ in range(2)]
    if version == 4:
        clients.append(place.open("host", address="127.9.9.9"))
    with echo(place.open("a", version=version, address=A[version], port=22)):
        for client in [*clients, *clients]:
            client.sendto(b"question", (loopback, 2222))
            assert client.recvfrom(100)[0] == b"question"
            assert client is not clients[0] or client.getsockname()[0] == loopback
            far.sendto(b"from far", (HOST_FAR[version], 2222))
            assert far.recvfrom(100)[0] == b"from far"
        if version == 4:
            clients[0].sendto(bytes(4000), (loopback, 2222))
            assert len(clients[0].recvfrom(5000)[0]) == 4000
    secret = place.open("host", version=version, address=loopback)
    secret.setblocking(False)
    guest = place.guest_socket("a", version=version)
    guest.sendto(b"hidden", (WAY_OUT[version], secret.getsockname()[1]))
    # libslirp has seen the one before it.
    guest.sendto(b"for all to see", far.getsockname()[:2])
    assert far.recvfrom(100)[0] == b"for all to see"
    with pytest.raises(BlockingIOError):
        secret.recv(100)


def test_user_uplink_port_taken(user_place):
    """Refused with the reason, and what was there before is there still."""
    place, weft = user_place, user_place.switch.weft
    taken = place.open("host", socket.SOCK_STREAM, address="0.0.0.0", port=2400)
    taken.listen()
    weft("forward", "add", "net", "--listen", "2222", "--to", end(A[4], 22))
    listener = place.listen("a", 4, A[4], 22)
    pair = connect_by(place, listener, "host", ("127.0.0.1", 2222), 4)
    before = place.api.show("networks")[0]["nat"]["forwards"]
    with pytest.raises(WeftError, match="2400.*taken"):
        weft("forward", "add", "net", "--listen", "2398-2401", "--to", end(A[4], 22))
    assert place.api.show("networks")[0]["nat"]["forwards"] == before
    assert {port for _, port in listening(place)} == {2222, 2400}
    exchange(*pair)
    place.switch.write_config(user_config({"listen": 2400, "to": end(A[4], 22)}))
    with pytest.raises(WeftError, match="2400.*taken"):
        weft("apply", place.switch.file)
    exchange(*pair)
    taken.close()
    weft("apply", place.switch.file)
    assert {port for _, port in listening(place)} == {2400}
    connect_by(place, listener, "host", ("127.0.0.1", 2400), 4)


def test_user_uplink_low_port(user_place):
    """weftd is nobody here, so it may not."""
    place = user_place
    place.host.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=1024")
    with pytest.raises(WeftError, match="1024"):
        place.switch.weft("forward", "add", "net", "--listen", "80", "--to", end(A[4], 22))
    assert place.api.show("networks")[0]["nat"]["forwards"] == []


def test_inner_address_is_no_way_in(place):
    """The gateway's own address inside forwards nothing: guests use the address outside."""
    apply(place, {"listen": 2222, "to": end(A[4], 22)})
    place.listen("a", 4, A[4], 22)
    with pytest.raises(ConnectionRefusedError):
        place.connect("b", (INSIDE[4], 2222), 4)
    connect_by(place, place.listen("a", 4, A[4], 2222), "b", (A[4], 2222), 4)
