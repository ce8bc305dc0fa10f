"""Numbered frames between two frontends, one at a time: whatever happens to other ports, none may be lost."""

import threading

from frames import mac_bytes, plain
from lab import mac
from process import Timeout

FIRST, SECOND = mac(0xa1), mac(0xa2)
BROADCAST = "ff:ff:ff:ff:ff:ff"


class Stream:
    """Frames go to and fro between two frontends, every 8th as a broadcast that all other ports get too.

    A thread of its own, until the `with` ends; that raises what went wrong.
    """

    def __init__(self, first, second):
        self.ends = [(first, FIRST, SECOND), (second, SECOND, FIRST)]
        self.count = 0
        self._problem = None
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.wait_progress(20)
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(60)
        if self._problem and kind is None:
            raise self._problem

    def wait_progress(self, frames):
        """Waits until so many more frames have arrived."""
        goal = self.count + frames
        with self._progress:
            self._progress.wait_for(lambda: self.count >= goal or self._problem, 60)
        if self._problem:
            raise self._problem
        assert self.count >= goal, "the stream stands still"

    def _run(self):
        try:
            while not self._stop.is_set():
                (sender, source, destination), (receiver, _, _) = self.ends
                payload = b"number %d " % self.count * 20
                frame = plain(source, BROADCAST if self.count % 8 == 0 else destination, payload)
                sender.send(frame)
                try:
                    received = receiver.receive_matching(lambda arrived: mac_bytes(source) == arrived[6:12], 20)
                except Timeout:
                    raise AssertionError(f"frame {self.count} was lost") from None
                assert received[1] == frame, f"wrong frame instead of {self.count}: {received[1].hex()}"
                self.ends.reverse()
                with self._progress:
                    self.count += 1
                    self._progress.notify_all()
        except Exception as problem:  # told to the main thread
            with self._progress:
                self._problem = problem
                self._progress.notify_all()
