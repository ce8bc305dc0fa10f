"""Real guests: two of them talk, in every combination of offloads; reboots, more memory, more queues, and three
frontends of different making on one switch."""

import json

import pytest
from lab import address, mac, needs_root
from process import wait_until

OFFLOADS = ["tx", "rx", "sg", "tso", "gro", "gso"]


def measure_tcp(client, server, server_address, seconds=2):
    """Bytes that arrived in an iperf3 run from client to server."""
    job = server.spawn("iperf3 -s -1")
    server.run("until netstat -ltn | grep -q :5201; do usleep 20000; done")
    result = json.loads(client.run(f"iperf3 -J -c {server_address} -t {seconds}"))
    assert server.collect(job).status == 0
    return result["end"]["sum_received"]["bytes"]


def copy_file(client, server, server_address, mebibytes):
    """Sends random bytes over TCP; they have to arrive as they are."""
    # nc ends when its input does, and takes the other side along: an open FIFO never ends.
    job = server.spawn("rm -f /tmp/hold; mkfifo /tmp/hold; nc -l -p 7000 <>/tmp/hold | sha256sum")
    server.run("until netstat -ltn | grep -q :7000; do usleep 20000; done")
    client.run(f"dd if=/dev/urandom of=/tmp/data bs=1M count={mebibytes} 2>/dev/null")
    client.run(f"nc {server_address} 7000 </tmp/data")
    assert server.collect(job).output.split()[0] == client.run("sha256sum </tmp/data; rm /tmp/data").split()[0]


def assert_pings(guest, target, count=3):
    output = guest.run(f"ping -c {count} -i 0.2 {target}")
    assert f"{count} packets received" in output and "DUP" not in output


@pytest.fixture(scope="module")
def pair(module_lab):
    """Two QEMU guests on one network."""
    switch = module_lab.switch(module_lab.isolated("vm1", "vm2"))
    return switch, module_lab.qemu("vm1", 1), module_lab.qemu("vm2", 2)


@pytest.mark.sanitizer
def test_two_guests_ping(pair):
    switch, first, second = pair
    assert_pings(first, address(2))
    assert_pings(second, address(1))
    assert switch.macs()[mac(1)] == "vm1" and switch.macs()[mac(2)] == "vm2"


@pytest.mark.sanitizer
def test_two_guests_carry_tcp_both_ways(pair):
    switch, first, second = pair
    assert measure_tcp(first, second, address(2)) > 0
    assert measure_tcp(second, first, address(1)) > 0
    for name in ("vm1", "vm2"):
        port = switch.port(name)
        assert port["link"] == "up" and not port["fault"]
        assert port["receive"]["errors"] == 0 and port["transmit"]["errors"] == 0


@pytest.mark.sanitizer
@pytest.mark.parametrize("sender", ["on", "off"])
@pytest.mark.parametrize("receiver", ["on", "off"])
def test_offloads_switched_in_the_guests(pair, sender, receiver):
    _, first, second = pair
    for guest, state in ((first, sender), (second, receiver)):
        # What a guest cannot switch stays as it is.
        guest.run("for name in %s; do ethtool -K eth0 $name %s; done 2>/dev/null; true" % (" ".join(OFFLOADS), state))
    copy_file(first, second, address(2), 8)
    copy_file(second, first, address(1), 8)
    assert_pings(first, f"-s 4000 {address(2)}")


@pytest.mark.parametrize("device", ["csum=off,guest_csum=off", "guest_tso4=off,guest_tso6=off,guest_ufo=off",
                                    "host_tso4=off,host_tso6=off", "mrg_rxbuf=off", "indirect_desc=off",
                                    "event_idx=off", "disable-modern=on,disable-legacy=off", "rx_queue_size=1024"])
def test_guest_without_a_feature(lab, pair, device):
    """One guest lacks something, the other has all: each gets what it can take."""
    switch, first, _ = pair
    first.run("for name in %s; do ethtool -K eth0 $name on; done 2>/dev/null; true" % " ".join(OFFLOADS))
    path = lab.socket("odd")
    switch.weft("port", "add", "odd", "--network", "lab", "--vhost-user", path)
    try:
        odd = lab.qemu("odd", 3, device=device)
        assert_pings(first, address(3))
        copy_file(first, odd, address(3), 4)
        copy_file(odd, first, address(1), 4)
    finally:
        switch.weft("port", "del", "odd")


def test_guest_reboots(pair):
    switch, first, second = pair
    assert_pings(second, address(1))
    first.reboot()
    wait_until(lambda: switch.port("vm1")["link"] == "up", what="link of vm1")
    assert_pings(second, address(1))
    assert_pings(first, address(2))


