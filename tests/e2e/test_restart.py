"""weftd goes away, cleanly or not, and comes back, while a guest pings another."""

import os
import re
import signal

import pytest
from lab import address
from process import wait_until


def sequence_numbers(output):
    return [int(number) for number in re.findall(r"seq=(\d+) ", output)]


@pytest.mark.sanitizer
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_weftd_restarts_under_ping(lab, end):
    """The guests notice lost packets and nothing else: nothing comes twice, and the rings go on where they were."""
    switch = lab.switch(lab.isolated("vm1", "vm2"))
    first, second = lab.qemu("vm1", 1), lab.qemu("vm2", 2)
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
def test_tcp_survives_a_restart(lab):
    """Bytes in flight are lost or arrive; the stream stays whole."""
    switch = lab.switch(lab.isolated("vm1", "vm2"))
    first, second = lab.qemu("vm1", 1), lab.qemu("vm2", 2)
    job = second.spawn("mkfifo /tmp/hold; nc -l -p 7000 <>/tmp/hold >/tmp/received; sha256sum </tmp/received")
    second.run("until netstat -ltn | grep -q :7000; do usleep 20000; done")
    first.run("dd if=/dev/urandom of=/tmp/data bs=1M count=48 2>/dev/null")
    sender = first.spawn(f"nc {address(2)} 7000 </tmp/data")
    second.run("until [ $(stat -c %s /tmp/received) -gt 1000000 ]; do usleep 10000; done")
    switch.kill()
    switch.start()
    assert first.collect(sender, timeout=120).status == 0
    assert second.collect(job, timeout=120).output.split()[0] == first.run("sha256sum </tmp/data").split()[0]


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
