"""What bench.py says of its measurements: tables on the terminal, plots, docs/performance.md."""

import os
import platform
import statistics

import cases
import contenders
import namespaces
import svg

ALL = contenders.ALL + [namespaces.KernelBridge]
TITLES = {contender.name: contender.title for contender in ALL}
SETUPS = {contender.name: contender.setup for contender in ALL}


def figure(case, record):
    """The value a case is about, or None."""
    value = record
    for key in case.figure.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


class Summary:
    """The valid runs of one contender at one point."""

    def __init__(self, case, records, disturbed=False):
        self.records = records
        label = records[0]["point"]
        self.point = next(point for point in case.points if point.label == label)
        self.disturbed = disturbed
        values = sorted(figure(case, record) for record in records)
        self.count = len(values)
        self.median = statistics.median(values)
        quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 \
            else [values[0]] * 3
        self.low, self.high = quartiles[0], quartiles[2]

    def spread(self):
        return (self.high - self.low) / 2 / self.median if self.median else 0.0

    def middle(self, *keys):
        """Median of another figure of the same runs; None where it was not measured."""
        found = []
        for record in self.records:
            value = record
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found.append(value)
        return statistics.median(found) if found else None

    def lost(self):
        sent = sum(record["sent"] for record in self.records)
        return sum(record["lost"] for record in self.records) / sent if sent else 0.0


def summarise(case, results):
    """{(point, contender): Summary} of all valid runs. Where there is none, the disturbed ones
    stand in and are marked: better a figure with a warning than a hole."""
    valid, disturbed = {}, {}
    for record in results["records"]:
        if record["case"] == case.name and figure(case, record) is not None:
            grouped = valid if record["dropped"] is None else disturbed
            grouped.setdefault((record["point"], record["contender"]), []).append(record)
    summaries = {key: Summary(case, records, True) for key, records in disturbed.items()}
    summaries.update((key, Summary(case, records)) for key, records in valid.items())
    return summaries


def measured_cases(results):
    names = {record["case"] for record in results["records"]}
    return [case for name, case in cases.ALL.items() if name in names]


def doubt(*summaries):
    """What stands before a figure made of disturbed runs."""
    return "~" if any(summary.disturbed for summary in summaries) else ""


def ratio(case, summaries, point, peer):
    """How many times as good as the peer weft is; for the limit, the share of it."""
    ours, other = summaries.get((point, "weft")), summaries.get((point, peer))
    if ours is None or other is None or not other.median or not ours.median:
        return "-"
    mark = doubt(ours, other)
    if case.better == "lower":
        return f"{mark}{other.median / ours.median:.2f}x"
    if peer == "limit":
        return f"{mark}{100 * ours.median / other.median:.0f} %"
    return f"{mark}{ours.median / other.median:.2f}x"


def cell(summary):
    if summary is None:
        return "-"
    digits = 2 if summary.median < 100 else 0
    return (f"{doubt(summary)}{summary.median:.{digits}f} ±{100 * summary.spread():.0f} % "
            f"n={summary.count}")


def optional(value, form):
    return "-" if value is None else form.format(value)


def middle(form, *keys, factor=1):
    """A column of the median of one figure."""
    def text(summary, base):
        value = summary.middle(*keys)
        return optional(None if value is None else value * factor, form)
    return text


def cycles(summary, base):
    """Of the worker's whole time, which is its work only where frames wait for it."""
    paced = "--rate" in summary.point.options
    return "-" if paced else optional(summary.middle("cycles_per_frame"), "{:.0f}")


def processor_share(summary, base):
    """Of one core; only where it may sleep does that say anything."""
    share = summary.middle("switch_processor")
    return "-" if share is None or summary.point.poll == "busy" else f"{100 * share:.2f} %"


def lost(summary, base):
    return f"{summary.lost():.4%}"


def reordered(summary, base):
    return str(sum(record.get("reordered", 0) for record in summary.records))


def port_memory(summary, base):
    """What each idle port adds to the memory of a weftd without them."""
    idle = summary.point.idle
    if base is None or not idle:
        return "-"
    return f"{(summary.middle('resident_kib') - base.middle('resident_kib')) / idle:.1f} KiB"


def entry_memory(summary, base):
    size, limit = summary.middle("table", "bytes"), summary.middle("table", "limit")
    return "-" if not size or not limit else f"{size / limit:.0f} bytes"


#: columns about one contender, weft unless told: heading, and text of a summary and that of the point
#: it is held against
COLUMNS = {
    "cycles": ("weft cycles/frame", cycles),
    "move": ("limit's own cycles/frame", middle("{:.0f}", "stages", "move"), "limit"),
    "generator": ("generator busy", middle("{:.0f} %", "generator", "busy", factor=100)),
    "lost": ("weft lost", lost),
    "reordered": ("weft reordered", reordered),
    "processor": ("weft processor", processor_share),
    "resident": ("weft resident", middle("{:.0f} KiB", "resident_kib")),
    "port": ("weft a port", port_memory),
    "entry": ("weft entry", entry_memory),
    "p90": ("weft p90 us", middle("{:.2f}", "latency_us", "p90")),
    "p99": ("weft p99 us", middle("{:.2f}", "latency_us", "p99")),
    "p999": ("weft p99.9 us", middle("{:.2f}", "latency_us", "p999")),
}


