"""A tap as an uplink that somebody deletes: weft makes it again, and the network goes on."""

import pytest
from frames import plain
from lab import mac, needs_root

pytestmark = needs_root


@pytest.mark.sanitizer
def test_comes_back(lab):
    host = lab.namespace()
    switch = lab.tap_switch({"networks": {"lab": {"mode": "bridge", "uplink": {"tap": "weft0"}}},
                             "ports": {"guest": {"network": "lab", "vhost-user": lab.socket("guest")}}}, host)
    guest = lab.frontend("guest")
    host.run("ip", "link", "del", "weft0")
    switch.child.wait_for(lambda text: "interface weft0 is back" in text, 60, what="the tap's return")
    assert switch.port("lab.uplink")["link"] == "up"
    wire = host.raw_socket("weft0")
    lab.stack.callback(wire.close)
    guest.send(plain(mac(1), mac(2), b"again"))
    wire.receive_matching(lambda frame: b"again" in frame)
    wire.send(plain(mac(2), mac(1), b"and back"))
    guest.receive_matching(lambda frame: b"and back" in frame)
