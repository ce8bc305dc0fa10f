"""The cases of bench.py: what is measured, with which generator options, and what a figure means.

A point is one line of a case: its label, the generator's options, and how the contender is set up
for it. Points of equal set-up share one start of the contender."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Point:
    label: str
    options: tuple
    idle: int = 0
    poll: str = "busy"
    #: of weft; all but the first on the guests' core
    workers: int = 1
    #: only these contenders; None: all of the case
    only: tuple = None


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    text: str
    #: the figure that is shown: a path in the generator's result, its unit
    figure: str
    unit: str
    points: tuple
    contenders: tuple
    #: "higher" or "lower" is better
    better: str = "higher"
    repeats: int = 5
    plot: str = "bars"


def size_points(sizes, *extra):
    return tuple(Point(f"{size}{' both' if '--both' in extra else ''}",
                       ("--size", str(size), *extra)) for size in sizes)


SIZES = (64, 256, 512, 1024, 1518, "imix")
RATES = ((10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M"), (3_000_000, "3 M"))

L2 = Case(
    "l2", "Guest to guest through the bridge",
    "Frames from one guest to another on one forwarding core, split rings of 1024. Sizes are "
    "without FCS; *both* is the sum of both ways at once.",
    "mpps", "Mpps", size_points(SIZES) + size_points((64, 1518, "imix"), "--both"),
    ("limit", "weft", "testpmd", "ovs", "vpp"))

FLOWS = Case(
    "flows", "Many flows",
    "64-byte frames that belong to so many flows in turn (addresses and ports differ).",
    "mpps", "Mpps",
    tuple(Point(label, ("--flows", str(count)))
          for count, label in ((1, "1"), (1 << 10, "1 k"), (1 << 20, "1 M"))),
    ("limit", "weft", "testpmd", "ovs"))

MACS = Case(
    "macs", "Many MAC addresses",
    "64-byte frames between so many MAC addresses in turn, half of them on each side, all learned "
    "before and used for two seconds.",
    "mpps", "Mpps",
    tuple(Point(label, ("--macs", str(count), "--warm-up", "2"))
          for count, label in ((2, "2"), (2000, "2,000"), (64000, "64,000"))),
    ("limit", "weft", "ovs"))

PORTS = Case(
    "ports", "A thousand quiet ports",
    "The busy pair alone, and beside connected guests that say nothing. *processor* is what weftd "
    "takes of one core with adaptive polling while the pair sends one frame a second.",
    "mpps", "Mpps",
    (Point("0 idle", ("--size", "64")),
     Point("1000 idle", ("--size", "64"), idle=1000),
     Point("1000 idle, imix", ("--size", "imix"), idle=1000),
     Point("1000 idle, 1 frame/s", ("--rate", "1", "--warm-up", "1", "--duration", "3"),
           idle=1000, poll="adaptive")),
    ("weft",), repeats=3)

LATENCY = Case(
    "latency", "Latency",
    "From the moment before the sender writes the frame until the receiver has seen it, 64 bytes, "
    "median at each rate; p99 and p99.9 are in the JSON file.",
    "latency_us.p50", "us",
    tuple(Point(f"{label}/s", ("--rate", str(rate), "--latency", "--batch", "32"))
          for rate, label in RATES)
    + tuple(Point(f"{label}/s adaptive", ("--rate", str(rate), "--latency", "--batch", "32"),
                  poll="adaptive", only=("weft",)) for rate, label in RATES[:3]),
    ("limit", "weft", "testpmd", "ovs"), better="lower")

STARTUP = Case(
    "startup", "Start",
    "From starting the program until the first frame has arrived at the other guest; the guests "
    "are waiting.",
    "startup_ms", "ms", (Point("first frame", ("--duration", "0.1", "--warm-up", "0")),),
    ("weft", "testpmd", "ovs"), better="lower")

GSO = Case(
    "gso", "64 KiB frames",
    "TCP frames of 65,214 bytes that the receiver takes whole, rings of 256.",
    "gbps", "Gbit/s",
    (Point("64 KiB", ("--size", "65214", "--offload", "--ring", "256", "--batch", "32")),),
    ("limit", "weft"))

TCP = Case(
    "tcp", "TCP between two namespaces",
    "One connection of iperf3 over two taps, frames of up to 64 KiB with checksum offload, and "
    "over two veth pairs with the kernel's bridge. Sender on one core; receiver and weft's worker, with "
    "adaptive polling, share the other.",
    "gbps", "Gbit/s",
    (Point("1 connection", ()), Point("4 connections", ("-P", "4"))),
    ("weft", "bridge"), repeats=5)

FORMATS = (("split", ()), ("split, in order", ("--in-order",)), ("packed", ("--packed",)),
           ("packed, in order", ("--packed", "--in-order")))

PACKED = Case(
    "packed", "Ring formats",
    "The same frames over split and packed rings, each with and without IN_ORDER.",
    "mpps", "Mpps",
    tuple(Point(f"{size} {name}", ("--size", str(size), *options))
          for size in (64, 512, "imix") for name, options in FORMATS),
    ("weft", "testpmd"))

WORKERS = Case(
    "workers", "What sharing costs",
    "64-byte frames one way, adaptive polling, carried by one worker: alone, and beside a second "
    "one that polls the receiver's sending queue and sleeps. With several workers each batch takes the "
    "lock of the queue it goes to.",
    "mpps", "Mpps",
    (Point("1 worker", ("--size", "64"), poll="adaptive"),
     Point("2 workers, one asleep", ("--size", "64"), poll="adaptive", workers=2)),
    ("weft",))

ALL = {case.name: case for case in (L2, PORTS, MACS, FLOWS, LATENCY, STARTUP, GSO, TCP,
                                 PACKED, WORKERS)}
DEFAULT = ("l2",)
