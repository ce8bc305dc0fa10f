"""Test guests: real Linux kernels with a vhost-user network card, under QEMU or User Mode Linux.

Used by the demo and by tests/e2e. A guest runs shell scripts given over its console (guest_init.sh is the other
end), so it needs no network of its own to be driven. Guests run unprivileged.
"""

import base64
import functools
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import tempfile

import images
from process import NOBODY, Child, Timeout, kvm_group

QEMU = "qemu-system-x86_64"
QEMU_MODULES = ["virtio_pci", "virtio_net", "8021q"]
UML = "/usr/bin/linux.uml"
UML_MODULES = ["virtio_net", "8021q", "af_packet", "ipv6"]
BOOT_TIMEOUT = 120  # a boot takes 3 s; a machine that does more than one thing takes longer


class GuestError(Exception):
    """A script in a guest failed."""


class Result:
    """What a script in a guest printed, and its exit status."""

    def __init__(self, status, output):
        self.status = status
        self.output = output


class Guest:
    """What QEMU and UML guests have in common: the console."""

    def __init__(self, name):
        self.name = name
        self.child = None
        self._ids = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def wait_ready(self, start=0):
        """Waits for the end of a boot; `start` is where in the console's output to look from."""
        self.child.wait_for("\n#ready\n", BOOT_TIMEOUT, start)

    def start(self, script):
        """Starts a script and returns a handle for finish(). The console runs one after the other."""
        number, position = next(self._ids), len(self.child.output)
        self.child.write(f"{number} {base64.b64encode(script.encode()).decode()}\n")
        return number, position, script

    def finish(self, handle, timeout=60):
        """Waits for a started script; returns its Result."""
        number, position, script = handle
        pattern = re.compile(rf"\n#begin {number}\n(.*)\n#end {number} (\d+)\n", re.DOTALL)
        found = self.child.wait_for(pattern.search, timeout, position, f"end of '{script}' in {self.name}")
        return Result(int(found.group(2)), found.group(1))

    def run(self, script, timeout=60):
        """Runs a script; returns what it printed. GuestError if its exit status is not 0."""
        result = self.finish(self.start(script), timeout)
        if result.status != 0:
            raise GuestError(f"{self.name}: '{script}' exited with {result.status}:\n{result.output}")
        return result.output

    def spawn(self, script):
        """Runs a script in the background of the guest; returns a name for collect()."""
        name = f"/tmp/job{next(self._ids)}"
        # The inner shell gets the script as one argument; its status ends up beside its output.
        self.run(f"mkfifo {name}.done; "
                 f"(sh -c {shlex.quote(script)} >{name}.out 2>&1; echo $? >{name}.status; "
                 f": >{name}.done) >/dev/null 2>&1 &")
        return name

    def collect(self, name, timeout=60):
        """Waits for the end of a spawned script; returns its Result."""
        output = self.run(f"cat {name}.done; cat {name}.status {name}.out", timeout)
        status, _, rest = output.partition("\n")
        return Result(int(status), rest)

    def close(self):
        """Ends the guest without grace."""
        if self.child:
            self.child.kill()


class QemuGuest(Guest):
    """A PC under QEMU with one virtio-net card at a vhost-user socket.

    `role` is weftd's: "server" (QEMU connects, and reconnects each second) or "client" (QEMU listens).
    `device` and `netdev` are added to the options of the card, `options` to the command line.
    """

    def __init__(self, name, directory, path, mac, ip=None, role="server", queues=1, memory="192M", device="",
                 mtu=None, options=(), wait=True, accelerator=None, incoming=None):
        super().__init__(name)
        self.directory = pathlib.Path(directory)
        self.qmp_path = self.directory / f"{name}.qmp"
        self.qmp_socket = None
        self.accelerator = accelerator or qemu_accelerator()
        words = ["console=ttyS0", "quiet", "panic=-1", "no_timer_check", "random.trust_cpu=on", f"weft.mac={mac}"]
        words += [f"weft.ip={ip}"] if ip else []
        words += [f"weft.mtu={mtu}"] if mtu else []
        chardev = f"socket,id=card,path={path}," + (
            "reconnect=1" if role == "server" else "server=on")
        # QEMU 7.2 loses MSI-X interrupts of vhost-user cards under TCG: one legacy interrupt there.
        vectors = ",vectors=0" if self.accelerator == "tcg" else ""
        if queues > 1:
            device = f"mq=on,{device}".rstrip(",")
        command = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,memory-backend=mem",
            "-accel", self.accelerator, "-smp", str(queues),
            "-m", memory, "-object", f"memory-backend-memfd,id=mem,size={memory.split(',')[0]},share=on",
            "-kernel", qemu_kernel().path, "-initrd", qemu_initramfs().path, "-append", " ".join(words),
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
            "-chardev", chardev, "-netdev", f"vhost-user,id=net,chardev=card,queues={queues}",
            "-device", f"virtio-net-pci,netdev=net,mac={mac},romfile={vectors}"
            + (f",{device}" if device else ""),
            *(["-incoming", incoming] if incoming else []), *options]
        self.child = Child(command, unprivileged=True, groups=kvm_group(),
                           pass_fds=(qemu_kernel().fd, qemu_initramfs().fd))
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.close()
                raise

    def qmp(self, command, **arguments):
        """Runs a command of QEMU's monitor; returns its answer."""
        if not self.qmp_socket:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(30)
            connection.connect(str(self.qmp_path))
            self.qmp_socket = connection.makefile("rw")
            connection.close()
            self._qmp_read("QMP")
            self.qmp("qmp_capabilities")
        self.qmp_socket.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_socket.flush()
        return self._qmp_read("return")

    def _qmp_read(self, key):
        while line := self.qmp_socket.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise GuestError(f"{self.name}: QEMU says: {answer['error']['desc']}")
            if key in answer:
                return answer[key]
        raise GuestError(f"{self.name}: QEMU closed its monitor")

    def reboot(self):
        """Restarts the guest's kernel; returns when it is up again."""
        position = len(self.child.output)
        self.start("reboot -f")
        self.wait_ready(position)

    def close(self):
        if self.qmp_socket:
            self.qmp_socket.close()
        super().close()


