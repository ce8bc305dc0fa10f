"""The switches that bench.py compares, each started by hand in a directory of its own.

A contender is started with a number of idle ports beside the two busy ones, listens on sockets in
its directory, and is stopped by the process ids we got for it. Peers are found on the machine; one
that is not there says why. Each has one forwarding thread on the core it is given."""

import json
import os
import shutil
import signal
import subprocess
import time


class Failure(Exception):
    """A contender did not come up; its text is shown to the user."""


def first_existing(paths):
    return next((path for path in paths if path and os.path.exists(path)), None)


class Hugepages:
    """Reserves hugepages for peers that need them, and gives back what it took."""

    PATH = "/proc/sys/vm/nr_hugepages"

    def __init__(self):
        self.before = None

    def reserve(self, count):
        """True when at least `count` are there."""
        try:
            with open(self.PATH) as file:
                now = int(file.read())
            if now >= count:
                return True
            with open(self.PATH, "w") as file:
                file.write(str(count))
            if self.before is None:
                self.before = now
            with open(self.PATH) as file:
                return int(file.read()) >= count
        except OSError:
            return False

    def release(self):
        if self.before is None:
            return
        try:
            with open(self.PATH, "w") as file:
                file.write(str(self.before))
        except OSError:
            pass
        self.before = None


class Contender:
    name = ""
    title = ""
    #: cases it takes part in; None: all
    cases = None
    #: words for the report on how it was started
    setup = ""
    #: whether it can sleep when it is idle
    adaptive = False

    def __init__(self, context):
        self.context = context
        self.processes = []
        self.log = None
        self.directory = None
        self.guests = 2

    def missing(self):
        """None when it can run here, else why not."""
        raise NotImplementedError

    def launch(self, point):
        """Starts it with ports a, b, ..., idle0, ... in self.directory, and waits for them."""
        raise NotImplementedError

    def start(self, directory, point):
        self.directory = directory
        self.guests = point.guests
        self.launch(point)

    def stages(self):
        """Cycles by stage since the start, where the contender counts them, and their frames."""
        return {}

    def table(self):
        """Statistics of the MAC table, where the contender has them."""
        return {}

    def names(self):
        return [chr(ord("a") + i) for i in range(self.guests)]

    def sockets(self):
        return [os.path.join(self.directory, name) for name in self.names()]

    def idle_prefix(self):
        return os.path.join(self.directory, "idle")

    def spawn(self, argv, name, env=None, stdin=subprocess.DEVNULL):
        self.log = os.path.join(self.directory, name + ".log")
        with open(self.log, "w") as log:
            process = subprocess.Popen(argv, stdin=stdin, stdout=log, stderr=subprocess.STDOUT,
                                       env=env, start_new_session=True)
        self.context.raise_priority(process.pid)
        self.processes.append(process)
        return process

    def wait_for_sockets(self, process, paths, seconds=30):
        deadline = time.monotonic() + seconds
        while not all(os.path.exists(path) for path in paths):
            if process.poll() is not None:
                raise Failure(f"{self.title} ended with status {process.returncode}: "
                              + self.last_words())
            if time.monotonic() > deadline:
                raise Failure(f"{self.title} opened no sockets in {seconds} s: "
                              + self.last_words())
            time.sleep(0.005)

    def last_words(self):
        with open(self.log, errors="replace") as log:
            return " ".join(log.read().split("\n")[-4:]).strip()

    def send_signal(self, number):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(number)

    def pause(self):
        """Stands still, without using its core, until resume() or stop()."""
        self.send_signal(signal.SIGSTOP)

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def stop(self):
        self.send_signal(signal.SIGTERM)
        self.resume()
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()
        self.processes = []

    def main_pid(self):
        return self.processes[-1].pid


