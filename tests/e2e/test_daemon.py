"""weftd and weft as programs: configurations refused, sockets in use, exit codes, apply, taps."""

import json
import os
import pathlib
import re
import socket
import subprocess

import pytest
from flood import UDP, ethernet, ipv4, udp
from lab import mac, needs_root
from process import NOBODY, wait_until
from stream import Stream
from switch import ROOT, WeftError, executable

BAD = sorted((ROOT / "tests/data/bad").glob("*.yaml"))
GOOD = sorted((ROOT / "tests/data/good").glob("*.yaml"))


def run(program, *arguments, **options):
    return subprocess.run([executable(program), *map(str, arguments)], text=True, capture_output=True, timeout=60,
                          **options)


def refused(lab, config, **options):
    """Starts a weftd that has to refuse; returns what it said."""
    switch = lab.switch(config, start=False, **options)
    switch.start(wait=False)
    child, switch.child = switch.child, None
    try:
        assert child.wait(60) == 1, child.output
    finally:
        child.kill()
    switch.check_output(child)
    return child.output


def test_there_are_configurations_to_check():
    assert len(BAD) > 10 and GOOD


@pytest.mark.sanitizer
@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_bad_configuration_is_refused(path):
    """With file, line and what is wrong, by weft check, weftd --check and weftd."""
    for program, arguments in (("weft", ["check", path]), ("weftd", ["--check", path]), ("weftd", ["-c", path])):
        done = run(program, *arguments)
        assert done.returncode == 1, (program, done.stdout, done.stderr)
        assert re.search(rf"{re.escape(str(path))}:\d+: .", done.stderr), done.stderr


@pytest.mark.parametrize("path", GOOD, ids=[path.stem for path in GOOD])
def test_good_configuration_passes(path):
    done = run("weftd", "--check", path)
    # Interfaces are looked for on this machine, which need not have them.
    missing = re.compile(r".*uplink\.interface: interface '\w+' is not there; allowed: one of this host")
    others = [line for line in done.stderr.splitlines() if not missing.fullmatch(line)]
    assert not others and (done.returncode == 0) == (not done.stderr), done.stderr


@pytest.mark.sanitizer
@pytest.mark.parametrize("arguments, status", [
    (["show", "ports"], 0), (["show", "networks"], 0), (["show", "macs", "--json"], 0), (["show", "drops"], 0),
    (["show", "workers"], 0), (["qemu-args", "one"], 0),
    (["port", "del", "nobody"], 1), (["network", "del", "nothing"], 1), (["qemu-args", "nobody"], 1),
    (["network", "add", "lab", "--mode", "isolated"], 1), (["port", "add", "x", "--network", "lab", "--fish", "1"], 1),
    (["network", "del", "lab"], 1), (["apply", "/nonexistent"], 1),
    ([], 2), (["fish"], 2), (["show"], 2), (["show", "fish"], 2), (["port", "add"], 2), (["--fish"], 2)])
def test_exit_status(lab, arguments, status):
    switch = lab.switch(lab.isolated("one"))
    before = switch.show("ports"), switch.show("networks")
    try:
        switch.weft(*arguments)
        got = 0
    except WeftError as error:
        got = error.status
        assert error.text.strip()
    assert got == status
    if status:
        assert (switch.show("ports"), switch.show("networks")) == before


def test_no_daemon(lab):
    done = run("weft", "--socket", lab.directory / "none.sock", "show", "ports")
    assert done.returncode == 1 and "none.sock" in done.stderr


def test_wrong_usage_of_weftd():
    for arguments in (["--fish"], ["extra"], ["--check"], ["--log-level", "fish"]):
        assert run("weftd", *arguments).returncode == 2, arguments


@pytest.mark.sanitizer
def test_second_weftd_is_refused(lab):
    switch = lab.switch(lab.isolated("one", "two"))
    with Stream(lab.frontend("one"), lab.frontend("two")):
        assert str(switch.api) in refused(lab, switch.file.read_text())
        assert switch.show("ports")