class UmlGuest(Guest):
    """User Mode Linux with one virtio card at a vhost-user socket where weftd listens."""

    def __init__(self, name, directory, path, mac, ip=None, memory="96M", mtu=None):
        super().__init__(name)
        words = [f"weft.mac={mac}"]
        words += [f"weft.ip={ip}"] if ip else []
        words += [f"weft.mtu={mtu}"] if mtu else []
        # The memory file has to be on a tmpfs to be shared with weftd.
        environment = dict(os.environ, TMPDIR="/dev/shm", HOME=str(directory))
        command = [
            UML, f"mem={memory}", f"initrd={uml_initramfs().path}", f"uml_dir={directory}/", f"umid={name}", "quiet",
            "con=null", "con0=fd:0,fd:1", "ssl=null", f"virtio_uml.device={path}:1", *words]
        # On a loaded host its first fork may fail, which panics its kernel: that says nothing about weftd.
        for spare_boots in (2, 1, 0):
            self.child = Child(command, unprivileged=True, env=environment, pass_fds=(uml_initramfs().fd,))
            try:
                self.wait_ready()
                return
            except BaseException:
                forkless = "can't fork" in self.child.output
                self.close()
                if not forkless or spare_boots == 0:
                    raise


class OpenFile:
    """A file handed to a guest as an open descriptor: the guest runs as somebody who may not be able to enter
    the directory where it lies. Open for as long as we run."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.path = f"/proc/self/fd/{self.fd}"


@functools.lru_cache(maxsize=None)
def qemu_kernel():
    return OpenFile(images.kernel())


@functools.lru_cache(maxsize=None)
def qemu_initramfs():
    return OpenFile(images.initramfs(images.kernel_modules(), QEMU_MODULES))


@functools.lru_cache(maxsize=None)
def uml_initramfs():
    return OpenFile(images.initramfs(images.uml_modules(), UML_MODULES))


@functools.lru_cache(maxsize=None)
def qemu_accelerator():
    """"kvm" where a guest boots with it in a short time; /dev/kvm alone says little in nested machines."""
    if accelerator := os.environ.get("WEFT_ACCELERATOR"):
        return accelerator
    if not os.path.exists("/dev/kvm"):
        return "tcg"
    probe = Child([
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", "kvm", "-m", "192M",
        "-kernel", qemu_kernel().path, "-initrd", qemu_initramfs().path, "-append", "console=ttyS0 quiet panic=-1",
        "-serial", "stdio", "-no-reboot"], unprivileged=True, groups=kvm_group(),
        pass_fds=(qemu_kernel().fd, qemu_initramfs().fd))
    try:
        probe.wait_for("\n#ready\n", 8)
        return "kvm"
    except Timeout:
        return "tcg"
    finally:
        probe.kill()


def guest_directory():
    """A new directory where unprivileged guests can make their sockets; the caller removes it. In memory where there
    is room: a disk that the builds of a test run keep busy may hold up whoever has a file on it for seconds."""
    memory = pathlib.Path("/dev/shm")
    roomy = memory.is_mount() and shutil.disk_usage(memory).free >= 1 << 30
    usable = roomy and not os.statvfs(memory).f_flag & os.ST_NOEXEC
    directory = pathlib.Path(tempfile.mkdtemp(prefix="weft-", dir=memory if usable else None))
    if os.geteuid() == 0:
        shutil.chown(directory, NOBODY, NOBODY)
    directory.chmod(0o755)
    return directory
