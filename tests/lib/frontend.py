"""A small vhost-user frontend with a split ring of its own, for tests that need many guests, or frames byte by
byte, and no kernel.

It implements what weftd's peer does (https://qemu-project.gitlab.io/qemu/interop/vhost-user.html, virtio 1.2
sections 2.7 and 5.1) apart from weft's own code: its memory is one memfd, a queue's buffers lie one after the other.
"""

import ctypes
import mmap
import os
import select
import socket
import struct
import time

from process import Timeout

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 12, 13, 15, 16
SET_VRING_ENABLE = 18

F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6 = 1 << 0, 1 << 1, 1 << 7, 1 << 8
F_GUEST_UFO, F_HOST_TSO4, F_HOST_TSO6, F_HOST_UFO, F_MRG_RXBUF = 1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 15
F_PROTOCOL_FEATURES, F_VERSION_1 = 1 << 30, 1 << 32
F_GUEST_USO4, F_GUEST_USO6, F_HOST_USO = 1 << 54, 1 << 55, 1 << 56
DEFAULT_FEATURES = F_VERSION_1 | F_MRG_RXBUF | F_PROTOCOL_FEATURES
P_REPLY_ACK = 1 << 3

HEADER = struct.Struct("<BBHHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6 = 0, 1, 3, 4

GUEST_BASE = 0x10000  # different on purpose: rings are named by the frontend's addresses, buffers by the guest's
USER_BASE = 0x700000000000
DESC_F_NEXT, DESC_F_WRITE = 1, 2
AVAIL_F_NO_INTERRUPT = USED_F_NO_NOTIFY = 1


class _Queue:
    """One split ring and its buffers, at `offset` of the memory."""

    def __init__(self, memory, offset, size, buffer_size):
        self.memory, self.size, self.buffer_size = memory, size, buffer_size
        self.descriptors = offset
        self.available = self.descriptors + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.buffers = (self.used + 6 + 8 * size + 63) & ~63
        self.end = (self.buffers + size * buffer_size + 4095) & ~4095
        self.kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.available_index = self.used_seen = 0
        self.free = list(range(size))

    @staticmethod
    def bytes_needed(size, buffer_size):
        return size * (16 + 2 + 8 + buffer_size) + 16 + 64 + 8192

    def buffer(self, index):
        return self.buffers + index * self.buffer_size

    def offer(self, index, length, flags):
        """Gives a buffer to the backend."""
        struct.pack_into("<QIHH", self.memory, self.descriptors + 16 * index,
                         GUEST_BASE + self.buffer(index), length, flags, 0)
        struct.pack_into("<H", self.memory, self.available + 4 + 2 * (self.available_index % self.size), index)
        self.available_index = (self.available_index + 1) & 0xffff
        # One aligned 16-bit store, after what it publishes (x86 keeps the order).
        ctypes.c_uint16.from_buffer(self.memory, self.available + 2).value = self.available_index

    def take(self):
        """The next used buffer as (index, length), or None."""
        if struct.unpack_from("<H", self.memory, self.used + 2)[0] == self.used_seen:
            return None
        index, length = struct.unpack_from("<II", self.memory, self.used + 4 + 8 * (self.used_seen % self.size))
        self.used_seen = (self.used_seen + 1) & 0xffff
        return index, length

    def notify(self):
        os.eventfd_write(self.kick, 1)

    def wait(self, timeout):
        """Sleeps until the backend calls, at most `timeout` seconds."""
        poll = select.poll()
        poll.register(self.call, select.POLLIN)
        if poll.poll(max(timeout, 0) * 1000):
            os.eventfd_read(self.call)

    def close(self):
        os.close(self.kick)
        os.close(self.call)


class Frontend:
    """A connected guest with one pair of queues. Frames go in with send() and come out of receive()."""

    def __init__(self, path, features=DEFAULT_FEATURES, size=64, buffer_size=2048):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        length = 2 * _Queue.bytes_needed(size, buffer_size)
        length = (length + 4095) & ~4095
        self.memory_fd = os.memfd_create("weft-frontend")
        os.ftruncate(self.memory_fd, length)
        self.memory = mmap.mmap(self.memory_fd, length)
        self.to_guest = _Queue(self.memory, 0, size, buffer_size)
        self.from_guest = _Queue(self.memory, self.to_guest.end, size, buffer_size)
        self.offered = self._ask(GET_FEATURES)
        self.features = features & self.offered
        self._negotiate(length)
        for index in range(size):
            self.to_guest.offer(index, buffer_size, DESC_F_WRITE)
        self.to_guest.notify()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, frame, header=None, timeout=10):
        """Sends a frame with an optional virtio-net header (HEADER's fields but the last)."""
        queue = self.from_guest
        end = time.monotonic() + timeout
        while True:
            while used := queue.take():
                queue.free.append(used[0])
            if queue.free:
                break
            if time.monotonic() > end:
                raise Timeout("the backend takes no more frames")
            queue.wait(end - time.monotonic())
        data = HEADER.pack(*(header or (0, 0, 0, 0, 0, 0)), 0) + frame
        index = queue.free.pop()
        self.memory[queue.buffer(index):queue.buffer(index) + len(data)] = data
        queue.offer(index, len(data), 0)
        queue.notify()

    def receive(self, timeout=10):
        """The next frame as (header, bytes); None when nothing comes in time."""
        queue = self.to_guest
        end = time.monotonic() + timeout
        parts, missing, header = [], 1, None
        while missing:
            used = queue.take()
            if not used:
                if time.monotonic() > end:
                    return None
                queue.wait(end - time.monotonic())
                continue
            index, length = used
            data = bytes(self.memory[queue.buffer(index):queue.buffer(index) + length])
            if header is None:
                header = HEADER.unpack_from(data)
                missing = header[-1]
                data = data[HEADER.size:]
            parts.append(data)
            missing -= 1
            queue.offer(index, queue.buffer_size, DESC_F_WRITE)
        queue.notify()
        return header, b"".join(parts)

    def receive_matching(self, matches, timeout=10):
        """The first frame that matches(frame); others are let go."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            received = self.receive(end - time.monotonic())
            if received and matches(received[1]):
                return received
        raise Timeout("no matching frame")

    def stop_queue(self, index):
        """GET_VRING_BASE: the backend stops the queue; returns its ring index."""
        return self._ask(GET_VRING_BASE, struct.pack("<II", index, 0)) >> 32

    def truncate_memory(self):
        """Takes the memory away under the backend; after this the frontend must not be used, only closed."""
        os.ftruncate(self.memory_fd, 0)

    def wait_closed(self, timeout=10):
        """Waits until the backend has closed the connection."""
        self.socket.settimeout(timeout)
        try:
            if self.socket.recv(1) != b"":
                raise Timeout("the backend spoke instead of closing")
        except ConnectionResetError:
            pass

    def close(self):
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        self.to_guest.close()
        self.from_guest.close()
        self.memory.close()
        os.close(self.memory_fd)

    def _negotiate(self, length):
        offered = self._ask(GET_PROTOCOL_FEATURES)
        self._tell(SET_PROTOCOL_FEATURES, struct.pack("<Q", offered & P_REPLY_ACK))
        self._tell(SET_OWNER)
        self._tell(SET_FEATURES, struct.pack("<Q", self.features))
        self._tell(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, GUEST_BASE, length, USER_BASE, 0),
                   [self.memory_fd])
        for index, queue in enumerate((self.to_guest, self.from_guest)):
            self._tell(SET_VRING_NUM, struct.pack("<II", index, queue.size))
            self._tell(SET_VRING_BASE, struct.pack("<II", index, 0))
            self._tell(SET_VRING_ADDR, struct.pack(
                "<IIQQQQ", index, 0, USER_BASE + queue.descriptors, USER_BASE + queue.used,
                USER_BASE + queue.available, 0))
            self._tell(SET_VRING_CALL, struct.pack("<Q", index), [queue.call])
            self._tell(SET_VRING_KICK, struct.pack("<Q", index), [queue.kick])
            self._tell(SET_VRING_ENABLE, struct.pack("<II", index, 1))
        self._ask(GET_FEATURES)  # messages are served in order: when this is answered, the queues run

    def _tell(self, request, payload=b"", fds=()):
        message = struct.pack("<III", request, 1, len(payload)) + payload
        socket.send_fds(self.socket, [message], list(fds))

    def _ask(self, request, payload=b""):
        self._tell(request, payload)
        answer = self.socket.recv(20, socket.MSG_WAITALL)
        if len(answer) != 20 or struct.unpack_from("<I", answer)[0] != request:
            raise ConnectionError(f"bad answer to request {request}: {answer.hex()}")
        return struct.unpack_from("<Q", answer, 12)[0]
