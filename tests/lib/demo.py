"""`./run demo`: two guests on a NAT network of a weftd that is an ordinary user's process.

They get addresses and names, talk to each other, reach an HTTP server on the host's loopback through the NAT, and
are reached through a port forward; weft shows what it knows of it. Every step says what it does. The status is 0
only if every step worked, and nothing is left behind, whatever happened: processes are ended and the directory is
removed, on Ctrl-C and SIGTERM too.
"""

import argparse
import contextlib
import hashlib
import http.server
import ipaddress
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.request

import guests
import images
from process import Timeout, wait_until
from switch import Switch, WeftError

MACS = {"vm1": "52:54:00:00:00:01", "vm2": "52:54:00:00:00:02"}
PREFIXES = {4: ipaddress.ip_network("192.168.122.0/24"), 6: ipaddress.ip_network("fd00:122::/64")}
RESERVED = "192.168.122.10"  # vm2's
DOMAIN = "lab.internal"
WAY_OUT = {4: "10.0.2.2", 6: "fd00:10:0:2::2"}  # of a user uplink; with host-loopback it is the host's loopback
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
CONFIG = """\
api: {{ socket: {directory}/weftd.sock }}
networks:
  lab:
    mode: nat
    ipv4: 192.168.122.1/24
    ipv6: fd00:122::1/64
    dhcp: {{ hosts: {{ vm2: {{ mac: {macs[vm2]}, ip: {reserved} }} }} }}
    dns: {{ domain: {domain} }}
    uplink: {{ user: true, host-loopback: true }}
    forward: [ {{ proto: tcp, listen: 127.0.0.1:{port}, to: {reserved}:80 }} ]
ports:
  vm1: {{ network: lab, vhost-user: {directory}/vm1.sock }}
  vm2: {{ network: lab, vhost-user: {directory}/vm2.sock }}
"""
SECONDS = 4
FILE_BYTES = 8 << 20


class DemoError(Exception):
    """A step did not show what it should."""


def step(text):
    print(f"\n== {text}", flush=True)


def indent(text):
    print("".join(f"   {line}\n" for line in text.strip("\n").splitlines()), end="", flush=True)


def free_port():
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK[4], 0))
        return probe.getsockname()[1]


def start_switch(stack, port):
    step("Starting weftd as an ordinary user: no root, no hugepages")
    directory = guests.guest_directory()
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    switch = Switch(directory, CONFIG.format(directory=directory, macs=MACS, reserved=RESERVED, domain=DOMAIN,
                                             port=port), start=False)
    indent(switch.file.read_text())
    stack.callback(lambda: switch.child and switch.child.kill())
    switch.start()
    status = pathlib.Path(f"/proc/{switch.child.pid}/status").read_text()
    ids = {line.split()[0]: line.split()[1:] for line in status.splitlines()}
    indent(f"weftd is process {switch.child.pid}: user ids {' '.join(ids['Uid:'])}, "
           f"capabilities {ids['CapEff:'][0]}, hugepages {ids['HugetlbPages:'][0]} kB")
    if int(ids["Uid:"][1]) == 0 or int(ids["CapEff:"][0], 16) != 0:
        raise DemoError("weftd has privileges; run the demo as root, who gives them up for it, or as a user without")
    return switch


def boot(stack, switch, kind):
    if kind is guests.UmlGuest:
        step("Booting two User Mode Linux guests, without addresses")
    else:
        step("Booting two QEMU guests, without addresses")
        slow = "KVM does not work here, so QEMU translates: TCG"
        indent(f"kernel {images.kernel().name}; "
               + ("KVM works" if guests.qemu_accelerator() == "kvm" else slow))
    booted = []
    for name, mac in MACS.items():
        begin = time.monotonic()
        guest = stack.enter_context(kind(name, switch.directory, switch.directory / f"{name}.sock", mac))
        indent(f"{name}: {guest.run('uname -sr').strip()}, {mac}, up after {time.monotonic() - begin:.1f} s")
        booted.append(guest)
    for name in MACS:
        wait_until(lambda: switch.port(name)["link"] == "up", what=f"link of {name}")
    return booted


def find_address(guest, family):
    """The guest's address in the network's prefix once it may be used, else None."""
    for line in guest.run(f"ip -{family} addr show dev eth0").splitlines():
        found = re.match(r" +inet6? ([0-9a-f.:]+)/", line)
        if found and "tentative" not in line and ipaddress.ip_address(found.group(1)) in PREFIXES[family]:
            return found.group(1)
    return None


def configure(guest):
    """Lets the guest get its addresses; returns them by family."""
    step(f"{guest.name} asks for addresses: udhcpc for IPv4, the kernel's own SLAAC for IPv6")
    indent(guest.run(f"hostname {guest.name}; ip link set eth0 up; "
                     f"udhcpc -i eth0 -n -t 8 -x hostname:{guest.name}"))
    addresses = {family: wait_until(lambda: find_address(guest, family), what=f"IPv{family} address of {guest.name}")
                 for family in PREFIXES}
    indent(f"{guest.name} has {' and '.join(addresses.values())}")
    return addresses