@pytest.mark.sanitizer
def test_sockets_in_use(lab):
    """A live socket or a plain file is left alone; a stale socket is replaced."""
    path = lab.socket("one")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        assert re.search(rf":\d+: ports\.one\.vhost-user: .*{re.escape(path)}", refused(lab, lab.isolated("one")))
    # Nobody listens there now.
    os.chown(path, NOBODY, NOBODY) if os.geteuid() == 0 else None
    switch = lab.switch(lab.isolated("one"))
    lab.frontend("one").close()
    switch.stop()
    assert not os.path.exists(path)
    pathlib.Path(path).write_text("precious")
    assert path in refused(lab, lab.isolated("one"))
    assert re.search(rf"yaml:\d+: ports\.one\.vhost-user: {re.escape(path)} exists and is no socket\n",
                     run("weft", "check", switch.file).stderr)
    assert pathlib.Path(path).read_text() == "precious"


def test_weftd_has_no_privileges(lab):
    """It runs as an ordinary user, without capabilities and hugepages, and its API socket is 0660."""
    switch = lab.switch(lab.isolated("one"))
    status = pathlib.Path(f"/proc/{switch.child.pid}/status").read_text()
    assert int(re.search(r"CapEff:\s+(\w+)", status).group(1), 16) == 0
    assert 0 not in map(int, re.search(r"Uid:\s+(.*)", status).group(1).split())
    assert re.search(r"HugetlbPages:\s+0 kB", status)
    assert switch.api.stat().st_mode & 0o777 == 0o660


@pytest.mark.sanitizer
def test_clean_end_leaves_nothing(lab):
    """SIGTERM: status 0 (stop() sees to it), sockets are gone, the guest has its rings back."""
    switch = lab.switch(lab.isolated("one"))
    frontend = lab.frontend("one")
    switch.stop()
    frontend.wait_closed()
    assert not list(lab.directory.glob("*.sock"))


@pytest.mark.sanitizer
def test_apply_touches_only_what_differs(lab):
    config = lab.isolated("one", "two", "old")
    switch = lab.switch(config)
    old = lab.frontend("old")
    with Stream(lab.frontend("one"), lab.frontend("two")) as stream:
        del config["ports"]["old"]
        config["ports"]["new"] = {"network": "more", "vhost-user": lab.socket("new")}
        config["networks"]["more"] = {"mode": "isolated"}
        switch.write_config(config)
        difference = switch.weft("diff", switch.file)
        assert "old" in difference and "new" in difference and "one" not in difference
        assert {port["name"] for port in switch.show("ports")} == {"one", "two", "old"}, "diff changes nothing"
        switch.weft("apply", switch.file)
        assert {port["name"] for port in switch.show("ports")} == {"one", "two", "new"}
        old.wait_closed()
        stream.wait_progress(20)
        assert switch.weft("diff", switch.file).strip() == ""
        assert all(switch.port(name)["connects"] == 1 for name in ("one", "two"))


@pytest.mark.sanitizer
def test_a_refused_change_changes_nothing(lab):
    """apply of a file whose last port cannot be opened leaves the first ones as they were."""
    config = lab.isolated("one", "two")
    switch = lab.switch(config)
    with Stream(lab.frontend("one"), lab.frontend("two")) as stream:
        config["ports"]["three"] = {"network": "lab", "vhost-user": lab.socket("three")}
        config["ports"]["bad"] = {"network": "lab", "vhost-user": "/nonexistent/directory/bad.sock"}
        switch.write_config(config)
        with pytest.raises(WeftError) as error:
            switch.weft("apply", switch.file)
        assert error.value.status == 1 and "bad" in error.value.text
        assert {port["name"] for port in switch.show("ports")} == {"one", "two"}
        stream.wait_progress(20)


def test_qemu_args_work(lab):
    """What weft qemu-args says names the port's socket and MAC."""
    config = lab.isolated("one")
    config["ports"]["one"]["mac"] = mac(5)
    switch = lab.switch(config)
    text = switch.weft("qemu-args", "one")
    assert lab.socket("one") in text and mac(5) in text and "vhost-user" in text and "share=on" in text


