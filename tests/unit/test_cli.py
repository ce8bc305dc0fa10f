#!/usr/bin/python3
"""The command weft against a server that answers what a test wants: requests, tables, exit status.

Called by meson: test_cli.py WEFT DATA.
"""
import array
import fcntl
import json
import os
import pty
import socket
import subprocess
import sys
import struct
import tempfile
import termios
import threading
import unittest

WEFT, DATA = sys.argv[1:3]
del sys.argv[1:3]


class Server:
    """Takes one request, keeps it and the descriptors that came with it, and sends an answer."""

    def __init__(self, path, answer):
        self.request = None
        self.fds = []
        self.answer = answer
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        client, _ = self.socket.accept()
        text = b""
        while not text.endswith(b"\n"):
            data, control, _, _ = client.recvmsg(65536, socket.CMSG_SPACE(256))
            if not data:
                break
            text += data
            for _, _, payload in control:
                fds = array.array("i")
                fds.frombytes(payload)
                self.fds += fds
        if text:
            self.request = json.loads(text)
            client.sendall(self.answer)
        client.close()

    def close(self):
        if self.thread.is_alive():  # nobody came: let accept() return
            end = socket.socket(socket.AF_UNIX)
            end.connect(self.socket.getsockname())
            end.close()
        self.thread.join()
        self.socket.close()


class Showing:
    """Answers `show` as long as it is asked: the Nth answer to `what` is show(what, N)."""

    def __init__(self, path, show):
        self.show = show
        self.asked = {}
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            client, _ = self.socket.accept()
            with client, client.makefile("rw") as stream:
                line = stream.readline()
                if not line:
                    return
                what = json.loads(line)["params"]["what"]
                self.asked[what] = self.asked.get(what, 0) + 1
                stream.write(json.dumps({"result": self.show(what, self.asked[what])}) + "\n")

    def close(self):
        end = socket.socket(socket.AF_UNIX)
        end.connect(self.socket.getsockname())
        end.close()
        self.thread.join()
        self.socket.close()


def counters(what, n):
    """Twenty ports and a worker; from one answer to the next two seconds pass on weftd's clock."""
    if what == "workers":
        return [{"id": 0, "cpu": None, "clock": 5000 + 2000 * n, "clock_hz": 1000,
                 "busy_cycles": 500 * n, "bursts": 10 * n, "frames": 640 * n, "sleeps": 4 * n,
                 "wakes": 0, "cycles": {"frames": 64 * (n - 1), "receive": 640 * n, "bridge": 64 * n, "gateway": 0,
                                        "transmit": 1280 * n, "done": 0}}]
    return [{"name": f"p{i}", "network": "lab", "link": "up",
             "receive": {"packets": 200 * i * n, "bytes": 1000 * i * n, "drops": 6 * n},
             "transmit": {"packets": 2 * n, "bytes": 1, "drops": 0}} for i in range(20)]


