"""weftd and weft as a user runs them: a configuration in a directory, the daemon, and the command.

Used by the demo and by tests/e2e. weftd runs as an ordinary user; with CAP_NET_ADMIN where a test makes taps.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

from process import Child

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SANITIZER = re.compile(r"ERROR: (?:Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error: ")
START_TIMEOUT = 60
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=0",
}


class WeftError(Exception):
    """The weft command failed; `status` is its exit status."""

    def __init__(self, arguments, done):
        super().__init__(f"weft {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        self.status = done.returncode
        self.text = done.stderr


def executable(name):
    """weft or weftd, as built; WEFT_BUILD names another build than build/."""
    return ROOT / os.environ.get("WEFT_BUILD", "build") / name


class Switch:
    """A weftd in `directory` (made by guests.guest_directory()). `config` is a dict, or text.

    weftd's directory of executables is `directory` itself: a clone under a home directory is closed to others.
    """

    def __init__(self, directory, config, capabilities=(), namespace=None, start=True):
        self.directory = pathlib.Path(directory)
        self.capabilities, self.namespace = capabilities, namespace
        self.api = self.directory / "weftd.sock"
        self.file = self.directory / "weft.yaml"
        self.write_config(config)
        for name in ("weftd", "weft"):
            if not (self.directory / name).exists():
                shutil.copy(executable(name), self.directory / name)
        # The runtime directory is that of whoever weftd runs as.
        self.runtime = self.directory / "run"
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        owner = self.directory.stat()
        os.chown(self.runtime, owner.st_uid, owner.st_gid)
        self.child = None
        if start:
            self.start()

    def write_config(self, config):
        """Replaces the configuration file; a dict gets the API socket. JSON is YAML."""
        if not isinstance(config, str):
            config = json.dumps({"api": {"socket": str(self.api)}, **config}, indent=1)
        self.file.write_text(config)

    def start(self, wait=True):
        self.child = Child([self.directory / "weftd", "-c", self.file], unprivileged=True,
                           capabilities=self.capabilities, namespace=self.namespace, cwd=self.directory,
                           env=dict(os.environ, XDG_RUNTIME_DIR=str(self.runtime), HOME=str(self.directory),
                                    **SANITIZER_OPTIONS))
        if wait:
            self.child.wait_for(re.compile(r"\bready\b").search, START_TIMEOUT, what="'ready'")

    def stop(self):
        """SIGTERM. weftd has to end with status 0 and without a sanitizer's report."""
        child, self.child = self.child, None
        if not child:
            return
        try:
            status = child.terminate(60)
        finally:
            child.kill()
        self.check_output(child)
        assert status == 0, f"weftd ended with {status}:\n{child.output[-4000:]}"

    def kill(self):
        """SIGKILL."""
        child, self.child = self.child, None
        child.kill()
        self.check_output(child)

    @staticmethod
    def check_output(child):
        assert not SANITIZER.search(child.output), child.output[-20000:]

    def weft(self, *arguments, namespace=None, pass_fds=()):
        """Runs the command; returns its output, or raises WeftError."""
        arguments = list(map(str, arguments))
        enter = ["ip", "netns", "exec", namespace] if namespace else []
        done = subprocess.run([*enter, self.directory / "weft", "--socket", self.api, *arguments], text=True,
                              capture_output=True, timeout=60, pass_fds=pass_fds)
        assert not SANITIZER.search(done.stderr), done.stderr
        if done.returncode != 0:
            raise WeftError(arguments, done)
        return done.stdout

    def show(self, what):
        return json.loads(self.weft("show", what, "--json"))

    def port(self, name):
        """The port's row of `weft show ports`."""
        return next(port for port in self.show("ports") if port["name"] == name)

    def account(self):
        """Its log, and what it shows but for what is 0 or false; as far as it answers."""
        text = self.child.output[-8000:]
        try:
            for what in ("ports", "networks", "macs", "neighbours", "leases", "workers"):
                text += f"\n{what}: {json.dumps(without_zeros(self.show(what)))}"
        except Exception as error:  # of a weftd that is ill anything may be expected
            text += f"\n{what}: {error}"
        return text

    def macs(self):
        """{mac: port} of all networks."""
        return {row["mac"]: row["port"] for row in self.show("macs")}


def without_zeros(value):
    if isinstance(value, dict):
        return {key: without_zeros(part) for key, part in value.items() if part != 0}
    return [without_zeros(part) for part in value] if isinstance(value, list) else value
