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
    guests: int = 2
    #: queue pairs of each guest
    queues: int = 1
    #: in namespaces: both programs are on the guests' core, and the switch has the other to itself
    together: bool = False
    #: only these contenders; None: all of the case
    only: tuple = None
    #: label of the point that weft's figure is shown as a share of
    base: str = None

    def setup(self):
        """What a contender is started with."""
        return self.idle, self.poll, self.workers, self.guests, self.queues


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
    #: measured with programs in two namespaces (namespaces.py), not with the generator
    namespaces: bool = False
    #: columns about weft alone: keys of report.COLUMNS
    columns: tuple = ("cycles", "generator", "lost")


def size_points(sizes):
    return tuple(Point(str(size), ("--size", str(size))) for size in sizes)


def both_ways(sizes):
    return tuple(Point(f"{size} both", ("--size", str(size), "--both"), base=str(size))
                 for size in sizes)


SIZES = (64, 256, 512, 1024, 1518, "imix")
RATES = ((10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M"), (3_000_000, "3 M"),
         (10_000_000, "10 M"))

L2 = Case(
    "l2", "Guest to guest through the bridge",
    "Frames from one guest to another on one forwarding core, split rings of 1024. Sizes are "
    "without FCS; *both* is the sum of both ways at once. *limit's own* cycles are what one copy "
    "between the rings costs while there are frames: where the generator is busy all the time, the "
    "limit's Mpps are the generator's, and only its cycles tell what the memory takes of both, and "
    "what both ways at once cost a bare copy: the frames of two rings may fit into the core's own "
    "cache where those of four do not.",
    "mpps", "Mpps", size_points(SIZES) + both_ways((64, 1518, "imix")),
    ("limit", "weft", "testpmd", "ovs", "vpp"), columns=("cycles", "move", "generator", "lost"))

FLOWS = Case(
    "flows", "Many flows",
    "64-byte frames that belong to so many flows in turn (addresses and ports differ). The "
    "generator writes the headers of each frame, those of a single flow, too, so that its own work "
    "is the same in all rows.",
    "mpps", "Mpps",
    tuple(Point(label, ("--headers", "--flows", str(count)), base=None if count == 1 else "1")
          for count, label in ((1, "1"), (1 << 10, "1 k"), (1 << 20, "1 M"))),
    ("limit", "weft", "testpmd", "ovs", "vpp"))

MACS = Case(
    "macs", "Many MAC addresses",
    "64-byte frames between so many MAC addresses in turn, half of them on each side, all learned "
    "before and used for two seconds; the generator writes the headers of each frame in all rows. "
    "*entry* is the memory of weft's table by its own statistics, for each address it can hold.",
    "mpps", "Mpps",
    tuple(Point(label, ("--headers", "--macs", str(count), "--warm-up", "2"),
                base=None if count == 2 else "2")
          for count, label in ((2, "2"), (2000, "2,000"), (64000, "64,000"))),
    ("limit", "weft", "ovs", "vpp"), columns=("cycles", "generator", "lost", "entry"))

PORTS = Case(
    "ports", "A thousand quiet ports",
    "The busy pair alone, and beside connected guests that say nothing. *processor* is what weftd "
    "takes of one core with adaptive polling while the pair sends one frame a second. *resident* "
    "is all of weftd's memory but what guests lend it, page tables included; *a port* what each "
    "idle one adds.",
    "mpps", "Mpps",
    (Point("0 idle", ("--size", "64")),
     Point("1000 idle", ("--size", "64"), idle=1000, base="0 idle"),
     Point("0 idle, imix", ("--size", "imix")),
     Point("1000 idle, imix", ("--size", "imix"), idle=1000, base="0 idle, imix"),
     Point("1000 idle, 1 frame/s", ("--rate", "1", "--warm-up", "1", "--duration", "3"),
           idle=1000, poll="adaptive")),
    ("weft",), repeats=3,
    columns=("cycles", "generator", "lost", "processor", "resident", "port"))

GUESTS = Case(
    "guests", "More guests",
    "64-byte frames between so many guests in pairs, each pair one way; all share one core.",
    "mpps", "Mpps",
    tuple(Point(str(count), ("--size", "64"), guests=count, base=None if count == 2 else "2")
          for count in (2, 4, 8)),
    ("limit", "weft", "ovs"))

NEIGHBOURS = Case(
    "neighbours", "A quiet guest beside busy ones",
    "Latency of 64-byte frames of one pair that sends 100,000 a second, alone and beside pairs "
    "that send all they can; all share one core. What they all need to look round their rings "
    "counts, too.",
    "latency_us.p50", "us",
    tuple(Point(f"{busy} busy", ("--quiet", "100000", "--latency", "--batch", "32"),
                guests=2 + 2 * busy) for busy in (0, 1, 3, 7)),
    ("weft", "ovs"), better="lower", columns=("p90", "p99", "p999", "lost"))

QUEUES = Case(
    "queues", "Several queues",
    "64-byte frames of 1,024 flows, spread over so many queues of each guest. *reordered* counts "
    "frames that came after a later one of the same flow.",
    "mpps", "Mpps",
    tuple(Point(str(count), ("--size", "64", "--flows", "1024", "--queues", str(count)),
                queues=count, base=None if count == 1 else "1")
          for count in (1, 2, 4)),
    ("weft",), columns=("cycles", "generator", "lost", "reordered"))

def rate_options(rate):
    return "--rate", str(rate), "--latency", "--batch", "32"


LATENCY = Case(
    "latency", "Latency",
    "From the moment before the sender writes the frame until the receiver has seen it, 64 bytes, "
    "median at each rate; the histograms are in the JSON file. Adaptive, switch and limit line "
    "sleep when nothing has come for 50 us, as between frames at 10 k/s, and are woken.",
    "latency_us.p50", "us",
    tuple(Point(f"{label}/s", rate_options(rate)) for rate, label in RATES)
    + tuple(Point(f"{label}/s adaptive", rate_options(rate), poll="adaptive")
            for rate, label in RATES[:3]),
    ("limit", "weft", "testpmd", "ovs", "vpp"), better="lower", columns=("p90", "p99", "p999"))

STARTUP = Case(
    "startup", "Start",
    "From starting the program until the first frame has arrived at the other guest; the guests "
    "are waiting.",
    "startup_ms", "ms", (Point("first frame", ("--duration", "0.1", "--warm-up", "0")),),
    ("weft", "testpmd", "ovs"), better="lower", columns=("resident",))

GSO = Case(
    "gso", "64 KiB frames",
    "TCP frames of 65,214 bytes that the receiver takes whole, rings of 256; *memcpy* copies as "
    "many buffers of that size, of which the other core touches what the guests touch of a frame.",
    "gbps", "Gbit/s",
    (Point("64 KiB", ("--size", "65214", "--offload", "--ring", "256", "--batch", "32")),),
    ("memcpy", "limit", "weft"))


def tcp_points():
    for placing in ("", ", guests apart"):
        for control, options in (("", ()), (", CUBIC", ("-C", "cubic"))):
            for count in (1, 4):
                label = f"{count} connection{'s' if count > 1 else ''}{control}{placing}"
                yield Point(label, ("-P", str(count), *options), together=not placing)


TCP = Case(
    "tcp", "TCP between two namespaces",
    "iperf3 over two taps, frames of up to 64 KiB with checksum offload, and over two veth pairs "
    "with the kernel's bridge, which works in the context of whoever sends. With the machine's own "
    "congestion control, and with CUBIC: BBR spaces what it sends out, which takes the guests' "
    "core longer than either switch; CUBIC sends what it may. Both guests share one core and the "
    "switch has the other, as in the other cases; or each guest has a core, and the receiver "
    "shares its own with weft's worker, with adaptive polling. Through taps each frame is copied "
    "out of the kernel and in again, while the bridge hands on what it got: that tells where the "
    "guests do not hold it up.",
    "gbps", "Gbit/s",
    tuple(tcp_points()),
    ("weft", "bridge"), columns=(), namespaces=True)

TAPS = Case(
    "taps", "Short frames between two namespaces",
    "A program sends frames of one size, without FCS, as many as it can; over two taps, adaptive "
    "polling, and over two veth pairs with the kernel's bridge, which works in the context of "
    "whoever sends. What arrives is counted by the kernel and dropped.",
    "mpps", "Mpps",
    tuple(Point(str(size), (str(size),), together=True) for size in (60, 512, 1514)),
    ("weft", "bridge"), columns=(), namespaces=True)

RESPONSE = Case(
    "response", "Question and answer between two namespaces",
    "A program asks another by UDP, 32 bytes, and asks again when it has the answer: the median of "
    "the round trips. Over two taps, adaptive polling, and over two veth pairs with the kernel's "
    "bridge, which works in the context of whoever sends and so wakes nobody in between. Both "
    "programs share one core and the switch has the other, or each has a core, and the one that "
    "answers shares its own with weft's worker.",
    "latency_us.p50", "us",
    (Point("guests together", (), together=True), Point("guests apart", ())),
    ("weft", "bridge"), better="lower", columns=("p90", "p99"), namespaces=True)

FORMATS = (("split", ()), ("split, in order", ("--in-order",)), ("packed", ("--packed",)),
           ("packed, in order", ("--packed", "--in-order")))

PACKED = Case(
    "packed", "Ring formats",
    "The same frames over split and packed rings, each with and without IN_ORDER.",
    "mpps", "Mpps",
    tuple(Point(f"{size} {name}", ("--size", str(size), *options),
                base=f"{size} split" if options else None)
          for size in (64, 512, "imix") for name, options in FORMATS),
    ("weft", "testpmd"))

WORKERS = Case(
    "workers", "What sharing costs",
    "64-byte frames one way, adaptive polling, carried by one worker: alone, and beside a second "
    "one that polls the receiver's sending queue and sleeps. With several workers each batch takes "
    "the lock of the queue it goes to.",
    "mpps", "Mpps",
    (Point("1 worker", ("--size", "64"), poll="adaptive"),
     Point("2 workers, one asleep", ("--size", "64"), poll="adaptive", workers=2,
           base="1 worker")),
    ("weft",))

ALL = {case.name: case for case in (L2, PORTS, MACS, FLOWS, LATENCY, STARTUP, GSO, TCP, TAPS,
                                    RESPONSE, PACKED, QUEUES, GUESTS, NEIGHBOURS, WORKERS)}
DEFAULT = ("l2",)