class Weft(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "s")

    def tearDown(self):
        self.directory.cleanup()

    def run_weft(self, *args, **more):
        more.setdefault("env", {**os.environ, "WEFT_SOCKET": self.path})
        return subprocess.run([WEFT, *args], capture_output=True, text=True, **more)

    def ask(self, *args, result=None, answer=None, **more):
        """Runs weft against a server; returns what it did, and the server."""
        if answer is None:
            answer = json.dumps({"result": {} if result is None else result}).encode() + b"\n"
        server = Server(self.path, answer)
        try:
            done = self.run_weft(*args, **more)
        finally:
            server.close()
            os.unlink(self.path)
        return done, server

    def test_wrong_usage_is_2_and_says_how(self):
        for args in ([], ["frob"], ["port"], ["port", "frob"], ["show"], ["show", "cats"],
                     ["show", "workers", "x"], ["show", "ports", "--all"], ["show", "ports", "-x"],
                     ["show", "ports", "a", "b"], ["apply"], ["apply", "a", "b"], ["check"],
                     ["port", "add"], ["port", "add", "--vlan", "1"], ["port", "add", "p", "x"],
                     ["port", "add", "p", "--vlan"], ["port", "add", "p", "--tap-fd", "x"],
                     ["port", "add", "p", "---x", "y"], ["port", "del"], ["port", "del", "a", "b"],
                     ["network", "add"], ["network", "del"],
                     ["show", "ports", "--guest", "a"], ["show", "sessions", "--limit", "0"],
                     ["show", "leases", "--protocol", "tcp"], ["show", "sessions", "--guest"],
                     ["show", "macs", "a", "--network", "b"], ["show", "ports", "--network", "a"],
                     ["show", "leases", "--limit", "1x"], ["show", "workers", "--network", "a"],
                     ["forward"], ["forward", "add", "n"], ["forward", "del", "n"],
                     ["forward", "add", "n", "{}", "x"], ["forward", "add", "--network"],
                     ["forward", "del", "--network", "n"], ["forward", "add", "--network", "n"], ["forward", "add", "n", "2222"],
                     ["forward", "del", "n", "1", "2"], ["lease", "release"],
                     ["lease", "release", "n", "10.1.0.5", "x"], ["lease", "release", "-x"],
                     ["sessions", "flush", "x", "y"], ["sessions", "flush", "-x"], ["sessions", "flush", "--guest"],
                     ["qemu-args"], ["qemu-args", "--x"],
                     ["top", "x"],
                     ["top", "-n"], ["top", "-n", "0"], ["top", "-n", "nan"], ["top", "-n", "1x"],
                     ["top", "--count"], ["top", "--count", "0"], ["top", "--count", "1x"],
                     ["--frob"], ["--socket"], ["show", "ports", "--socket"]):
            done = self.run_weft(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn("usage: weft ", done.stderr, args)
            self.assertEqual(done.stdout, "", args)

    def test_help_of_every_command(self):
        everything = self.run_weft("--help")
        self.assertEqual(everything.returncode, 0)
        names = [line.strip().split("  ")[0] for line in everything.stdout.splitlines()[2:]
                 if line.startswith("  ") and not line.startswith("  -")]
        names.remove("help COMMAND")
        self.assertGreaterEqual(len(names), 10)
        completion = self.run_weft("completion").stdout
        for name in names:
            done = self.run_weft("help", *name.split())
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout.startswith(f"usage: weft [--socket PATH] {name}"))
            self.assertEqual(self.run_weft(*name.split(), "--help").stdout, done.stdout)
            self.assertIn(f'"{name}"*)', completion)
        subprocess.run(["bash", "-n"], input=completion, text=True, check=True)

    def test_no_weftd_is_1(self):
        done = self.run_weft("show", "ports")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot reach weftd at {self.path}", done.stderr)
        done = self.run_weft("--socket", "/" + "x" * 200, "show", "ports")
        self.assertEqual(done.returncode, 1)
        self.assertIn("too long", done.stderr)

    def test_errors_and_nonsense_are_1(self):
        done, _ = self.ask("port", "del", "p", answer=b'{"error": "no \\u001b[2J port"}\n')
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "weft: no ?[2J port\n")
        for answer in (b"", b"{", b"[]\n", b"{}\n", b"\n", b'{"result": {}}'):
            done, _ = self.ask("port", "del", "p", answer=answer)
            self.assertEqual(done.returncode, 1, answer)
            self.assertTrue(done.stderr.startswith("weft: weftd"), answer)

    def config_of(self, *settings):
        done, server = self.ask("port", "add", "p", *settings)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(server.request["method"], "port_add")
        self.assertEqual(server.request["params"]["name"], "p")
        return server.request["params"]["config"]

    def test_settings_become_yaml(self):
        self.assertEqual(self.config_of(), "{}")
        self.assertEqual(self.config_of("--network", "lab", "--vlan=10", "isolated=true"),
                         '{"network": "lab", "vlan": "10", "isolated": "true"}')
        self.assertEqual(self.config_of("--vlans", "10,20"), '{"vlans": ["10", "20"]}')
        self.assertEqual(self.config_of("--vlans", "[10,20]"), '{"vlans": [10,20]}')
        self.assertEqual(self.config_of("--vhost-user", '/a b, c: "d"} #'),
                         r'{"vhost-user": "/a b, c: \"d\"} #"}')
        self.assertEqual(self.config_of("--vhost-user=/a=b"), '{"vhost-user": "/a=b"}')
        self.assertEqual(self.config_of("--mac", "--x"), '{"mac": "--x"}')
        self.assertEqual(self.config_of("--isolated", "vlan=1", "--null"),
                         '{"isolated": "true", "vlan": "1", "null": {}}')
        self.assertEqual(self.config_of("--isolated", "false"), '{"isolated": "false"}')

    def test_network_add(self):
        done, server = self.ask("network", "add", "n", "--mode", "nat", "--ipv4", "10.1.0.1/24")
        self.assertEqual(server.request["params"]["config"],
                         '{"mode": "nat", "ipv4": ["10.1.0.1/24"]}')
        done, server = self.ask("network", "add", "n", "--mode", "bridge", "--uplink", "{tap: t}")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(server.request, {"method": "network_add", "params": {
            "name": "n", "config": '{"mode": "bridge", "uplink": {tap: t}}'}})

    def test_a_descriptor_is_passed(self):
        reading, writing = os.pipe()
        done, server = self.ask("port", "add", "p", "--network", "n", "--tap-fd", str(writing),
                                pass_fds=[writing])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(server.request["params"]["config"], '{"network": "n", "tap": "given"}')
        os.close(writing)
        os.write(server.fds[0], b"x")
        os.close(server.fds[0])
        self.assertEqual(os.read(reading, 2), b"x")
        self.assertEqual(os.read(reading, 2), b"")
        os.close(reading)
        done, server = self.ask("port", "add", "p", "--tap-fd", "1000")
        self.assertEqual((done.returncode, server.request), (1, None))
        self.assertIn("--tap-fd 1000: Bad file descriptor", done.stderr)

    def test_several_descriptors_are_passed(self):
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(65)]
        done, server = self.ask("port", "add", "p", *(f"--tap-fd={file}" for file in files[:64]), "--queues", "64",
                                pass_fds=files)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(server.request["params"]["config"], '{"tap": "given", "queues": "64"}')
        self.assertEqual(len(server.fds), 64)
        for file in server.fds:
            os.close(file)
        done, _ = self.ask("port", "add", "p", *(f"--tap-fd={file}" for file in files), pass_fds=files)
        self.assertEqual(done.returncode, 2)
        self.assertIn("too many --tap-fd; allowed: at most 64", done.stderr)
        done, _ = self.ask("port", "add", "p", "--tap-fd", "5", "--vlan", "1", "--tap-fd", "5")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--tap-fd: 5 is there twice", done.stderr)
        for file in files:
            os.close(file)

    def test_table_is_aligned_and_harmless(self):
        rows = [{"name": "a", "network": "lab", "type": "null", "link": "up", "fault": None,
                 "receive": {"packets": 5, "bytes": 300, "errors": 0, "drops": 0},
                 "transmit": {"packets": 123456, "bytes": 1, "errors": 0, "drops": 0}},
                {"name": "a-longer-one", "network": "lab", "type": "null", "link": "down",
                 "fault": "bad\u001b[0m"}]
        done, server = self.ask("show", "ports", result=rows)
        self.assertEqual(server.request, {"method": "show", "params": {"what": "ports"}})
        title, first, second = done.stdout.splitlines()
        self.assertEqual(title.split()[:5], ["PORT", "NETWORK", "TYPE", "LINK", "RECEIVED"])
        self.assertEqual(first[first.index("lab"):][:3], second[second.index("lab"):][:3])
        self.assertEqual(title.index("NETWORK"), first.index("lab"))
        self.assertEqual(title.index("SENT") + 4, first.index("123456") + 6)
        self.assertTrue(second.endswith("bad?[0m"))

    def test_details_of_one(self):
        row = {"name": "p", "features": [f"feature_{i}" for i in range(20)], "memory": 1,
               "receive": {"packets": 1, "drops_by_reason": {"hairpin": 2}},
               "queues": [{"index": 0, "state": "running"}, {"index": 1, "state": "stopped"}]}
        done, server = self.ask("show", "ports", "p", result=[row])
        self.assertEqual(server.request["params"], {"what": "ports", "name": "p"})
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["name:", "p"])
        self.assertTrue(all(len(line) <= 80 for line in lines))
        for word in row["features"]:
            self.assertIn(word, done.stdout)
        self.assertIn("  drops_by_reason: hairpin 2", lines)
        self.assertEqual([line.split() for line in lines[-3:]],
                         [["index", "state"], ["0", "running"], ["1", "stopped"]])

    def test_forwards_of_a_network(self):
        row = {"name": "n", "nat": {"sessions": 2, "forwards": [
            {"protocol": "tcp", "listen": "2222", "to": "10.1.0.5:22", "source": None}]}}
        done, _ = self.ask("show", "networks", "n", result=[row])
        self.assertEqual([line.split() for line in done.stdout.splitlines()],
                         [["name:", "n"], ["nat:"], ["sessions:", "2"], ["forwards:"],
                          ["protocol", "listen", "to", "source"], ["tcp", "2222", "10.1.0.5:22", "-"]])

    def test_socket_may_stand_anywhere(self):
        for args in (["--socket", self.path, "show", "macs"], ["show", "macs", f"--socket={self.path}"],
                     ["show", "--socket", self.path, "macs"]):
            done, server = self.ask(*args, result=[], env={})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(server.request["params"], {"what": "macs"})

    def test_a_group_says_what_is_in_it(self):
        lines = self.run_weft("port").stderr.splitlines()
        self.assertEqual([line.split("] ")[1].split()[:2] for line in lines[1:]], [["port", "add"], ["port", "del"]])

    def test_lists_of_one(self):
        done, server = self.ask("show", "macs", "lab", result=[{"network": "lab", "age": 1}])
        self.assertEqual(server.request["params"], {"what": "macs", "name": "lab"})
        self.assertEqual(done.stdout.split()[0], "NETWORK")

    def test_json_is_what_the_server_says(self):
        rows = [{"x": [1, {"y": None}]}]
        done, _ = self.ask("show", "workers", "--json", result=rows)
        self.assertEqual(json.loads(done.stdout), rows)

    def top(self, *args, show=counters):
        server = Showing(self.path, show)
        try:
            return self.run_weft("top", "-n", "0.1", *args)
        finally:
            server.close()
            os.unlink(self.path)

    def test_top_counts_by_the_clock_of_weftd(self):
        done = self.top("--count", "2", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertEqual(line["seconds"], 2)
            self.assertEqual(line["workers"], [{
                "id": 0, "cpu": None, "busy": 0.25, "frames_per_second": 320,
                "frames_per_burst": 64, "sleeps_per_second": 2, "wakes_per_second": 0,
                "cycles_per_frame": {"receive": 10, "bridge": 1, "gateway": 0, "transmit": 20, "done": 0}}])
            self.assertEqual([port["name"] for port in line["ports"]],
                             [f"p{i}" for i in range(20)])
            self.assertEqual(line["ports"][3], {
                "name": "p3", "network": "lab", "link": "up",
                "receive": {"packets_per_second": 300, "bits_per_second": 12000,
                            "drops_per_second": 3},
                "transmit": {"packets_per_second": 1, "bits_per_second": 0,
                             "drops_per_second": 0}})

    def test_top_survives_what_comes_and_goes(self):
        def show(what, n):
            if what == "workers":  # the second one is new; of a new weftd, the third answer is
                workers = counters(what, n if n < 3 else 1) + [{"id": 1}] * (n == 2)
                return workers
            port = counters("ports", 1)[1]
            if n == 2:  # removed and added again: counts from 0, and one more
                port["receive"]["packets"] = 10
                return [port, {"name": "new", "receive": {"packets": 4}}]
            return [port]
        done = self.top("--count", "2", "--json", show=show)
        self.assertEqual(done.returncode, 0, done.stderr)
        first, second = (json.loads(line) for line in done.stdout.splitlines())
        self.assertEqual([port["receive"]["packets_per_second"] for port in first["ports"]], [5, 2])
        self.assertEqual(first["workers"][1]["frames_per_second"], 0)
        self.assertIsNone(first["workers"][1]["cycles_per_frame"]["bridge"])
        self.assertEqual(second["seconds"], 0)
        self.assertEqual(second["ports"][0]["receive"]["packets_per_second"], 0)

    def test_top_as_a_table(self):
        done = self.top("--once")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split()[0], "WORKER")
        self.assertEqual(lines[1].split(),
                         ["0", "-", "25.0%", "320", "64.0", "10.0", "1.0", "0.0", "20.0", "0.0", "2", "0"])
        self.assertEqual(len(lines), 3 + 1 + 20)
        self.assertEqual(lines[4].split(),
                         ["p19", "lab", "up", "1900", "76.0k", "3", "1", "0", "0"])
        self.assertNotIn("\033", done.stdout)

    def test_top_without_weftd_is_1(self):
        done = self.run_weft("top")
        self.assertEqual((done.returncode, done.stdout), (1, ""))

    def test_top_on_a_terminal(self):
        """Ten lines high: what has room, the busiest first. Both keys that end it give it back."""
        for key in (b"q", b"\x03"):
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 80, 0, 0))
            before = termios.tcgetattr(theirs)
            server = Showing(self.path, counters)
            top = subprocess.Popen([WEFT, "--socket", self.path, "top", "-n", "0.1"],
                                   stdin=theirs, stdout=theirs, stderr=theirs,
                                   start_new_session=True, preexec_fn=lambda: fcntl.ioctl(
                                       0, termios.TIOCSCTTY, 0))
            text = b""
            while text.count(b"and 16 more\r\n") < 2:
                text += os.read(ours, 4096)
            os.write(ours, key)
            while not text.endswith(b"\033[?7h\033[?25h"):
                text += os.read(ours, 4096)
            self.assertEqual(top.wait(), 0)
            self.assertEqual(termios.tcgetattr(theirs), before)
            page = text.split(b"\033[H\033[J")[1].decode().splitlines()
            self.assertEqual(len(page), 9)
            self.assertEqual([line.split()[0] for line in page[4:8]], ["p19", "p18", "p17", "p16"])
            server.close()
            os.unlink(self.path)
            os.close(ours)
            os.close(theirs)

    def test_all_drop_reasons(self):
        done, server = self.ask("show", "drops", "--all", result=[])
        self.assertEqual(server.request["params"], {"what": "drop-reasons"})
        self.assertEqual(done.stdout.split(), ["DIRECTION", "REASON", "ERROR", "COUNT", "MEANING"])

    def test_filters_are_sent(self):
        done, server = self.ask("show", "sessions", "--network", "lab", "--guest=10.1.0.5",
                                "--protocol", "tcp", "--json", result=[])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(server.request, {"method": "show", "params": {
            "what": "sessions", "name": "lab", "guest": "10.1.0.5", "protocol": "tcp"}})
        for what in ("neighbours", "routes", "leases"):
            done, server = self.ask("show", what, "lab", "--guest", "vm1", "--limit", "7", result=[])
            self.assertEqual(server.request["params"],
                             {"what": what, "name": "lab", "guest": "vm1", "limit": 8})
        done, server = self.ask("show", "macs", "--network", "lab", result=[])
        self.assertEqual(server.request["params"], {"what": "macs", "name": "lab"})

    def test_long_lists_are_cut_and_say_so(self):
        row = {"network": "n", "ip": "10.1.0.5"}
        done, server = self.ask("show", "leases", result=[row] * 1001)
        self.assertEqual(server.request["params"], {"what": "leases", "limit": 1001})
        self.assertEqual(len(done.stdout.splitlines()), 1 + 1000)
        self.assertIn("--limit", done.stderr)
        done, _ = self.ask("show", "leases", result=[row] * 1000)
        self.assertEqual((len(done.stdout.splitlines()), done.stderr), (1 + 1000, ""))
        done, _ = self.ask("show", "leases", "--limit", "2", "--json", result=[row] * 3)
        self.assertEqual(json.loads(done.stdout), [row] * 2)

    def test_sessions_as_a_table(self):
        row = {"network": "n", "protocol": "tcp", "state": "established", "direction": "out",
               "inside": {"ip": "10.1.0.5", "port": 4000}, "outside": {"ip": "192.0.2.1", "port": 4001},
               "remote": {"ip": "198.51.100.7", "port": 80}, "expires": 7440, "packets_out": 3,
               "packets_in": 2}
        done, _ = self.ask("show", "sessions", result=[row])
        self.assertEqual(done.stdout.splitlines()[1].split(),
                         ["n", "tcp", "established", "out", "10.1.0.5", "4000", "192.0.2.1", "4001",
                          "198.51.100.7", "80", "3", "2", "7440"])

    def test_networks_as_a_table(self):
        rows = [{"name": "n", "mode": "nat", "uplink": "n.uplink", "uplink_link": "up",
                 "gateway": {"addresses": ["10.1.0.1/24", "fd00::1/64"], "leases": 2},
                 "outside": {"addresses": ["192.0.2.1/24"]}, "nat": {"sessions": 5},
                 "macs": {"entries": 3, "refused_limit": 0, "refused_quota": 0}, "ports": ["p"]},
                {"name": "lab", "mode": "isolated", "uplink": None, "uplink_link": None,
                 "gateway": None, "outside": None, "nat": None, "macs": {"entries": 0}, "ports": []}]
        done, _ = self.ask("show", "networks", result=rows)
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(lines[1], ["n", "nat", "10.1.0.1/24,fd00::1/64", "n.uplink", "up",
                                    "192.0.2.1/24", "5", "2", "3", "p"])
        self.assertEqual(lines[2], ["lab", "isolated"] + ["-"] * 6 + ["0", "-"])

    def test_forwards(self):
        text = "{proto: tcp, listen: 2222, to: 10.1.0.5:22}"
        done, server = self.ask("forward", "add", "n", text)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(server.request,
                         {"method": "forward_add", "params": {"name": "n", "config": text}})
        done, server = self.ask("forward", "add", "n", "--listen", "[2001:db8::1]:22",
                                "--to=[fd00::5]")
        self.assertEqual(server.request["params"]["config"],
                         '{"listen": "[2001:db8::1]:22", "to": "[fd00::5]"}')
        done, server = self.ask("forward", "add", "--proto", "udp", "--network", "n", "--listen=53")
        self.assertEqual(server.request["params"],
                         {"name": "n", "config": '{"proto": "udp", "listen": "53"}'})
        done, server = self.ask("forward", "add", text, "--network=n")
        self.assertEqual(server.request["params"], {"name": "n", "config": text})
        done, server = self.ask("forward", "del", "--network", "n", "53/udp")
        self.assertEqual(server.request["params"], {"name": "n", "listen": "53", "protocol": "udp"})
        done, server = self.ask("forward", "del", "n", "2222")
        self.assertEqual(server.request,
                         {"method": "forward_del", "params": {"name": "n", "listen": "2222"}})
        done, server = self.ask("forward", "del", "n", "192.0.2.1:80-81/udp")
        self.assertEqual(server.request["params"],
                         {"name": "n", "listen": "192.0.2.1:80-81", "protocol": "udp"})

    def test_leases_and_sessions_end(self):
        done, server = self.ask("lease", "release", "n", "10.1.0.5")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertEqual(server.request,
                         {"method": "lease_release", "params": {"name": "n", "ip": "10.1.0.5"}})
        done, server = self.ask("lease", "release", "10.1.0.5")
        self.assertEqual(server.request["params"], {"ip": "10.1.0.5"})
        done, server = self.ask("lease", "release", "10.1.0.5", "--network", "n")
        self.assertEqual(server.request["params"], {"ip": "10.1.0.5", "name": "n"})
        done, server = self.ask("sessions", "flush", result={"flushed": 7})
        self.assertEqual(done.stdout, "7 sessions ended\n")
        self.assertEqual(server.request, {"method": "sessions_flush", "params": {}})
        done, server = self.ask("sessions", "flush", "--network=n", "--guest", "vm1",
                                result={"flushed": 1})
        self.assertEqual(done.stdout, "1 session ended\n")
        self.assertEqual(server.request["params"], {"name": "n", "guest": "vm1"})
        done, server = self.ask("sessions", "flush", "n", result={"flushed": 0})
        self.assertEqual(server.request["params"], {"name": "n"})

    def test_apply_prints_the_changes(self):
        changes = [{"action": "remove", "kind": "port", "name": "a", "keys": []},
                   {"action": "add", "kind": "network", "name": "n", "keys": []},
                   {"action": "change", "kind": "port", "name": "b", "keys": ["vlan", "queues"]},
                   {"action": "change", "kind": "workers", "name": "workers", "keys": ["poll"]}]
        for command in ("apply", "diff"):
            done, server = self.ask(command, "-", result=changes, input="ports: {}\n")
            self.assertEqual(server.request, {"method": command, "params": {
                "file": "stdin", "text": "ports: {}\n"}})
            self.assertEqual(done.stdout, "- port a\n+ network n\n~ port b (vlan, queues)\n"
                                          "~ workers (poll)\n")
            done, _ = self.ask(command, "--json", "-", result=changes, input="ports: {}\n")
            self.assertEqual(json.loads(done.stdout), changes)
        self.assertEqual(self.run_weft("apply", "/nonexistent").returncode, 1)

    def test_qemu_args_can_be_split_by_a_shell(self):
        args = ["-m", "1G", "-chardev", "socket,id=x,path=/a,,b"]
        done, server = self.ask("qemu-args", "vm1", "vm2", "--memory", "1G", result=args)
        self.assertEqual(server.request["params"], {"ports": ["vm1", "vm2"], "memory": "1G"})
        self.assertEqual(done.stdout.split(), args)
        for bad in ("a b", "a*", "a?", "[a]", "", "a\nb"):
            done, _ = self.ask("qemu-args", "vm1", result=["-m", bad])
            self.assertEqual(done.returncode, 1, bad)
            self.assertEqual(done.stdout, "")

    def test_check_runs_the_weftd_beside_it(self):
        good = os.path.join(DATA, "good", "networks.yaml")
        bad = os.path.join(DATA, "bad", "mode.yaml")
        self.assertEqual(self.run_weft("check", good).returncode, 0)
        done = self.run_weft("check", good, bad)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{bad}:1: networks.lab.mode: 'natt' is not known; allowed: bridge, nat, routed, isolated",
                      done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
