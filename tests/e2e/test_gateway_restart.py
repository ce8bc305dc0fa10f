"""weftd is killed and started again under what its guests have going: nothing of theirs ends.

The guests' links outlive weftd: one end of a veth pair (`interface`), and a tap that somebody else made, here behind a
bridge of the kernel. So does the uplink.
"""

import contextlib
import shutil
import socket
import sqlite3
import threading

import pytest
from gateway_place import (FAR, GUESTS, OUTSIDE, Place, assign, config, echo, exchange, guest_address, link,
                           receive_exactly, settle, wait_value)
from lab import mac, needs_root
from process import Child

pytestmark = [needs_root, pytest.mark.sanitizer]
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


def guest_port(name):
    return {"interface": "ia"} if name == "a" else {"tap": {"name": "tb", "existing": True}}


@pytest.fixture
def place(lab):
    """Guest a at a veth pair, b at a persistent tap; the uplink is a veth pair into a router, which is the host's
    place in the other tests."""
    place = Place(lab)
    place.wires = lab.namespace("wires")
    link(place.wires, "ia", place.guests["a"], "eth0")
    link(place.wires, "br-b", place.guests["b"], "eth0")
    place.wires.run("ip", "tuntap", "add", "dev", "tb", "mode", "tap", "user", "nobody")
    place.wires.run("ip", "link", "add", "bridge", "type", "bridge")
    for device in ("tb", "br-b"):
        place.wires.run("ip", "link", "set", device, "master", "bridge")
    for device in ("tb", "bridge"):
        # No word of the kernel's own.
        place.wires.run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
        place.wires.run("ip", "link", "set", device, "up")
    for name, guest in place.guests.items():
        guest.run("ip", "link", "set", "eth0", "address", mac(GUESTS[name]))
        settle(guest, name, "eth0")
    link(place.wires, "up0", place.host, "up0")
    assign(place.host, "up0", "10.255.0.1/28", "fd00:ff::1/64")
    return place


def start(place, **options):
    switch = place.start(config(port=guest_port, uplink={"interface": "up0"}, **options), namespace=place.wires)
    return switch


def restart(place):
    place.api.close()
    place.switch.kill()
    place.switch.start()
    place.reconnect()


class Stream:
    """A connection on which bytes flow both ways without a pause, until stop()."""

    def __init__(self, client, server):
        self.ends = (client, server)
        self.count, self.problem = 0, None
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                exchange(*self.ends)
                with self._moved:
                    self.count += 1
                    self._moved.notify_all()
        except Exception as problem:  # told by progress()
            with self._moved:
                self.problem = problem
                self._moved.notify_all()

    def progress(self, more=20):
        goal = self.count + more
        with self._moved:
            self._moved.wait_for(lambda: self.count >= goal or self.problem, 60)
        if self.problem:
            raise self.problem
        assert self.count >= goal, "the connection stands still"

    def stop(self):
        self._stop.set()
        self._thread.join(60)
        if self.problem:
            raise self.problem


def connected(place, name, version):
    listener = place.listen("far", version, FAR[version])
    client = place.connect(name, listener.getsockname()[:2], version)
    server, sender = listener.accept()
    place.lab.stack.callback(server.close)
    server.settimeout(60)
    client.settimeout(60)
    return client, server, sender[:2]


@both
def test_connections_go_on(place, version):
    start(place, forward=[{"listen": 2222, "to": f"{guest_address('a', 4)}:22"},
                          {"listen": 2222, "to": f"[{guest_address('a', 6)}]:22"}])
    streams, senders = [], []
    for name in GUESTS:
        client, server, sender = connected(place, name, version)
        streams.append(Stream(client, server))
        senders.append(sender)
    # One that came by a forward, as an SSH connection into a guest does.
    inside = place.listen("a", version, guest_address("a", version), 22)
    outer = place.connect("far", (OUTSIDE[version], 2222), version)
    accepted, _ = inside.accept()
    accepted.settimeout(60)
    outer.settimeout(60)
    streams.append(Stream(accepted, outer))
    with echo(place.open("far", version=version, address=FAR[version])) as server:
        # Two guests of one port: the second has another one outside.
        flows = [place.guest_socket(name, version=version, port=40000) for name in GUESTS]
        for flow in flows:
            flow.sendto(b"hello", server.socket.getsockname()[:2])
            assert flow.recv(100) == b"hello"
        before = list(server.heard)
        assert len(set(before)) == 2
        for _ in range(2):
            for stream in streams:
                stream.progress()
            restart(place)
            for stream in streams:
                stream.progress()
        for flow in flows:
            flow.sendto(b"again", server.socket.getsockname()[:2])
            assert flow.recv(100) == b"again"
        assert server.heard == before * 2
    for stream in streams:
        stream.stop()
    for (client, server), sender in zip([stream.ends for stream in streams[:2]], senders, strict=True):
        assert server.getpeername()[:2] == sender and client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    rows = place.sessions(protocol="tcp")
    assert len(rows) == 3 and {row["state"] for row in rows} == {"established"}
    assert {row["forward"] for row in rows} == {True, False}


