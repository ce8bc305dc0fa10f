"""`./run demo`: two guests talk through a weftd that is an ordinary user's process.

Every step says what it does. The status is 0 only if every step worked, and nothing is left behind, whatever
happened: processes are ended and the directory is removed, on Ctrl-C and SIGTERM too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sys
import time

import guests
import images
from process import Timeout, wait_until
from switch import Switch, WeftError

ADDRESSES = {"vm1": ("52:54:00:00:00:01", "10.9.0.1"), "vm2": ("52:54:00:00:00:02", "10.9.0.2")}
SECONDS = 4


class DemoError(Exception):
    """A step did not show what it should."""


def step(text):
    print(f"\n== {text}", flush=True)


def indent(text):
    print("".join(f"   {line}\n" for line in text.rstrip().splitlines()), end="", flush=True)


def start_switch(stack):
    step("Starting weftd as an ordinary user: no root, no hugepages")
    directory = guests.guest_directory()
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    switch = Switch(directory, {
        "networks": {"lab": {"mode": "isolated"}},
        "ports": {name: {"network": "lab", "vhost-user": str(directory / f"{name}.sock")} for name in ADDRESSES},
    }, start=False)
    indent(switch.file.read_text())
    stack.callback(lambda: switch.child and switch.child.kill())
    switch.start()
    status = pathlib.Path(f"/proc/{switch.child.pid}/status").read_text()
    ids = {line.split()[0]: line.split()[1:] for line in status.splitlines()}
    indent(f"weftd is process {switch.child.pid}: user ids {' '.join(ids['Uid:'])}, "
           f"capabilities {ids['CapEff:'][0]}, hugepages {ids['HugetlbPages:'][0]} kB")
    if int(ids["Uid:"][1]) == 0 or int(ids["CapEff:"][0], 16) != 0:
        raise DemoError("weftd has privileges")
    return switch


def boot(stack, switch, kind):
    if kind is guests.UmlGuest:
        step("Booting two User Mode Linux guests")
    else:
        step("Booting two QEMU guests")
        slow = "KVM does not work here, so QEMU translates: TCG"
        indent(f"kernel {images.kernel().name}; "
               + ("KVM works" if guests.qemu_accelerator() == "kvm" else slow))
    booted = []
    for name, (mac, address) in ADDRESSES.items():
        begin = time.monotonic()
        guest = stack.enter_context(kind(name, switch.directory, switch.directory / f"{name}.sock", mac,
                                         f"{address}/24"))
        indent(f"{name}: {guest.run('uname -sr').strip()}, {address}, {mac}, "
               f"up after {time.monotonic() - begin:.1f} s")
        booted.append(guest)
    for name in ADDRESSES:
        wait_until(lambda: switch.port(name)["link"] == "up", what=f"link of {name}")
    return booted


def show_ping(guest, address):
    step(f"Ping from {guest.name} to {address}")
    output = guest.run(f"ping -c 4 -i 0.3 {address}")
    indent(output)
    if " 0% packet loss" not in output:
        raise DemoError("packets were lost")


def show_tcp(client, server, address):
    step(f"TCP from {client.name} to {server.name}, {SECONDS} s")
    job = server.spawn("iperf3 -s -1")
    server.run("until netstat -ltn | grep -q :5201; do usleep 20000; done")
    result = json.loads(client.run(f"iperf3 -J -c {address} -t {SECONDS}"))
    server.collect(job)
    received = result["end"]["sum_received"]
    indent(f"{received['bytes'] / 2**20:.0f} MiB received, {received['bits_per_second'] / 1e9:.2f} Gbit/s, "
           f"{result['end']['sum_sent']['retransmits']} segments sent again")
    if received["bytes"] == 0:
        raise DemoError("no bytes arrived")


def show_switch(switch):
    for what in ("ports", "macs"):
        step(f"weft show {what}")
        indent(switch.weft("show", what))
    known = switch.macs()
    for name, (mac, _) in ADDRESSES.items():
        if known.get(mac) != name:
            raise DemoError(f"{mac} was not learned behind {name}")
        port = switch.port(name)
        if port["receive"]["packets"] == 0 or port["transmit"]["packets"] == 0:
            raise DemoError(f"port {name} counted no packets")


def demo(kind):
    with contextlib.ExitStack() as stack:
        stack.callback(step, "Nothing is left: guests and weftd have ended, their directory is removed")
        switch = start_switch(stack)
        first, second = boot(stack, switch, kind)
        show_ping(first, ADDRESSES["vm2"][1])
        show_ping(second, ADDRESSES["vm1"][1])
        show_tcp(first, second, ADDRESSES["vm2"][1])
        show_tcp(second, first, ADDRESSES["vm1"][1])
        show_switch(switch)
        step("Stopping the guests, then weftd with SIGTERM")
        first.close()
        second.close()
        switch.stop()


def main():
    parser = argparse.ArgumentParser(prog="run demo", description="Two guests talk through weftd.")
    parser.add_argument("--uml", action="store_true", help="User Mode Linux guests instead of QEMU")
    arguments = parser.parse_args()
    # As an exception, so that everything is cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        demo(guests.UmlGuest if arguments.uml else guests.QemuGuest)
    except KeyboardInterrupt:
        return 130
    except (DemoError, WeftError, Timeout, guests.GuestError, images.ImageError, AssertionError, OSError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    print("\nIt works.")
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
