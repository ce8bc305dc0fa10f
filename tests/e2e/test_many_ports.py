"""Two hundred ports: they come and go under traffic, and cost nothing when they are quiet."""

import os
import time

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
    """An idle weftd with 200 connected ports takes less than 1 % of a core."""
    names = [f"p{number}" for number in range(COUNT)]
    switch = lab.switch(lab.isolated(*names))
    for name in names:
        lab.frontend(name, size=16)
    wait_until(lambda: all(port["link"] == "up" for port in switch.show("ports")), what="all links")

    def ticks():
        """Processor time of weftd, all threads, in clock ticks (proc(5), fields 14 and 15)."""
        with open(f"/proc/{switch.child.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    # What is measured here is a window of real time.
    before = ticks()
    time.sleep(5)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK") / 5
    assert used < 0.01, f"{used:.1%} of a core"
