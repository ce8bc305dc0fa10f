"""Two workers translate at once: streams of both guests, both ways, spread over the workers by the queues of a tap, and
sessions that add up."""

import json

import pytest
from gateway_place import FAR, GUESTS, Place, config, guest_address, wait_value
from lab import needs_root

pytestmark = [needs_root, pytest.mark.sanitizer]
STREAMS = 8


@pytest.fixture
def place(lab):
    place = Place(lab)
    place.start(config(uplink={"tap": "up0", "queues": 2}, port=lambda name: {"tap": f"t{name}", "queues": 2},
                       top={"workers": {"count": 2}},
                       forward=[{"proto": "tcp", "listen": 5201, "to": f"{guest_address('b', 4)}:5201"},
                                {"proto": "tcp", "listen": 5201, "to": f"[{guest_address('b', 6)}]:5201"}]))
    place.plug()
    return place


def iperf_server(place, namespace):
    server = namespace.spawn("iperf3", "-s", "--forceflush")
    place.lab.stack.callback(server.kill)
    server.wait_for("listening", 20)


def iperf(namespace, to, *options):
    """16 MiB over all streams together; which has how much is their affair, and that of both directions."""
    output = json.loads(namespace.run("iperf3", "-c", to, "-J", "-P", STREAMS, "-n", "16M", *options))
    assert "error" not in output, output["error"]
    assert output["end"]["sum_sent"]["bytes"] >= (1 if "--bidir" in options else 16 << 20)
    assert output["end"]["sum_received"]["bytes"] > 0
    assert len(output["end"]["streams"]) == STREAMS * (2 if "--bidir" in options else 1)


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_streams(place, version, direction):
    iperf_server(place, place.far)
    options = {"up": [], "down": ["--reverse"], "both": ["--bidir"]}[direction]
    for name in GUESTS:
        iperf(place.guests[name], FAR[version], *options)
    rows = place.sessions(protocol="tcp")
    # The control connection of each run, and a session for each stream.
    expected = len(GUESTS) * (1 + STREAMS * (2 if direction == "both" else 1))
    assert len(rows) == expected, rows
    assert all(row["packets_out"] > 1 and row["packets_in"] > 0 for row in rows), rows
    assert len({(row["outside"]["port"], row["remote"]["port"]) for row in rows}) == expected
    nat = place.counters()["nat"]
    assert nat["created"] - nat["expired"] - nat["evicted"] == nat["sessions"]
    wait_value(lambda: {row["state"] for row in place.sessions(protocol="tcp")},
               lambda states: states <= {"closed", "reset"}, "closed sessions")
    assert all(worker["frames"] > 0 for worker in place.api.show("workers"))
    assert not {name for name in place.drops() if name.startswith(("nat_", "ip_", "chain_"))} - {"nat_tcp_state"}


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_streams_by_a_forward(place, version):
    iperf_server(place, place.guests["b"])
    to = {4: "10.255.0.2", 6: "fd00:ff::2"}[version]
    iperf(place.far, to)
    # And from the other guest, by the same address: hairpin.
    iperf(place.guests["a"], to)
    rows = place.sessions(protocol="tcp", guest=guest_address("b", version))
    assert sum(row["forward"] for row in rows) >= 1 + STREAMS
