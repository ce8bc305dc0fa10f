"""Live migration between two QEMUs on one machine."""

import pytest
from lab import address, mac
from process import wait_until


@pytest.mark.sanitizer
@pytest.mark.parametrize("card", ["packed=off", "packed=on"])
def test_guest_migrates_under_ping(lab, card):
    """vm1 moves from port "source" to port "target" while vm2 pings it and it writes to its memory."""
    switch = lab.switch(lab.isolated("source", "target", "vm2"))
    moving, other = lab.qemu("source", 1, device=card), lab.qemu("vm2", 2)
    channel = f"unix:{lab.directory}/migration"
    target = lab.qemu("target", 1, device=card, incoming=channel, wait=False)
    ping = other.spawn(f"ping -c 100 -i 0.1 {address(1)}")
    other.run(f"until [ $(grep -c seq= {ping}.out) -gt 10 ]; do usleep 50000; done")
    assert switch.macs()[mac(1)] == "source"
    wait_until(lambda: (lab.directory / "migration").exists(), what="target that listens")
    moving.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 30, "downtime-limit": 1000})
    moving.qmp("migrate", uri=channel)
    states = ("completed", "failed", "cancelled")
    state = wait_until(lambda: (now := moving.qmp("query-migrate").get("status")) in states and now, 120,
                       "end of the migration")
    assert state == "completed", moving.qmp("query-migrate")
    moving.close()
    # The switch port follows, before the guest is asked for anything: RARP, or its own announcement.
    wait_until(lambda: switch.macs().get(mac(1)) == "target", what="MAC behind the new port")
    result = other.collect(ping)
    assert "DUP" not in result.output
    assert "seq=99 " in result.output, result.output
    assert "3 packets received" in target.run(f"ping -c 3 -i 0.2 {address(2)}")
    assert switch.port("source")["link"] == "down" and switch.port("target")["link"] == "up"