def show_ping(guest, address):
    step(f"Ping from {guest.name} to {address}")
    output = guest.run(f"ping -c 3 -i 0.3 {address}")
    indent(output)
    if " 0% packet loss" not in output:
        raise DemoError("packets were lost")


def show_names(client, server, address):
    step(f"{client.name} asks the gateway who {server.name}.{DOMAIN} is, and who has {address}")
    forward = client.run(f"nslookup {server.name}.{DOMAIN}")
    backward = client.run(f"nslookup {address}")
    indent(f"{forward.strip()}\n{backward.strip()}")
    if f"Address: {address}" not in forward or f"{server.name}.{DOMAIN}" not in backward:
        raise DemoError("the answer is wrong")


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


def serve(stack, family, content):
    """Serves `content` by HTTP on the host's loopback; returns the port, or None if the host has none of this
    family."""
    class Server(http.server.ThreadingHTTPServer):
        address_family = {4: socket.AF_INET, 6: socket.AF_INET6}[family]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    try:
        server = Server((LOOPBACK[family], 0), Handler)
    except OSError:
        return None
    stack.callback(server.server_close)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return server.server_port


def show_fetch(stack, guest):
    content = os.urandom(FILE_BYTES)
    for family, way_out in WAY_OUT.items():
        port = serve(stack, family, content)
        if port is None:
            continue
        host, url = ((name if family == 4 else f"[{name}]") + f":{port}" for name in (LOOPBACK[family], way_out))
        step(f"{guest.name} fetches a file from the HTTP server at {host} of the host: http://{url}/file")
        begin = time.monotonic()
        digest = guest.run(f"wget -q -O /tmp/file http://{url}/file && sha256sum /tmp/file; rm -f /tmp/file").split()[:1]
        indent(f"{FILE_BYTES >> 20} MiB in {time.monotonic() - begin:.1f} s, SHA-256 {digest[0] if digest else '-'}")
        if digest != [hashlib.sha256(content).hexdigest()]:
            raise DemoError("it is not the file that was sent")


def show_forward(guest, port):
    step(f"The host asks http://127.0.0.1:{port}/, forwarded to the HTTP server of {guest.name}")
    guest.run("mkdir -p /tmp/www; echo \"Hello from $(hostname), $(uname -sr)\" >/tmp/www/index.html; "
              "httpd -p 80 -h /tmp/www")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this host's own, whatever the environment says
    with opener.open(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        text = answer.read().decode()
    indent(text)
    if f"Hello from {guest.name}," not in text:
        raise DemoError("somebody else answered")


def show_switch(switch, addresses):
    for what in ("networks", "ports", "macs", "leases", "sessions"):
        step(f"weft show {what}")
        indent(switch.weft("show", what))
    known = switch.macs()
    leases = {row["host"]: row for row in switch.show("leases")}
    for name, mac in MACS.items():
        if known.get(mac) != name:
            raise DemoError(f"{mac} was not learned behind {name}")
        port = switch.port(name)
        if port["receive"]["packets"] == 0 or port["transmit"]["packets"] == 0:
            raise DemoError(f"port {name} counted no packets")
        lease = leases.get(name, {})
        if (lease.get("state"), lease.get("ip"), lease.get("mac")) != ("bound", addresses[name][4], mac):
            raise DemoError(f"no lease of {name}")
    sessions = switch.show("sessions")
    for what, wanted in (("file", {"protocol": "tcp", "direction": "out", "forward": False}),
                         ("forward", {"protocol": "tcp", "direction": "in", "forward": True})):
        if not any(wanted.items() <= row.items() for row in sessions):
            raise DemoError(f"no session of the {what}")


def demo(kind):
    with contextlib.ExitStack() as stack:
        stack.callback(step, "Nothing is left: guests and weftd have ended, their directory is removed")
        port = free_port()
        switch = start_switch(stack, port)
        first, second = boot(stack, switch, kind)
        addresses = {guest.name: configure(guest) for guest in (first, second)}
        for family in PREFIXES:
            show_ping(first, addresses["vm2"][family])
            show_ping(second, addresses["vm1"][family])
        show_names(first, second, addresses["vm2"][4])
        show_tcp(first, second, addresses["vm2"][4])
        show_tcp(second, first, addresses["vm1"][6])
        show_fetch(stack, first)
        show_forward(second, port)
        show_switch(switch, addresses)
        step("Stopping the guests, then weftd with SIGTERM")
        first.close()
        second.close()
        switch.stop()


def main():
    parser = argparse.ArgumentParser(prog="run demo", description="Two guests on a NAT network of weftd.")
    parser.add_argument("--uml", action="store_true", help="User Mode Linux guests instead of QEMU")
    arguments = parser.parse_args()
    # As an exception, so that everything is cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        demo(guests.UmlGuest if arguments.uml else guests.QemuGuest)
    except KeyboardInterrupt:
        return 130
    except (DemoError, WeftError, Timeout, guests.GuestError, images.ImageError, AssertionError, OSError,
            ValueError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    print("\nIt works.")
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
