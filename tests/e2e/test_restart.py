"""weftd goes away, cleanly or not, and comes back, while a guest pings another."""

import os
import re
import signal

import pytest
from lab import address
from process import wait_until


def sequence_numbers(output):
    return [int(number) for number in re.findall(r"seq=(\d+) ", output)]


def guests_with(lab, switch, ring):
    """Two guests whose rings are split or packed."""
    guests = [lab.qemu(f"vm{number}", number, device=f"packed={'on' if ring == 'packed' else 'off'}")
              for number in (1, 2)]
    for name in ("vm1", "vm2"):
        assert {queue["format"] for queue in switch.port(name)["queues"]} == {ring}
    return guests


@pytest.mark.sanitizer
@pytest.mark.parametrize("ring", ["split", "packed"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_weftd_restarts_under_ping(lab, end, ring):
    """The guests notice lost packets and nothing else: nothing comes twice, and the rings go on where they were."""
    switch = lab.switch(lab.isolated("vm1", "vm2"))
    first, second = guests_with(lab, switch, ring)
    for guest in (first, second):
        guest.run("dmesg -c >/dev/null")
    ping = first.spawn(f"ping -i 0.1 {address(2)}")
    seen = f"grep -c seq= {ping}.out"
    for _ in range(3):
        before = int(first.run(f"until [ $({seen}) -gt 5 ]; do usleep 50000; done; {seen}"))
        switch.stop() if end == signal.SIGTERM else switch.kill()
        switch.start()
        for name in ("vm1", "vm2"):
            wait_until(lambda: switch.port(name)["link"] == "up", what=f"link of {name} after the restart")
        # Ten more answers than there were when it came back.
        now = int(first.run(seen))
        assert now >= before
        first.run(f"until [ $({seen}) -ge {now + 10} ]; do usleep 50000; done", timeout=30)
    first.run("kill -INT $(pidof ping)")
    output = first.collect(ping).output
    numbers = sequence_numbers(output)
    assert "DUP" not in output and len(numbers) == len(set(numbers)) and numbers == sorted(numbers)
    for guest in (first, second):
        complaints = guest.run("dmesg | grep -iE 'virtio|warn|bug|error|tx timeout' || true")
        assert not complaints, complaints


@pytest.mark.sanitizer
@pytest.mark.parametrize("ring", ["split", "packed"])
def test_tcp_survives_a_restart(lab, ring):
    """Bytes in flight are lost or arrive; the stream stays whole."""
    switch = lab.switch(lab.isolated("vm1", "vm2"))
    first, second = guests_with(lab, switch, ring)
    job = second.spawn("mkfifo /tmp/hold; nc -l -p 7000 <>/tmp/hold >/tmp/received; sha256sum </tmp/received")
    second.run("until netstat -ltn | grep -q :7000; do usleep 20000; done")
    first.run("dd if=/dev/urandom of=/tmp/data bs=1M count=48 2>/dev/null")
    sender = first.spawn(f"nc {address(2)} 7000 </tmp/data")
    second.run("until [ $(stat -c %s /tmp/received) -gt 1000000 ]; do usleep 10000; done")
    switch.kill()
    switch.start()
    assert first.collect(sender, timeout=120).status == 0
    assert second.collect(job, timeout=120).output.split()[0] == first.run("sha256sum </tmp/data").split()[0]


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_guest_reboots_around_a_restart(lab, ring):
    """A new ring in the old place, made with weftd there and made while it is away, is begun at its beginning."""
    switch = lab.switch(lab.isolated("vm1", "vm2"))
    first, second = guests_with(lab, switch, ring)
    first.run(f"ping -c 5 -i 0.1 {address(2)}")
    first.reboot()
    assert "5 packets received" in first.run(f"ping -c 5 -i 0.2 {address(2)}")
    switch.kill()
    first.reboot()
    switch.start()
    for name in ("vm1", "vm2"):
        wait_until(lambda: switch.port(name)["link"] == "up", what=f"link of {name} after the restart")
    second.run(f"until ping -c 1 -W 1 {address(1)}; do :; done")
    assert "5 packets received" in first.run(f"ping -c 5 -i 0.2 {address(2)}")


def test_frontend_comes_and_goes(lab):
    """Any number of connects and disconnects, and no descriptor is left."""
    switch = lab.switch(lab.isolated("p1", "p2"))
    listing = f"/proc/{switch.child.pid}/fd"

    def descriptors():
        return len(os.listdir(listing))

    lab.frontend("p1").close()
    wait_until(lambda: switch.port("p1")["link"] == "down", what="link down")
    before = descriptors()
    for _ in range(50):
        frontend = lab.frontend("p1")
        assert switch.port("p1")["link"] == "up"
        frontend.close()
        wait_until(lambda: switch.port("p1")["link"] == "down", what="link down")
    wait_until(lambda: descriptors() <= before, what=f"{before} open files")


@pytest.mark.sanitizer
def test_gateway_is_found_again(lab):
    """A gateway that has said goodbye is the guests' IPv6 router again, though their cards never lost their link."""
    config = lab.isolated("vm1")
    config["networks"]["lab"] = {"mode": "nat", "ipv6": "fd00:9::1/64", "ipv4": "10.9.0.1/24", "uplink": {"user": True}}
    switch = lab.switch(config)
    guest = lab.qemu("vm1", 1, ip=None)
    guest.run("ip link set eth0 up; udhcpc -i eth0 -n -q -t 8")
    default = "ip -6 route | grep ^default"
    guest.run(f"until {default}; do usleep 50000; done", timeout=30)
    leased = guest.run("ip -4 addr show dev eth0 | grep inet")
    switch.stop()
    guest.run(f"until ! {default}; do usleep 50000; done", timeout=30)
    switch.start()
    guest.run(f"until {default}; do usleep 50000; done", timeout=30)
    assert "3 packets received" in guest.run("ping -c 3 -i 0.2 fd00:9::1")
    assert "3 packets received" in guest.run("ping -c 3 -i 0.2 10.9.0.1")
    assert leased == guest.run("ip -4 addr show dev eth0 | grep inet")
    assert [row["state"] for row in switch.show("leases")] == ["bound"]