def share_of_base(ours, base):
    return "-" if ours is None or base is None or not base.median else \
        f"{doubt(ours, base)}{100 * ours.median / base.median:.0f} %"


def details(case, summaries, point):
    """The columns about one contender alone."""
    def of(contender):
        return [summaries.get((label, contender)) for label in (point.label, point.base)]

    texts = [share_of_base(*of("weft"))] if has_bases(case) else []
    for name in case.columns:
        _, text, *whose = COLUMNS[name]
        summary, base = of(*whose or ["weft"])
        texts.append("-" if summary is None else text(summary, base))
    return texts


def detail_names(case):
    return (["weft / base"] if has_bases(case) else []) + \
        [COLUMNS[name][0] for name in case.columns]


def has_bases(case):
    return any(point.base for point in case.points)


#: the plot beside that of case latency
DISTRIBUTIONS = "latency-distribution.svg"


def present_in(summaries):
    return [contender.name for contender in ALL
            if any(name == contender.name for _, name in summaries)]


def table(case, results):
    """Header and rows, as texts."""
    summaries = summarise(case, results)
    names = present_in(summaries)
    peers = [name for name in names if name != "weft"]
    header = [case.unit] + [TITLES[name] for name in names] + \
        [f"weft / {TITLES[name]}" for name in peers] + detail_names(case)
    rows = []
    for point in case.points:
        if not any((point.label, name) in summaries for name in names):
            continue
        rows.append([point.label + (f" (base {point.base})" if point.base else "")]
                    + [cell(summaries.get((point.label, name))) for name in names]
                    + [ratio(case, summaries, point.label, name) for name in peers]
                    + details(case, summaries, point))
    return header, rows


def print_tables(results):
    for case in measured_cases(results):
        header, rows = table(case, results)
        widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
        print(f"\n{case.title} ({apart(case, results)})")
        for row in [header] + rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    dropped = [record for record in results["records"] if record["dropped"]]
    print(f"\n{len(results['records'])} runs, {len(dropped)} of them dropped; "
          "~: no run was left undisturbed")


def distributions(results):
    """{label: {us: frames}} of weft's latencies in that case, from all valid runs."""
    found = {}
    for record in results["records"]:
        if (record["case"], record["contender"], record["dropped"]) != ("latency", "weft", None):
            continue
        pairs = record.get("latency_us", {}).get("histogram")
        if pairs:
            sums = found.setdefault(record["point"], {})
            for us, frames in pairs:
                sums[us] = sums.get(us, 0) + frames
    return found


def write_distributions(results, directory):
    """False where no latency was measured."""
    found = distributions(results)
    if found:
        with open(os.path.join(directory, DISTRIBUTIONS), "w") as file:
            file.write(svg.distributions("Latency of weft by percentile", "us", found))
    return bool(found)


def write_plots(results, directory):
    written = []
    write_distributions(results, directory)
    for case in measured_cases(results):
        summaries = summarise(case, results)
        if not summaries:
            continue
        points = [point.label for point in case.points
                  if any(label == point.label for label, _ in summaries)]
        values = {key: (summary.median, summary.low, summary.high)
                  for key, summary in summaries.items()}
        with open(os.path.join(directory, f"{case.name}.svg"), "w") as file:
            file.write(svg.bars(case.title, case.unit, points, present_in(summaries), TITLES,
                                values))
        written.append(case.name)
    return written


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    except (OSError, KeyError):
        return platform.processor() or "unknown"


def describe_machine(context):
    try:
        distance = f"{context.distance():.0f} ns at the end"
    except (OSError, ValueError):
        distance = "unknown"
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) // 1024
    with open("/proc/cpuinfo") as file:
        virtual = " hypervisor" in file.read()
    try:
        with open("/etc/os-release") as file:
            system = dict(line.strip().split("=", 1) for line in file if "=" in line)
    except OSError:
        system = {}
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        control = file.read().strip()
    return {"processor": processor(), "cores": os.cpu_count(), "virtual machine": virtual,
            "memory": f"{memory} MiB", "kernel": platform.release(),
            "system": system.get("PRETTY_NAME", "unknown").strip('"'),
            "congestion control of TCP": control,
            "guests on core": context.guest_core, "switch on core": context.switch_core,
            "distance of the cores": distance}


def valid_distances(results):
    """[(case, ns)] of all valid runs."""
    return [(record["case"], record["distance_before"]) for record in results["records"]
            if record["dropped"] is None]


def distances(results):
    seen = [distance for _, distance in valid_distances(results)]
    if not seen:
        return "no valid run"
    return f"{min(seen):.0f} to {max(seen):.0f} ns, median {statistics.median(seen):.0f} ns"