class Limit(Contender):
    name = "limit"
    title = "limit"
    setup = "rings and one copy, no checks: the most a backend could reach with this generator"
    adaptive = True

    def missing(self):
        return None

    def launch(self, point):
        process = self.spawn([self.context.program("bench-limit"), str(self.context.switch_core),
                              point.poll, *self.sockets()], self.name)
        self.wait_for_sockets(process, self.sockets())

    def stages(self):
        """It prints them when it is asked to."""
        deadline = time.monotonic() + 2
        with open(self.log) as log:
            log.seek(0, os.SEEK_END)
            self.processes[-1].send_signal(signal.SIGUSR1)
            while time.monotonic() < deadline:
                answer = log.readline()
                if answer.startswith("{"):
                    return json.loads(answer)
                time.sleep(0.005)
        return {}


class Weft(Contender):
    name = "weft"
    title = "weft"
    setup = "isolated network with learning, one worker, busy polling, no hugepages"
    adaptive = True

    def missing(self):
        path = self.context.weftd
        return None if os.path.exists(path) else f"{path} was not built"

    def launch(self, point):
        directory = self.directory
        names = self.names() + [f"idle{i}" for i in range(point.idle)]
        cores = ", ".join([str(self.context.switch_core)]
                          + [str(self.context.guest_core)] * (point.workers - 1))
        lines = ["networks:", "  lab: { mode: isolated, macs: { limit: 131072, quota: 65536 } }",
                 "ports:"]
        lines += [f"  {name}: {{ network: lab, vhost-user: {directory}/{name}, "
                  f"queues: {point.queues} }}" for name in names]
        lines += [f"workers: {{ cpus: [{cores}], poll: {point.poll} }}",
                  f"api: {{ socket: {directory}/api }}"]
        path = os.path.join(directory, "weft.yaml")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        env = dict(os.environ, XDG_RUNTIME_DIR=directory)
        process = self.spawn([self.context.weftd, "-c", path], self.name, env=env)
        self.wait_for_sockets(process, [f"{directory}/{name}" for name in names])

    def show(self, what):
        """The first object of a list, or nothing."""
        socket = os.path.join(self.directory, "api")
        shown = subprocess.run([os.path.join(self.context.build, "weft"), "--socket", socket,
                                "show", what, "--json"], capture_output=True, text=True)
        return json.loads(shown.stdout)[0] if shown.returncode == 0 else {}

    def stages(self):
        return self.show("workers").get("cycles", {})

    def table(self):
        return self.show("networks").get("macs", {})


class Testpmd(Contender):
    name = "testpmd"
    title = "testpmd io"
    setup = "DPDK net_vhost, io forwarding: no switching at all"
    cases = {"l2", "flows", "latency", "startup", "macs", "packed"}

    def program(self):
        return shutil.which("dpdk-testpmd")

    def missing(self):
        return None if self.program() else "dpdk-testpmd is not installed (package dpdk-dev)"

    def launch(self, point):
        memory = ["--in-memory"] if self.context.hugepages.reserve(640) else \
            ["--no-huge", "-m", "1024"]
        a, b = self.sockets()
        process = self.spawn(
            [self.program(), *memory, "--no-pci", "--no-shconf", "--file-prefix=weft-bench",
             "--no-telemetry", "-l", f"{self.context.guest_core},{self.context.switch_core}",
             f"--main-lcore={self.context.guest_core}",
             f"--vdev=net_vhost0,iface={a}", f"--vdev=net_vhost1,iface={b}", "--",
             "-i", "--forward-mode=io", "--auto-start", "--nb-cores=1", "--rxd=1024",
             "--txd=1024", "--total-num-mbufs=16384"], self.name, stdin=subprocess.PIPE)
        self.wait_for_sockets(process, self.sockets())


