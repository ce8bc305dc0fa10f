"""Network namespaces, and raw sockets in them. Everything is in a namespace that a test has made."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time

from process import Child, Timeout

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
TP_STATUS_VLAN_VALID = 1 << 4
TUNSETIFF = 0x400454ca
IFF_TAP_QUEUE = 0x0002 | 0x1000 | 0x4000 | 0x0100  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE
VNET_HEADER = struct.Struct("<BBHHHH")


class Namespace:
    """A network namespace with its loopback up. close() deletes it and what is in it."""

    def __init__(self, name):
        self.name = f"weft-{os.getpid()}-{name}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command, check=True, timeout=60):
        """Runs a command in the namespace; returns what it printed."""
        done = subprocess.run(["ip", "netns", "exec", self.name, *map(str, command)], text=True,
                              capture_output=True, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}:\n"
                               f"{done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, *command):
        """Starts a command in the namespace; a process.Child, the caller's to kill()."""
        return Child(command, namespace=self.name)

    def adopt(self, other, device, address=None, mac=None):
        """Moves a device here from another namespace, and sets it up."""
        other.run("ip", "link", "set", device, "netns", self.name)
        self.set_up(device, address, mac)

    def set_up(self, device, address=None, mac=None):
        # A quiet device: no addresses and no packets but those of the test.
        self.run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1", check=False)
        if mac:
            self.run("ip", "link", "set", device, "address", mac)
        if address:
            self.run("ip", "addr", "add", address, "dev", device)
        self.run("ip", "link", "set", device, "up")

    def raw_socket(self, device, vnet_header=False):
        return RawSocket(self, device, vnet_header)

    def socket(self, family, kind, protocol=0):
        """A socket that lives in the namespace."""
        return self.call(socket.socket, family, kind, protocol)

    def tap_queue(self, device):
        """A file that is a queue of the tap device, made by the first of them; the caller's to close."""
        file = self.call(os.open, "/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP_QUEUE))
        return file

    def call(self, function, *arguments):
        """Calls a function in the namespace, in the calling thread."""
        library = ctypes.CDLL(None, use_errno=True)
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        other = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if library.setns(other, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return function(*arguments)
            finally:
                if library.setns(own, CLONE_NEWNET):
                    os.abort()
        finally:
            os.close(own)
            os.close(other)

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True)


class RawSocket:
    """Sends and receives whole frames on a device in a namespace. VLAN tags, which the kernel keeps beside the
    frame, are put back into it. With `vnet_header`, frames go with virtio-net headers, GSO included."""

    def __init__(self, namespace, device, vnet_header):
        self.vnet_header = vnet_header
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if vnet_header:
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((device, ETH_P_ALL))

    def send(self, frame, header=None):
        if self.vnet_header:
            frame = VNET_HEADER.pack(*(header or (0, 0, 0, 0, 0, 0))) + frame
        self.socket.send(frame)

    def receive(self, timeout=10):
        """The next frame as (header, bytes); None when nothing comes in time."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            data, auxiliary, _, _ = self.socket.recvmsg(80000, 256)
        except TimeoutError:
            return None
        header = (0, 0, 0, 0, 0, 0)
        if self.vnet_header:
            header, data = VNET_HEADER.unpack_from(data), data[VNET_HEADER.size:]
        for level, kind, content in auxiliary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, tci, tpid = struct.unpack_from("=I12xHH", content)
                if status & TP_STATUS_VLAN_VALID:
                    data = data[:12] + struct.pack(">HH", tpid, tci) + data[12:]
                    # The start of the checksum was that of the frame without the tag.
                    header = header[:4] + (header[4] + (4 if header[0] & 1 else 0),) + header[5:]
        return header, data

    def receive_matching(self, matches, timeout=10):
        """The first frame that matches(frame); others are let go."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            received = self.receive(left)
            if received and matches(received[1]):
                return received
        raise Timeout("no matching frame")

    def close(self):
        self.socket.close()