@pytest.mark.sanitizer
def test_memory_is_added_to_a_running_guest(lab):
    switch = lab.switch(lab.isolated("vm1", "vm2"))
    first = lab.qemu("vm1", 1, memory="128M,slots=4,maxmem=1G")
    second = lab.qemu("vm2", 2)
    before = switch.port("vm1")
    ping = second.spawn(f"ping -c 60 -i 0.1 {address(1)}")
    first.run("echo online_movable >/sys/devices/system/memory/auto_online_blocks")
    for number in range(2):
        first.qmp("object-add", **{"qom-type": "memory-backend-memfd", "id": f"more{number}", "size": 128 << 20,
                                   "share": True})
        first.qmp("device_add", driver="pc-dimm", id=f"dimm{number}", memdev=f"more{number}")
    first.run("until [ $(awk '/MemTotal/ { print $2 }' /proc/meminfo) -gt 300000 ]; do usleep 50000; done")
    size = before["memory_size"] + (256 << 20)
    after = wait_until(lambda: (now := switch.port("vm1"))["memory_size"] >= size and now, what="more guest memory")
    assert after["memory_regions"] > before["memory_regions"] and after["link"] == "up"
    # Fill what there was at first, so that packets live in the new memory too.
    first.run("mount -o remount,size=300M /tmp; dd if=/dev/zero of=/tmp/fill bs=1M count=120 2>/dev/null")
    copy_file(second, first, address(1), 16)
    result = second.collect(ping)
    assert "60 packets received" in result.output, result.output


def test_guest_with_several_queues(lab):
    config = lab.isolated("vm1", "vm2")
    config["ports"]["vm1"]["queues"] = 2
    config["workers"] = {"count": 2}
    lab.switch(config)
    first, second = lab.qemu("vm1", 1, queues=2), lab.qemu("vm2", 2)
    first.run("ethtool -L eth0 combined 2")
    copy_file(second, first, address(1), 4)
    first.run("ethtool -L eth0 combined 1")
    assert_pings(first, address(2))
    first.run("ethtool -L eth0 combined 2")
    copy_file(first, second, address(2), 4)


def test_guest_that_listens(lab):
    """role: client: the frontend owns the socket, weftd connects, also when it comes later."""
    config = lab.isolated("vm1", "vm2")
    config["ports"]["vm1"]["role"] = "client"
    lab.switch(config)
    first = lab.qemu("vm1", 1, role="client")
    second = lab.qemu("vm2", 2)
    assert_pings(first, address(2))
    first.close()
    lab.directory.joinpath("vm1.sock").unlink(missing_ok=True)
    first = lab.qemu("vm1", 1, role="client")
    assert_pings(second, address(1))


@needs_root
@pytest.mark.sanitizer
def test_guest_to_tap(lab):
    """A guest and the TCP stack of a namespace, through a tap with all offloads."""
    inner, outer = lab.namespace(), lab.namespace()
    config = lab.isolated("vm1")
    config["ports"]["t0"] = {"network": "lab", "tap": "t0"}
    switch = lab.tap_switch(config, inner)
    outer.adopt(inner, "t0", f"{address(9)}/24")
    guest = lab.qemu("vm1", 1)
    assert_pings(guest, address(9))
    server = outer.spawn("iperf3", "-s", "-1", "--forceflush")
    lab.stack.callback(server.kill)
    server.wait_for("Server listening", 20)
    result = json.loads(guest.run(f"iperf3 -J -c {address(9)} -t 2"))
    assert result["end"]["sum_received"]["bytes"] > 0
    server = outer.spawn("iperf3", "-s", "-1", "--forceflush")
    lab.stack.callback(server.kill)
    server.wait_for("Server listening", 20)
    result = json.loads(guest.run(f"iperf3 -J -R -c {address(9)} -t 2"))
    assert result["end"]["sum_received"]["bytes"] > 0
    for name in ("vm1", "t0"):
        assert switch.port(name)["receive"]["errors"] == 0
        assert switch.port(name)["transmit"]["errors"] == 0


@pytest.mark.sanitizer
def test_two_user_mode_linux_guests(lab):
    lab.switch(lab.isolated("uml1", "uml2"))
    first, second = lab.uml("uml1", 1), lab.uml("uml2", 2)
    assert_pings(first, address(2))
    assert measure_tcp(first, second, address(2)) > 0


@pytest.mark.sanitizer
def test_three_frontends_on_one_switch(lab):
    """QEMU, User Mode Linux and DPDK's virtio-user, which answers pings for 10.9.0.3."""
    switch = lab.switch(lab.isolated("vm1", "uml1", "dpdk"))
    qemu, uml = lab.qemu("vm1", 1), lab.uml("uml1", 2)
    lab.testpmd("dpdk", 3, "--forward-mode=icmpecho", "--auto-start")
    # In this mode testpmd answers every ARP request, so the two real hosts must not ask for each other.
    qemu.run(f"arp -s {address(2)} {mac(2)}")
    uml.run(f"arp -s {address(1)} {mac(1)}")
    wait_until(lambda: all(port["link"] == "up" for port in switch.show("ports")), what="all links")
    assert_pings(qemu, address(2))
    assert_pings(uml, address(1))
    assert_pings(qemu, address(3))
    assert_pings(uml, address(3))
    assert measure_tcp(qemu, uml, address(2)) > 0
    known = switch.macs()
    assert [known[mac(number)] for number in (1, 2, 3)] == ["vm1", "uml1", "dpdk"]
