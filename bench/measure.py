"""One measurement: the generator against a running contender, and whether it may count.

The distance of the two cores is taken before and after, since virtual cores move on the host and
all figures move with them; and the time that generator and contender waited for their cores, since
other work on the machine takes its share."""

import json
import os
import subprocess
import time

DISTANCE_MOVED = 1.3   # ratio of the distances before and after
WAITED_AT_MOST = 0.03  # share of the run in which a thread was ready and did not run


class Context:
    """The machine and the build: cores, programs, hugepages, priority."""

    def __init__(self, build, guest_core, switch_core, hugepages, priority):
        self.build = build
        self.guest_core = guest_core
        self.switch_core = switch_core
        self.hugepages = hugepages
        self.priority = priority
        self.weftd = os.path.join(build, "weftd")
        self.vpp = None
        #: nanoseconds; runs wait until the cores are no farther apart, None: they do not
        self.within = None

    def program(self, name):
        return os.path.join(self.build, "bench", name)

    def raise_priority(self, pid):
        """A session of its own has an autogroup of its own, which is what nice means there."""
        if self.priority == 0:
            return
        try:
            os.setpriority(os.PRIO_PROCESS, pid, self.priority)
            with open(f"/proc/{pid}/autogroup", "w") as file:
                file.write(str(self.priority))
        except OSError:
            pass

    def distance(self):
        """Nanoseconds a cache line takes from one core to the other and back."""
        process = spawn(self, [self.program("bench-distance"), str(self.guest_core),
                               str(self.switch_core)])
        return float(process.communicate(timeout=60)[0])

    def wait_for_cores(self):
        """Until the host has put the cores as near to each other as was asked for."""
        told = False
        while self.within is not None and (distance := self.distance()) > self.within:
            if not told:
                print(f"cores {distance:.0f} ns apart: waiting", flush=True)
            told = True
            time.sleep(1)


def thread_waits(pid):
    """For each thread: seconds on a core, seconds waiting for one."""
    waits = {}
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
                ran, waited, _ = file.read().split()
            waits[tid] = (int(ran) / 1e9, int(waited) / 1e9)
    except OSError:
        pass
    return waits


def busiest(before, after, seconds):
    """Share of `seconds` the busiest thread ran and waited."""
    ran, waited = 0.0, 0.0
    for tid, (now_ran, now_waited) in after.items():
        was_ran, was_waited = before.get(tid, (0.0, 0.0))
        if now_ran - was_ran > ran:
            ran, waited = now_ran - was_ran, now_waited - was_waited
    return ran / seconds, waited / seconds


#: the name of the file that is the generator's guests' memory
GUEST_MEMORY = "/memfd:fake-guest"


def resident_kib(pid):
    """All memory of a process but what the guests lend it; its page tables are its own."""
    total, guests = 0, False
    try:
        with open(f"/proc/{pid}/smaps") as file:
            for line in file:
                name, *words = line.split()
                if not name.endswith(":"):
                    guests = GUEST_MEMORY in line
                elif name == "Rss:" and not guests:
                    total += int(words[0])
        with open(f"/proc/{pid}/status") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("VmPTE:"))
    except OSError:
        pass
    return total


def generator_command(context, contender, point, timing):
    argv = [context.program("bench-generator"), "--core", str(context.guest_core), "--timeout",
            "20", *timing]
    if contender.processes:
        argv += ["--watch", str(contender.main_pid())]
    for socket in contender.sockets():
        argv += ["--socket", socket]
    if point.idle:
        argv += ["--idle", contender.idle_prefix(), "--idle-count", str(point.idle)]
    return argv + list(point.options)


def spawn(context, argv):
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    context.raise_priority(process.pid)
    return process


def finish(process):
    output, errors = process.communicate(timeout=120)
    if process.returncode != 0:
        return {"error": errors.strip() or f"status {process.returncode}"}
    return json.loads(output)


def faults(result):
    """What a switch must never do to a frame; loss is no fault, a full ring drops."""
    names = [name for name in ("corrupted", "duplicates", "reordered") if result.get(name)]
    return names + (["broken ring"] if result.get("broken") else [])


def judge(result):
    """Why a measurement may not count, or None."""
    if "error" in result:
        return result["error"]
    near, far = sorted((result["distance_before"], result["distance_after"]))
    if far > near * DISTANCE_MOVED:
        return f"the cores moved: {near:.0f} to {far:.0f} ns"
    if result["generator_waited"] > WAITED_AT_MOST:
        return f"the generator waited {100 * result['generator_waited']:.0f} % for its core"
    if result["switch_waited"] > WAITED_AT_MOST:
        return f"the switch waited {100 * result['switch_waited']:.0f} % for its core"
    return None


def measure(context, contender, point, timing):
    """Runs the generator once. A dict: its result, and what was seen around it."""
    distance_before = context.distance()
    stages = contender.stages()
    before = thread_waits(contender.main_pid())
    started = time.monotonic()
    process = spawn(context, generator_command(context, contender, point, timing))
    result = finish(process)
    seconds = time.monotonic() - started
    after = thread_waits(contender.main_pid())
    stages_after = contender.stages()
    ran, waited = busiest(before, after, seconds)
    result.update(distance_before=distance_before, distance_after=context.distance(),
                  switch_ran=ran, switch_waited=waited,
                  resident_kib=resident_kib(contender.main_pid()))
    frames = stages_after.get("frames", 0) - stages.get("frames", 0)
    if frames > 0:
        result["stages"] = {name: (stages_after[name] - stages[name]) / frames
                            for name in stages if name != "frames"}
    table = contender.table()
    if table:
        result["table"] = table
    result["generator_waited"] = max(0.0, 1 - result.get("generator", {}).get("on_core", 1))
    result["dropped"] = judge(result)
    return result


def measure_copy(context, point, seconds):
    """memcpy alone: a dict like measure()'s."""
    distance_before = context.distance()
    size = point.options[point.options.index("--size") + 1]
    result = finish(spawn(context, [context.program("bench-copy"), str(context.guest_core),
                                    str(context.switch_core), size, str(seconds)]))
    result.update(distance_before=distance_before, distance_after=context.distance(),
                  generator_waited=0.0, switch_waited=0.0, sent=0, lost=0)
    result["dropped"] = judge(result)
    return result


def measure_start(context, contender, directory, point, timing):
    """The generator waits for the sockets, then the contender starts."""
    contender.directory = directory
    process = spawn(context, generator_command(context, contender, point, timing))
    time.sleep(0.3)
    distance = context.distance()
    started = time.monotonic_ns()
    contender.start(directory, point)
    result = finish(process)
    result.update(distance_before=distance, distance_after=context.distance(),
                  generator_waited=0.0, switch_waited=0.0,
                  resident_kib=resident_kib(contender.main_pid()))
    if "first_frame_ns" in result:
        result["startup_ms"] = (result["first_frame_ns"] - started) / 1e6
    result["dropped"] = judge(result)
    return result
