"""Two hundred ports: they come and go under traffic, and cost nothing when they are quiet."""

import os

import pytest
from process import wait_until
from stream import Stream

COUNT = 200


def test_ports_come_and_go_under_traffic(lab):
    """Each new port is connected to, hears the broadcasts, and is removed; the stream of others loses nothing."""
    switch = lab.switch(lab.isolated("one", "two"))
    first, second = lab.frontend("one"), lab.frontend("two")
    descriptors = f"/proc/{switch.child.pid}/fd"
    before = len(os.listdir(descriptors))
    with Stream(first, second) as stream:
        frontends = {}
        for number in range(COUNT):
            name = f"p{number}"
            switch.weft("port", "add", name, "--network", "lab", "--vhost-user", lab.socket(name))
            frontends[name] = lab.frontend(name, size=16)
        assert frontends["p0"].receive() and frontends[f"p{COUNT - 1}"].receive()
        stream.wait_progress(100)
        ports = switch.show("ports")
        assert len(ports) == COUNT + 2 and all(port["link"] == "up" for port in ports)
        for name, frontend in frontends.items():
            switch.weft("port", "del", name)
            frontend.wait_closed()
            frontend.close()
            assert not os.path.exists(lab.socket(name))
        stream.wait_progress(100)
    assert [port["name"] for port in switch.show("ports")] == ["one", "two"]
    wait_until(lambda: len(os.listdir(descriptors)) <= before, what=f"{before} open files as before")


@pytest.mark.sanitizer
def test_networks_and_ports_come_and_go(lab):
    """A few rounds of whole networks, for the sanitizers."""
    switch = lab.switch(lab.isolated("one", "two"))
    with Stream(lab.frontend("one"), lab.frontend("two")) as stream:
        for _ in range(5):
            switch.weft("network", "add", "other", "--mode", "isolated")
            names = [f"q{number}" for number in range(5)]
            for name in names:
                switch.weft("port", "add", name, "--network", "other", "--vhost-user", lab.socket(name))
            with Stream(lab.frontend("q0"), lab.frontend("q1")) as inner:
                inner.wait_progress(50)
            stream.wait_progress(20)
            for name in names:
                switch.weft("port", "del", name)
            switch.weft("network", "del", "other")


def test_idle_costs_nothing(lab):
    """An idle weftd with 200 connected ports takes less than 1 % of a core, and no worker wakes."""
    names = [f"p{number}" for number in range(COUNT)]
    switch = lab.switch(lab.isolated(*names))
    for name in names:
        lab.frontend(name, size=16)
    wait_until(lambda: all(port["link"] == "up" for port in switch.show("ports")), what="all links")
    process = f"/proc/{switch.child.pid}"

    def threads(file):
        """What proc(5) has in that file, thread by thread."""
        for thread in os.listdir(f"{process}/task"):
            with open(f"{process}/task/{thread}/{file}", encoding="ascii") as content:
                yield content.read()

    def processor_time():
        """Of all threads, in seconds."""
        return sum(int(text.split()[0]) for text in threads("schedstat")) / 1e9

    def is_asleep():
        return all("(sleeping)" in text for text in threads("status") if "weft-worker" in text)

    def control_wakes():
        with open(f"{process}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))

    wait_until(is_asleep, what="a worker asleep")
    before, used, wakes = switch.show("workers")[0], processor_time(), control_wakes()
    # Control looks after its tables now and then; the test waits until it has done so five times, for nothing else.
    wait_until(lambda: control_wakes() >= wakes + 5, 60, "control's own wakes", 0.2)
    used = processor_time() - used
    after = switch.show("workers")[0]
    for key in ("polls", "sleeps", "wakes"):
        assert after[key] == before[key], key
    share = used / ((after["clock"] - before["clock"]) / after["clock_hz"])
    assert share < 0.01, f"{share:.1%} of a core"