def test_answers_find_their_way_first(place):
    """After the restart it is the outside that speaks first: the session lets it in, and the neighbour is known."""
    start(place)
    client, server, _ = connected(place, "a", 4)
    exchange(client, server)
    asked = place.open("far", address=FAR[4])
    flow = place.guest_socket("b", port=41000)
    flow.sendto(b"hello", asked.getsockname()[:2])
    mapped = asked.recvfrom(100)[1]
    wait_value(lambda: stored(place), lambda rows: rows >= 3, "neighbours written down")
    restart(place)
    assert {row["ip"]: row["mac"] for row in place.api.show("neighbours") if row["ip"] == guest_address("b", 4)} == {
        guest_address("b", 4): mac(GUESTS["b"])}
    asked.sendto(b"here I am", mapped)
    assert flow.recv(100) == b"here I am"
    server.sendall(b"and I")
    assert receive_exactly(client, 5) == b"and I"


def stored(place):
    """How many neighbours are written down."""
    path, = place.switch.directory.rglob("weft.db")
    copy = place.lab.directory / "copy.db"
    # weftd has it for itself alone. A copy taken in the midst of a change may be torn: the next one is not.
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(copy)) as database:
        return database.execute("select count(*) from record where name = 'neighbour'").fetchone()[0]
    return 0


def test_leases_and_neighbours_stay(place):
    start(place)
    place.guests["b"].run("ip", "addr", "flush", "dev", "eth0")
    script = place.lab.directory / "lease.sh"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && ip addr add $ip/$mask dev $interface && echo "lease $ip"\n'
                      'exit 0\n')
    script.chmod(0o755)
    client = Child(["busybox", "udhcpc", "-f", "-n", "-t", 10, "-i", "eth0", "-s", script, "-x", "hostname:bee"],
                   namespace=place.guests["b"].name)
    place.lab.stack.callback(client.kill)
    client.wait_for(f"lease {guest_address('b', 4)}", 30)
    place.guests["b"].run("ip", "route", "replace", "default", "via", "10.8.0.1")
    for name in GUESTS:
        place.ping(name, FAR[4])
    key = ("ip", "mac", "client", "host", "state", "reserved")
    leases = [{k: row[k] for k in key} for row in place.api.show("leases") if row["state"] == "bound"]
    assert leases and leases[0]["ip"] == guest_address("b", 4)
    neighbours = {(row["leg"], row["ip"], row["mac"]) for row in place.api.show("neighbours") if row["mac"]}
    assert ("outside", "10.255.0.1") in {row[:2] for row in neighbours}
    sessions = {(row["inside"]["ip"], row["inside"]["port"], row["outside"]["port"]) for row in place.sessions()}
    assert sessions
    # Neighbours are written down with the second.
    wait_value(lambda: stored(place), lambda rows: rows >= len(neighbours), "neighbours written down")
    restart(place)
    assert [{k: row[k] for k in key} for row in place.api.show("leases") if row["state"] == "bound"] == leases
    now = {(row["leg"], row["ip"], row["mac"]) for row in place.api.show("neighbours") if row["mac"]}
    assert neighbours <= now
    assert sessions <= {(row["inside"]["ip"], row["inside"]["port"], row["outside"]["port"])
                        for row in place.sessions()}
    # The guard knows the guest by its lease: what it sends passes, and it renews.
    place.ping("b", FAR[4])
    start_of_renewal = len(client.output)
    client.signal(10)  # SIGUSR1: renew
    client.wait_for("obtained", 30, start_of_renewal)


def test_clean_stop_keeps_the_same(place):
    """SIGTERM, and a start: as with SIGKILL."""
    start(place)
    client, server, sender = connected(place, "a", 4)
    exchange(client, server)
    place.api.close()
    place.switch.stop()
    place.switch.start()
    place.reconnect()
    exchange(client, server)
    exchange(server, client)


def test_broken_state_is_set_aside(place):
    """What is found in the state's place is not ours, or damaged: said, moved aside, and weftd works."""
    start(place)
    client, server, _ = connected(place, "a", 4)
    exchange(client, server)
    place.api.close()
    place.switch.kill()
    files = {path.name: path for path in place.switch.directory.rglob("*") if path.suffix in (".sessions", ".db")}
    assert {"net.sessions", "weft.db"} <= set(files), files
    for path in files.values():
        path.write_bytes(b"this is no state at all" * 1000)
    for leftover in place.switch.directory.rglob("weft.db-*"):
        leftover.unlink()
    place.switch.start()
    place.reconnect()
    place.ping("a", FAR[4])
    place.ping("b", FAR[6])
    client.sendall(b"anybody there?")
    wait_value(place.drops, lambda drops: drops.get("nat_tcp_state", 0) > 0, "a segment of no session")
    aside = {path.name.split(".")[0] for path in place.switch.directory.rglob("*") if
             path.is_file() and path not in files.values() and path.read_bytes().startswith(b"this is no state")}
    assert aside == {"net", "weft"}
