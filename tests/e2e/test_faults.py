"""Hostile and broken frontends: the port says what is wrong, the others notice nothing."""

import os
import socket
import struct

import frontend as fe
import pytest
from frames import plain
from lab import mac
from process import wait_until
from stream import BROADCAST, Stream


@pytest.fixture
def bystanders(lab):
    """Ports one and two, which talk, and "victim"."""
    switch = lab.switch(lab.isolated("one", "two", "victim"))
    return switch, lab.frontend("one"), lab.frontend("two")


def assert_usable(lab, switch, name="victim"):
    """A new frontend finds the port as if nothing had been."""
    again = lab.frontend(name)
    wait_until(lambda: switch.port(name)["link"] == "up", what="link after the fault")
    again.send(plain(mac(0xb1), BROADCAST, b"back again"))
    again.close()
    wait_until(lambda: switch.port(name)["link"] == "down", what="link down")


@pytest.mark.sanitizer
def test_truncated_guest_memory(lab, bystanders):
    """The memory file of one guest is cut to nothing while broadcasts are written into it."""
    switch, first, second = bystanders
    with Stream(first, second) as stream:
        for _ in range(3):
            victim = lab.frontend("victim")
            wait_until(lambda: switch.port("victim")["link"] == "up", what="link")
            assert victim.receive()
            victim.truncate_memory()
            port = wait_until(lambda: (now := switch.port("victim"))["link"] == "down" and now, what="port down")
            assert "truncated" in port["fault"], port["fault"]
            victim.wait_closed()
            victim.close()
            stream.wait_progress(50)
        assert_usable(lab, switch)
    assert switch.port("one")["transmit"]["drops"] == switch.port("two")["transmit"]["drops"] == 0


MESSAGES = {
    "unknown request": struct.pack("<III", 200, 1, 0),
    "wrong version": struct.pack("<III", fe.GET_FEATURES, 2, 0),
    "payload too long": struct.pack("<III", fe.SET_FEATURES, 1, 0xffffffff),
    "payload too short": struct.pack("<III", fe.SET_VRING_NUM, 1, 4) + bytes(4),
    "queue out of range": struct.pack("<IIIII", fe.SET_VRING_NUM, 1, 8, 4096, 256),
    "ring size no power of two": struct.pack("<IIIII", fe.SET_VRING_NUM, 1, 8, 0, 100),
    "memory table without descriptors": struct.pack("<IIIIIQQQQ", fe.SET_MEM_TABLE, 1, 40, 1, 0, 0, 4096, 0, 0),
    "a descriptor too many": struct.pack("<III", fe.SET_OWNER, 1, 0),
    "too many regions": struct.pack("<IIIII", fe.SET_MEM_TABLE, 1, 8, 9, 0),
    "features never offered": struct.pack("<IIIQ", fe.SET_FEATURES, 1, 8, 1 << 63),
    "closes in a header": b"\x01\x00",
    "closes in a payload": struct.pack("<III", fe.SET_FEATURES, 1, 8) + b"\0\0",
}


@pytest.mark.sanitizer
def test_bad_messages(lab, bystanders):
    """Each is answered by closing the connection, named, and leaves nothing behind."""
    switch, first, second = bystanders
    descriptors = f"/proc/{switch.child.pid}/fd"
    before = len(os.listdir(descriptors))
    with Stream(first, second):
        for name, message in MESSAGES.items():
            errors = switch.port("victim")["message_errors"]
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(lab.socket("victim"))
                # In one case with a descriptor that nobody asked for.
                fds = [connection.fileno()] if "descriptor too many" in name else []
                socket.send_fds(connection, [message], fds)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            port = wait_until(lambda: not (now := switch.port("victim"))["connected"] and now, what="disconnect")
            assert port["last_error"], name
            if not name.startswith("closes"):
                assert port["message_errors"] == errors + 1, name
        assert_usable(lab, switch)
    wait_until(lambda: len(os.listdir(descriptors)) <= before, what=f"{before} open files")


RINGS = {
    # name: (descriptors of the chain as (address, length, flags, next), reason)
    "loop": ([(fe.GUEST_BASE, 100, 1, 0)], "chain_loop"),
    "index out of the table": ([(fe.GUEST_BASE, 12, 1, 999)], "chain_index"),
    "outside of memory": ([(1 << 40, 100, 0, 0)], "chain_address"),
    "end overflows": ([((1 << 64) - 16, 4096, 0, 0)], "chain_address"),
    "writable": ([(fe.GUEST_BASE, 100, 2, 0)], "chain_writable"),
    "shorter than the header": ([(fe.GUEST_BASE, 5, 0, 0)], "chain_header"),
    "frame too short": ([(fe.GUEST_BASE, 15, 0, 0)], "frame_short"),
    "indirect, not negotiated": ([(fe.GUEST_BASE, 16, 4, 0)], "chain_indirect"),
}


@pytest.mark.sanitizer
def test_bad_chains(lab, bystanders):
    """A bad chain is counted under its name and returned; the queue goes on."""
    switch, first, second = bystanders
    victim = lab.frontend("victim")
    queue = victim.from_guest
    with Stream(first, second):
        for name, (chain, reason) in RINGS.items():
            before = switch.port("victim")["receive"]["drops_by_reason"].get(reason, 0)
            while used := queue.take():
                queue.free.append(used[0])
            for index, descriptor in enumerate(chain):
                struct.pack_into("<QIHH", victim.memory, queue.descriptors + 16 * index, *descriptor)
            struct.pack_into("<H", victim.memory, queue.available + 4 + 2 * (queue.available_index % queue.size), 0)
            queue.available_index += 1
            struct.pack_into("<H", victim.memory, queue.available + 2, queue.available_index & 0xffff)
            queue.notify()
            wait_until(lambda: switch.port("victim")["receive"]["drops_by_reason"].get(reason, 0) == before + 1,
                       what=f"drop {reason} ({name})")
            wait_until(queue.take, what="used entry")
        # The ring still works.
        victim.send(plain(mac(0xb2), BROADCAST, b"fine"))
    assert switch.port("victim")["link"] == "up"


@pytest.mark.sanitizer
def test_wild_index_breaks_that_queue_only(lab, bystanders):
    switch, first, second = bystanders
    victim = lab.frontend("victim")
    with Stream(first, second) as stream:
        struct.pack_into("<H", victim.memory, victim.from_guest.available + 2, 30000)
        victim.from_guest.notify()
        wait_until(lambda: "broken" in switch.port("victim")["queues"][1]["state"], what="broken queue")
        stream.wait_progress(20)
        victim.close()
        assert_usable(lab, switch)


@pytest.mark.sanitizer
def test_guest_that_takes_nothing(lab, bystanders):
    """A guest without free buffers loses its own frames, with a reason."""
    switch, first, second = bystanders
    lab.frontend("victim", size=4)
    with Stream(first, second) as stream:
        stream.wait_progress(200)
    drops = switch.port("victim")["transmit"]["drops_by_reason"]
    assert drops["no_buffers"] > 0 and set(drops) == {"no_buffers"}