class OpenVswitch(Contender):
    name = "ovs"
    title = "OVS-DPDK NORMAL"
    setup = "userspace datapath, action NORMAL, one PMD thread, hugepages"
    cases = {"l2", "flows", "macs", "latency", "startup", "guests", "neighbours"}

    SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
    VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
    DEVICES = "/sys/class/net"

    #: devices that were there without it
    before = frozenset()

    def missing(self):
        if not os.path.exists(self.VSWITCHD) or not shutil.which("ovsdb-tool"):
            return "OVS-DPDK is not installed (package openvswitch-switch-dpdk)"
        if not self.context.hugepages.reserve(640):
            return "OVS-DPDK needs 640 hugepages, and root or somebody else to reserve them"
        return None

    def launch(self, point):
        directory = self.directory
        self.before = frozenset(os.listdir(self.DEVICES))
        self.context.hugepages.reserve(640)
        env = dict(os.environ, OVS_RUNDIR=directory, OVS_LOGDIR=directory, OVS_DBDIR=directory)
        database = os.path.join(directory, "conf.db")
        socket = os.path.join(directory, "db.sock")
        subprocess.run(["ovsdb-tool", "create", database, self.SCHEMA], check=True, env=env)
        process = self.spawn(["ovsdb-server", database, f"--remote=punix:{socket}",
                              f"--unixctl={directory}/db.ctl"], "ovsdb", env=env)
        self.wait_for_sockets(process, [socket])

        def vsctl(*arguments):
            subprocess.run(["ovs-vsctl", f"--db=unix:{socket}", "--timeout=30", *arguments],
                           check=True, env=env, stdout=subprocess.DEVNULL)

        vsctl("--no-wait", "init")
        vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
              "other_config:dpdk-extra=--no-pci --no-shconf --no-telemetry",
              f"other_config:pmd-cpu-mask={1 << self.context.switch_core:#x}",
              f"other_config:dpdk-lcore-mask={1 << self.context.guest_core:#x}")
        vsctl("--no-wait", "add-br", "br0", "--", "set", "bridge", "br0",
              "datapath_type=netdev", "other_config:mac-table-size=131072",
              *[word for name in self.names() for word in
                ("--", "add-port", "br0", name, "--", "set", "interface", name,
                 "type=dpdkvhostuser")])
        process = self.spawn([self.VSWITCHD, f"unix:{socket}", f"--unixctl={directory}/vs.ctl"],
                             self.name, env=env)
        self.wait_for_sockets(process, self.sockets())

    def stop(self):
        super().stop()
        # Its tap devices outlive it.
        for device in sorted(set(os.listdir(self.DEVICES)) & {"br0", "ovs-netdev"} - self.before):
            subprocess.run(["ip", "link", "del", device], check=False)


class Vpp(Contender):
    name = "vpp"
    title = "VPP L2 bridge"
    setup = "a bridge domain with learning, one worker; only where --vpp names the program"
    cases = {"l2", "flows", "macs", "latency"}

    def missing(self):
        if not self.context.vpp:
            return "no --vpp PROGRAM"
        if not os.access(self.context.vpp, os.X_OK):
            return f"{self.context.vpp} cannot be run"
        if not self.context.hugepages.reserve(640):
            return "VPP needs hugepages, and root or somebody else to reserve them"
        return None

    def launch(self, point):
        directory = self.directory
        self.context.hugepages.reserve(640)
        commands = os.path.join(directory, "commands")
        with open(commands, "w") as file:
            for number, socket in enumerate(self.sockets()):
                interface = f"VirtualEthernet0/0/{number}"
                file.write(f"create vhost-user socket {socket} server\n"
                           f"set interface state {interface} up\n"
                           f"set interface l2 bridge {interface} 1\n")
        process = self.spawn(
            [self.context.vpp, "unix", "{", "nodaemon", "startup-config", commands,
             "cli-listen", f"{directory}/cli", "runtime-dir", directory,
             # Its main thread, which is on the guests' core, sleeps between looks.
             "poll-sleep-usec", "10000", "}",
             "api-segment", "{", "prefix", f"weft-bench-{os.getpid()}", "}",
             "cpu", "{", "main-core", str(self.context.guest_core), "corelist-workers",
             str(self.context.switch_core), "}",
             "plugins", "{", "plugin", "dpdk_plugin.so", "{", "disable", "}", "}"], self.name)
        self.wait_for_sockets(process, self.sockets())


class MemoryCopy(Contender):
    """No switch, and nothing to start: what bench-copy measures."""
    name = "memcpy"
    title = "memcpy"
    setup = "the C library's memcpy on the switch's core; case gso only"
    cases = {"gso"}

    def missing(self):
        return None


ALL = [Limit, Weft, Testpmd, OpenVswitch, Vpp, MemoryCopy]
