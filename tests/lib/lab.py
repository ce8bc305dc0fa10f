"""The lab of an end-to-end test: a directory, a switch, guests of all kinds, namespaces; all gone when it is over."""

import itertools
import os
import shutil

import guests
import pytest
from frontend import Frontend
from namespace import Namespace
from process import Child
from switch import Switch

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and taps need root")


class Lab:
    """What a test plays with; each thing it hands out is closed at the end of the test."""

    def __init__(self, stack):
        self.stack = stack
        self.directory = guests.guest_directory()
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.names = itertools.count(1)
        self.switches = []

    def socket(self, name):
        return str(self.directory / f"{name}.sock")

    def isolated(self, *ports, **more):
        """A configuration: network "lab", mode isolated, and a vhost-user port for each name."""
        return {"networks": {"lab": {"mode": "isolated"}},
                "ports": {name: {"network": "lab", "vhost-user": self.socket(name)} for name in ports}, **more}

    def switch(self, config, **options):
        """A started weftd; when the test is over, it has to end cleanly."""
        switch = Switch(self.directory, config, **options)
        self.switches.append(switch)
        self.stack.callback(lambda: switch.child and switch.child.kill())
        self.stack.callback(switch.stop)
        return switch

    def accounts(self):
        """Of each switch that runs, a text for who has to find out what went wrong."""
        return [switch.account() for switch in self.switches if switch.child]

    def tap_switch(self, config, namespace):
        """The same inside a namespace, with the right to make taps there."""
        return self.switch(config, namespace=namespace.name, capabilities=["net_admin"])

    def frontend(self, name, **options):
        return self.stack.enter_context(Frontend(self.socket(name), **options))

    def qemu(self, name, number, port=None, **options):
        """A booted QEMU guest at the port of its name; its address is 10.9.0.NUMBER."""
        return self.stack.enter_context(guests.QemuGuest(
            name, self.directory, self.socket(port or name), mac(number),
            **{"ip": f"{address(number)}/24", **options}))

    def uml(self, name, number, **options):
        return self.stack.enter_context(guests.UmlGuest(
            name, self.directory, self.socket(name), mac(number), f"{address(number)}/24", **options))

    def testpmd(self, name, number, *arguments, device=""):
        """DPDK's virtio-user as a frontend, in testpmd's interactive shell; `device` is added to its options."""
        child = Child([
            "dpdk-testpmd", "--no-huge", "--no-pci", "--no-shconf", "-m", "256", "--no-telemetry",
            f"--vdev=net_virtio_user0,path={self.socket(name)},mac={mac(number)},server=0"
            + (f",{device}" if device else ""),
            "--", "-i", "--total-num-mbufs=8192", *arguments],
            unprivileged=True, cwd=self.directory, env=dict(os.environ, XDG_RUNTIME_DIR=str(self.directory)))
        self.stack.callback(child.kill)
        child.wait_for("testpmd> ", 60)
        return child

    def namespace(self, name=None):
        namespace = Namespace(name or str(next(self.names)))
        self.stack.callback(namespace.close)
        return namespace


def mac(number):
    return f"52:54:00:00:00:{number:02x}"


def address(number):
    return f"10.9.0.{number}"