def apart(case, results):
    """How far the cores were from each other, which all figures of a case follow."""
    seen = [distance for name, distance in valid_distances(results) if name == case.name]
    return f"cores {statistics.median(seen):.0f} ns apart" if seen else "no run undisturbed"


def markdown_table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def scaling(results):
    """What is known of several workers, in words, from the cycles of one."""
    summaries = summarise(cases.L2, results)
    ours = summaries.get(("64", "weft"))
    total = ours and ours.middle("cycles_per_frame")
    transmit = ours and ours.middle("stages", "transmit")
    if not total or not transmit:
        return []
    return ["", "## More workers", "",
            "Worked out, not measured: the guests take one of the cores here. A worker has its own "
            "rings to poll, burst, batches and counters; the MAC table is read without a lock, and "
            "written only when an address is new, has moved, or was last seen a second ago. What "
            "workers share is the queue they send to, which one of them has at a time, for a batch "
            "of up to 256 frames; without contention the lock costs one exchange a batch, which is "
            "lost in the spread of the case *workers*.", "",
            f"A 64-byte frame costs {total:.0f} cycles here, {transmit:.0f} of them with the "
            "receiver's queue in hand. So n workers that send to different queues carry n times as "
            "much, until memory or the way between the cores is full; and however many send to one "
            f"queue, that queue takes {total / transmit:.1f} times what one worker brings. A guest "
            "with several queues has its flows spread over them, and its own queues polled by "
            "several workers. Queues move from worker to worker by load, one a second at most; a "
            "move costs that queue three grace periods, in which its frames wait."]


#: how docs/performance.md begins
PREFACE = """\
Made by `./run bench` from its measurements; not edited by hand. Each figure is the median of *n* \
runs in which the contenders took turns, ± half the distance between the quartiles. Runs in which \
the cores moved or other work got in the way are dropped: {dropped} of {count} here; ~ marks a \
figure of which no run was left, made of disturbed ones. All frames received are checked for \
magic, length and sequence, one in 64 byte by byte and for both checksums. Cycles are those of the \
time stamp counter, and count the whole worker. How far the cores are from each other is the time \
a cache line takes there and back; virtual cores move, so it differs from case to case, and only \
figures of one case compare. *weft / base* holds weft's figure against its own of another row; \
*generator busy* is the share of its time in which the generator had something to do, near 100 % \
where it is what limits."""


def case_section(case, results, plots):
    lines = [f"## {case.title}", "", f"{case.text} {apart(case, results).capitalize()}.", ""]
    lines += markdown_table(*table(case, results))
    if case.name in plots:
        lines += ["", f"![{case.title}]({case.name}.svg)"]
    if case.name == "latency" and distributions(results):
        lines += ["", f"![Latency by percentile]({DISTRIBUTIONS})"]
    return "\n".join(lines)


def whole_document(results, plots):
    names = sorted({record["contender"] for record in results["records"]},
                   key=list(TITLES).index)
    dropped = sum(1 for record in results["records"] if record["dropped"])
    lines = ["# Performance", "",
             PREFACE.format(dropped=dropped, count=len(results["records"])), "", "## Machine", ""]
    lines += [f"- {key}: {value}" for key, value in results["machine"].items()]
    lines += [f"- cache line there and back, valid runs: {distances(results)}", "",
              "## Contenders", ""]
    lines += [f"- **{TITLES[name]}**: {SETUPS[name]}" for name in names]
    lines += [f"- without {TITLES[name]}: {why}" for name, why in results["absent"].items()]
    for case in measured_cases(results):
        lines += ["", case_section(case, results, plots)]
    lines += scaling(results)
    return "\n".join(lines) + "\n"


def amend_document(text, results, plots):
    """The document with the sections of these results' cases in their places, each with a word on
    where they are from."""
    order = ["Contenders"] + [case.title for case in cases.ALL.values()]
    parts = text.rstrip("\n").split("\n\n## ")
    machine = results["machine"]
    for case in measured_cases(results):
        control = machine.get("congestion control of TCP", "unknown")
        section = case_section(case, results, plots)[len("## "):] + \
            f"\n\nMeasured apart from the other cases, on {machine['processor']}, kernel " \
            f"{machine['kernel']}, TCP's congestion control {control}."
        titles = [part.split("\n", 1)[0] for part in parts]
        if case.title in titles:
            parts[titles.index(case.title)] = section
        else:
            before = [titles.index(title) for title in order[:order.index(case.title)]
                      if title in titles]
            parts.insert(max(before) + 1, section)
    return "\n\n## ".join(parts) + "\n"


def write_document(results, directory):
    """Writes performance.md; where there is one already and not all cases were measured now, only
    their sections."""
    plots = write_plots(results, directory)
    path = os.path.join(directory, "performance.md")
    if len(measured_cases(results)) < len(cases.ALL) and os.path.exists(path):
        with open(path) as file:
            text = amend_document(file.read(), results, plots)
    else:
        text = whole_document(results, plots)
    with open(path, "w") as file:
        file.write(text)
