"""Programs in two network namespaces (cases tcp, taps and response of bench.py) that talk over two
taps of a switch, or over the kernel's bridge with a veth pair to each.

Everything is made for the run and removed after it: namespaces with names of our own, in which all
interfaces live, and the programs. Nothing leaves them. The one that begins runs on the guests' core,
the other there as well, or on the other core with the switch; the kernel's bridge, which works in
the sender's context, needs no core of its own."""

import json
import os
import shutil
import subprocess
import time

import contenders
from measure import judge, spawn

ADDRESSES = ("10.213.7.1", "10.213.7.2")


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise contenders.Failure(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def missing(case=None):
    """None when it can be measured here, else why not."""
    if os.geteuid() != 0:
        return "namespaces need root"
    for program in ("ip", "iperf3") if case and case.name == "tcp" else ("ip",):
        if not shutil.which(program):
            return f"{program} is not installed"
    return None


class Namespaces:
    """Two of them, a and b, and a third for the bridge between."""

    def __init__(self):
        self.names = [f"weft-bench-{name}-{os.getpid()}" for name in ("a", "b", "bridge")]
        self.made = []
        self.interfaces = {}

    def __enter__(self):
        try:
            for name in self.names:
                run("ip", "netns", "add", name)
                self.made.append(name)
        except contenders.Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def ip(self, index, *argv):
        run("ip", "-n", self.names[index], *argv)

    def address(self, index, interface):
        self.ip(index, "address", "add", ADDRESSES[index] + "/24", "dev", interface)
        self.ip(index, "link", "set", interface, "up")
        self.interfaces[index] = interface

    def link(self, index):
        """What the kernel knows of the interface of a or b."""
        return json.loads(run("ip", "-n", self.names[index], "-json", "-statistics", "link", "show",
                              self.interfaces[index]))[0]

    def start_unpaced(self):
        """Sockets begin with Reno: one that begins with BBR keeps its pacing under whatever it is
        given afterwards. Reno is the one that a namespace may always choose."""
        for index in (0, 1):
            run(*self.command(index, "sh", "-c",
                              "echo reno >/proc/sys/net/ipv4/tcp_congestion_control"))

    def command(self, index, *argv):
        return ["ip", "netns", "exec", self.names[index], *argv]


class KernelBridge(contenders.Contender):
    name = "bridge"
    title = "kernel bridge"
    setup = "two veth pairs and a bridge of the kernel, all in namespaces; cases tcp, "\
            "taps and response only"
    cases = {"tcp", "taps", "response"}

    def missing(self):
        return missing()

    def join(self, namespaces):
        namespaces.ip(2, "link", "add", "br0", "type", "bridge")
        namespaces.ip(2, "link", "set", "br0", "up")
        for index in (0, 1):
            namespaces.ip(2, "link", "add", f"port{index}", "type", "veth", "peer", "name", "eth0",
                          "netns", namespaces.names[index])
            namespaces.ip(2, "link", "set", f"port{index}", "master", "br0", "up")
            namespaces.address(index, "eth0")


class WeftTaps(contenders.Weft):
    def join(self, namespaces):
        names = [f"wb{os.getpid()}{letter}" for letter in "ab"]
        lines = ["networks:", "  lab: { mode: isolated }", "ports:"]
        lines += [f"  {letter}: {{ network: lab, tap: {name} }}"
                  for letter, name in zip("ab", names)]
        lines += [f"workers: {{ cpus: [{self.context.switch_core}], poll: adaptive }}",
                  f"api: {{ socket: {self.directory}/api }}"]
        path = os.path.join(self.directory, "weft.yaml")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        process = self.spawn([self.context.weftd, "-c", path], self.name)
        self.wait_for_sockets(process, [f"/sys/class/net/{name}" for name in names])
        for index, name in enumerate(names):
            run("ip", "link", "set", name, "netns", namespaces.names[index])
            namespaces.address(index, name)


def read_iperf(output, errors):
    """What a client's end says: a result, or None and why not."""
    result = json.loads(output)
    if "sum_received" not in result.get("end", {}):
        return None, result.get("error", "no result")
    return {"gbps": result["end"]["sum_received"]["bits_per_second"] / 1e9}, None


def read_respond(output, errors):
    return (json.loads(output), None) if output else (None, errors.strip())


def talk(context, namespaces, case, point, seconds):
    """Both programs of a case. The one that begins tries again until the other listens."""
    respond = context.program("bench-respond")
    server, client, read = {
        "tcp": (("iperf3", "-s", "-1", "-J"),
                ("iperf3", "-c", ADDRESSES[1], "-J", "-t", str(max(1, round(seconds)))),
                read_iperf),
        "response": ((respond,), (respond, ADDRESSES[1], str(seconds)), read_respond),
    }[case.name]

    def start(index, core, *argv):
        return spawn(context, ["taskset", "-c", str(core), *namespaces.command(index, *argv)])

    listener = start(1, context.guest_core if point.together else context.switch_core, *server)
    try:
        for _ in range(200):
            asker = start(0, context.guest_core, *client, *point.options)
            result, error = read(*asker.communicate(timeout=60))
            if result:
                return result
            if "refused" not in error:
                break
            time.sleep(0.01)
        raise contenders.Failure(f"{client[0]}: {error}")
    finally:
        listener.terminate()
        listener.communicate()


def flood(context, namespaces, case, point, seconds):
    """Frames of one size from a to b, whose kernel counts them. b's address has been learned before."""
    def send(index, core, to, duration):
        process = spawn(context, ["taskset", "-c", str(core), *namespaces.command(
            index, context.program("bench-flood"), namespaces.interfaces[index], to,
            *point.options, str(duration))])
        output, errors = process.communicate(timeout=60)
        if process.returncode != 0:
            raise contenders.Failure(f"bench-flood: {errors.strip()}")
        return json.loads(output)

    def received():
        return namespaces.link(1)["stats64"]["rx"]["packets"]

    send(1, context.guest_core, "ff:ff:ff:ff:ff:ff", 0)
    before = received()
    result = send(0, context.guest_core, namespaces.link(1)["address"], seconds)
    time.sleep(0.05)
    count = received() - before
    return {"sent": result["sent"], "lost": max(0, result["sent"] - count),
            "mpps": count / result["seconds"] / 1e6}


def measure(context, contender, directory, case, point, seconds):
    """One run: a dict like measure.measure()'s."""
    kind = WeftTaps if contender.name == "weft" else KernelBridge
    switch = kind(context)
    switch.directory = directory
    distance = context.distance()
    result = {"sent": 0, "lost": 0}
    try:
        with Namespaces() as namespaces:
            try:
                switch.join(namespaces)
                if "-C" in point.options:
                    namespaces.start_unpaced()
                run_case = flood if case.name == "taps" else talk
                result.update(run_case(context, namespaces, case, point, seconds))
            finally:
                switch.stop()
    except contenders.Failure as failure:
        result["error"] = str(failure)
    result.update(distance_before=distance, distance_after=context.distance(),
                  generator_waited=0.0, switch_waited=0.0)
    result["dropped"] = judge(result)
    return result