@needs_root
@pytest.mark.sanitizer
def test_tap_queues_are_passed(lab):
    """Open files of a tap in a namespace weftd is not in, one for each queue: flows pass by all of them, both ways."""
    namespace = lab.namespace()
    switch = lab.switch(lab.isolated("guest", workers={"count": 2}))
    guest = lab.frontend("guest", size=256)
    files = [namespace.tap_queue(name) for name in ("mq0", "mq0", "other", "other")]
    for file in files:
        lab.stack.callback(os.close, file)
    namespace.set_up("mq0")

    def add(*passed, **settings):
        options = [f"--{key}={value}" for key, value in settings.items()]
        switch.weft("port", "add", "t", "--network", "lab", *(f"--tap-fd={file}" for file in passed), *options,
                    pass_fds=passed)

    with pytest.raises(WeftError, match=r"descriptor 3 of those passed \(--tap-fd\): is of 'other', those .* 'mq0'"):
        add(*files[:3])
    with pytest.raises(WeftError, match=r"queues: each file given is one; allowed: 2"):
        add(*files[:2], queues=3)
    add(*files[:2], queues=2)
    port = switch.port("t")
    assert port["link"] == "up" and port["interface"] == "mq0"
    assert sum(worker["queues"] for worker in switch.show("workers")) == 3  # one is the guest's

    def flows(source, destination):
        """Frames of flows enough that each queue has some."""
        return {ethernet(source, destination, 0x0800, ipv4("10.9.0.1", "10.9.0.2", UDP, udp(port, 7, bytes(20))))
                for port in range(1000, 1064)}

    wire = namespace.raw_socket("mq0")
    lab.stack.callback(wire.close)
    for frames, send, receive in ((flows(mac(1), mac(2)), wire.send, guest.receive),
                                  (flows(mac(2), mac(1)), guest.send, wire.receive)):
        for frame in frames:
            send(frame)
        while frames:
            frames.discard(receive()[1])
    switch.weft("port", "del", "t")


@needs_root
@pytest.mark.sanitizer
def test_taps(lab):
    """A tap of ours goes with the port; one that exists is refused, or attached to where that is asked for."""
    namespace = lab.namespace()
    namespace.run("ip", "tuntap", "add", "dev", "theirs", "mode", "tap", "vnet_hdr")
    config = {"networks": {"lab": {"mode": "bridge", "uplink": {"tap": "up0"}}},
              "ports": {"t0": {"network": "lab", "tap": "t0"}}}
    switch = lab.tap_switch(config, namespace)
    names = {link["ifname"] for link in json.loads(namespace.run("ip", "-j", "link"))}
    assert {"t0", "up0", "theirs"} <= names
    with pytest.raises(WeftError) as error:
        switch.weft("port", "add", "t1", "--network", "lab", "--tap", "theirs")
    assert "theirs" in error.value.text
    switch.weft("port", "add", "t1", "--network", "lab", "--tap", "{name: theirs, existing: true}")
    switch.weft("port", "del", "t1")
    switch.weft("port", "del", "t0")
    wait_until(lambda: {"theirs", "up0", "lo"} == {
        link["ifname"] for link in json.loads(namespace.run("ip", "-j", "link"))}, what="only taps of others")
    switch.stop()
    assert {"theirs", "lo"} == {link["ifname"] for link in json.loads(namespace.run("ip", "-j", "link"))}


def test_tap_without_rights_is_refused(lab):
    config = {"networks": {"lab": {"mode": "isolated"}}, "ports": {"t0": {"network": "lab", "tap": "t0"}}}
    text = refused(lab, config)
    assert re.search(r":\d+: ports\.t0\.tap: .*CAP_NET_ADMIN", text), text


def test_service_manager_is_told(tmp_path):
    """READY=1 once all is open, STOPPING=1 at the end (sd_notify)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        config = tmp_path / "c.yaml"
        config.write_text(f"api: {{ socket: {tmp_path}/api }}\n")
        with subprocess.Popen([executable("weftd"), "-c", config],
                              env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}) as weftd:
            try:
                assert manager.recv(100) == b"READY=1"
                assert (tmp_path / "api").is_socket()
                weftd.terminate()
                assert manager.recv(100) == b"STOPPING=1"
                assert weftd.wait(20) == 0
            finally:
                weftd.kill()
