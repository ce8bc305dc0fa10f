"""Child processes that never outlive their parent, and waiting for what they say.

Used by guests.py, switch.py and the demo. Every wait has an end: after it, Timeout says what was waited for.
"""

import os
import signal
import subprocess
import threading
import time

NOBODY = 65534


class Timeout(Exception):
    """Something did not happen in time."""


class Child:
    """A process with a console: what it prints is kept, and can be waited for.

    It runs in a process group of its own, dies with its parent, and, if `unprivileged` and we are root, as
    nobody, a member of `groups`, with the `capabilities` named.
    """

    def __init__(self, command, unprivileged=False, groups=(), capabilities=(), namespace=None, **options):
        drop = []
        if unprivileged and os.geteuid() == 0:
            members = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
            drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", members]
            if capabilities:
                names = ",".join(f"+{name}" for name in capabilities)
                drop += [f"--inh-caps={names}", f"--ambient-caps={names}"]
        enter = ["ip", "netns", "exec", namespace] if namespace else []
        command = [*enter, "setpriv", *drop, "--pdeathsig=KILL", "--", *map(str, command)]
        self.command = command
        self.output = ""
        self._changed = threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True, **options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self.process.pid

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_for(self, search, timeout, start=0, what=None):
        """Waits until search(output from `start` on) is neither None nor False, and returns it. `search` may
        be a text."""
        if isinstance(search, str):
            wanted, search = search, lambda text: wanted in text
            what = what or repr(wanted)
        found = None

        def happened():
            nonlocal found
            found = search(self.output[start:])
            return found or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(happened, timeout)
        if not found:
            ended = "" if self.process.poll() is None else f" (it ended: {self.process.returncode})"
            raise Timeout(f"{self.command}: no {what} in {timeout} s{ended}; it said:\n{self.output[-4000:]}")
        return found

    def wait(self, timeout=20):
        """Waits for the end of the process; returns its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.command} did not end in {timeout} s; it said:\n{self.output[-4000:]}") from None
        self._reader.join(timeout)
        return status

    def signal(self, number):
        self.process.send_signal(number)

    def terminate(self, timeout=20):
        """SIGTERM and the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """Ends the process and all in its group, without grace."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self._reader.join(10)
        self.process.stdin.close()

    def _read(self):
        with self.process.stdout as stream:
            while data := os.read(stream.fileno(), 65536):
                with self._changed:
                    self.output += data.decode(errors="replace")
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def wait_until(condition, timeout=20, what="condition", interval=0.05):
    """Polls a condition that has no event to wait on; returns its first true value."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise Timeout(f"no {what} in {timeout} s")
        time.sleep(interval)
    return value


def kvm_group():
    """The group that may use /dev/kvm, as a list of none or one."""
    return [os.stat("/dev/kvm").st_gid] if os.path.exists("/dev/kvm") else []
