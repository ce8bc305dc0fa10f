#!/usr/bin/python3
"""Measures weft beside its peers: ./run bench [--quick] [CASE...]

Contenders take turns, run by run, so that whatever changes on the machine meets all of them.
A measurement in which the cores moved, or something else ran on them, is dropped and repeated.
Writes results.json and plots beside the build, and docs/performance.md with --docs."""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cases  # noqa: E402
import contenders  # noqa: E402
import measure  # noqa: E402
import namespaces  # noqa: E402
import report  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./run bench", description="Measures weft beside its peers.",
        epilog="cases: " + ", ".join(f"{case.name} ({case.title.lower()})"
                                     for case in cases.ALL.values()))
    parser.add_argument("cases", nargs="*", metavar="CASE",
                        help="what to measure, or all; l2 if nothing is said")
    parser.add_argument("--build", required=True, metavar="DIRECTORY",
                        help="the build directory, configured with -Dbench=true")
    parser.add_argument("--quick", action="store_true", help="two minutes: three short runs each")
    parser.add_argument("--only", metavar="NAME,NAME", help="these contenders: " + ", ".join(
        contender.name for contender in report.ALL))
    parser.add_argument("--repeats", type=int, help="valid runs of each point")
    parser.add_argument("--duration", type=float, help="seconds of each run")
    parser.add_argument("--cores", default="0,1", metavar="GUESTS,SWITCH",
                        help="where the guests and the switch's worker run (0,1)")
    parser.add_argument("--within", type=float, metavar="NS",
                        help="wait before each run until the cores are so near to each other")
    parser.add_argument("--priority", type=int, default=0, metavar="NICE",
                        help="nice value of all that is measured; below 0 needs root")
    parser.add_argument("--vpp", metavar="PROGRAM", help="VPP, which is not looked for")
    parser.add_argument("--docs", metavar="DIRECTORY",
                        help="write performance.md and its plots there, or what of it was "
                             "measured")
    parser.add_argument("--output", metavar="DIRECTORY",
                        help="results.json and plots (BUILD/bench-results)")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="measure nothing: report on an earlier results.json")
    arguments = parser.parse_args()
    if arguments.cases == ["all"]:
        arguments.cases = list(cases.ALL)
    unknown = [name for name in arguments.cases if name not in cases.ALL]
    if unknown:
        parser.error(f"no case {unknown[0]}; there are {', '.join(cases.ALL)}")
    return arguments


def find_contenders(context, wanted):
    """Those that can run here; the others are told with the reason."""
    present, absent = [], {}
    for kind in report.ALL:
        if wanted and kind.name not in wanted:
            continue
        contender = kind(context)
        reason = contender.missing()
        if reason is None:
            present.append(contender)
        else:
            absent[kind.name] = reason
            print(f"without {kind.title}: {reason}", flush=True)
    return present, absent


def takes_part(case, contender, point):
    return (contender.name in case.contenders
            and (contender.cases is None or case.name in contender.cases)
            and (point.only is None or contender.name in point.only)
            and (point.poll == "busy" or contender.adaptive))


def groups(case):
    """Points of equal set-up, in order: contenders are started once for them."""
    found = {}
    for point in case.points:
        found.setdefault(point.setup(), []).append(point)
    return found.values()


#: how many times as far a run may be made as most
STRAY = 1.5


class Bench:
    def __init__(self, arguments, context):
        self.arguments = arguments
        self.context = context
        self.records = []
        self.seconds = arguments.duration or (0.3 if arguments.quick else 1.0)
        self.timing = ["--duration", str(self.seconds), "--warm-up", "0.1"]

    def repeats(self, case):
        return self.arguments.repeats or (3 if self.arguments.quick else case.repeats)

    def counted(self, case, contender, point):
        return sum(1 for record in self.records
                   if (record["case"], record["contender"], record["point"]) ==
                   (case.name, contender.name, point.label) and record["dropped"] is None)

    def keep(self, case, contender, point, number, result):
        within = self.context.within
        if result["dropped"] is None and within is not None \
                and result["distance_after"] > within:
            result["dropped"] = f"the cores moved: {result['distance_after']:.0f} ns"
        record = dict(case=case.name, contender=contender.name, point=point.label, round=number,
                      **result)
        self.records.append(record)
        value = report.figure(case, record)
        text = "-" if value is None else f"{value:8.2f} {case.unit}"
        note = f"  dropped: {result['dropped']}" if result["dropped"] else ""
        faults = measure.faults(result)
        note += f"  FAULTS: {', '.join(faults)}" if faults else ""
        print(f"{case.name:8} {point.label:18} {contender.name:8} {text}{note}", flush=True)

    def measure(self, case, contender, directory, point):
        self.context.wait_for_cores()
        if case.figure == "startup_ms":
            return measure.measure_start(self.context, contender, directory, point, self.timing)
        if case.namespaces:
            return namespaces.measure(self.context, contender, directory, case, point,
                                      self.seconds)
        if contender.name == "memcpy":
            return measure.measure_copy(self.context, point, self.seconds)
        if not contender.processes:
            contender.start(directory, point)
        contender.resume()
        return measure.measure(self.context, contender, point, self.timing)

    def run_group(self, case, points, present, number):
        """Points of equal set-up. At each of them the contenders take turns, so that what lasts for
        seconds on the machine meets all; each stands still until the next."""
        directories, failed = {}, set()
        turns = [(point, contender) for point in points for contender in present
                 if takes_part(case, contender, point)
                 and self.counted(case, contender, point) < self.repeats(case)]
        try:
            for point, contender in turns:
                if contender in failed:
                    continue
                if contender not in directories:
                    directories[contender] = tempfile.mkdtemp(prefix="weft-bench-")
                try:
                    self.keep(case, contender, point, number,
                              self.measure(case, contender, directories[contender], point))
                except contenders.Failure as failure:
                    print(f"{case.name:8} {contender.name}: {failure}", flush=True)
                    failed.add(contender)
                finally:
                    contender.pause()
        finally:
            for contender, directory in directories.items():
                contender.stop()
                shutil.rmtree(directory, ignore_errors=True)

    def run_case(self, case, present):
        """Rounds until each point has its valid runs, or twice as many were tried."""
        if case.namespaces and namespaces.missing(case) is not None:
            print(f"{case.name}: {namespaces.missing(case)}", flush=True)
            return
        for number in range(self.repeats(case) * 2):
            for points in groups(case):
                self.run_group(case, points, present, number)
            drop_strays([record for record in self.records if record["case"] == case.name])


def drop_strays(records):
    """Drops the runs of a case made at another distance of the cores than most, since ratios need
    one. Called again when there are more runs: it may be others then."""
    kept = [record for record in records if record["dropped"] is None or record.get("stray")]
    if not kept:
        return
    middle = statistics.median(record["distance_before"] for record in kept)
    for record in kept:
        near, far = sorted((middle, record["distance_before"]))
        record["stray"] = far > STRAY * near
        record["dropped"] = f"other distance of the cores than most: {middle:.0f} ns" \
            if record["stray"] else None


def measure_all(arguments):
    guests, switch = (int(core) for core in arguments.cores.split(","))
    hugepages = contenders.Hugepages()
    context = measure.Context(os.path.abspath(arguments.build), guests, switch, hugepages,
                              arguments.priority)
    context.vpp = arguments.vpp
    context.within = arguments.within
    bench = Bench(arguments, context)
    try:
        present, absent = find_contenders(
            context, arguments.only.split(",") if arguments.only else None)
        for name in arguments.cases or cases.DEFAULT:
            bench.run_case(cases.ALL[name], present)
    except KeyboardInterrupt:
        print("stopped; what was measured so far:", flush=True)
    finally:
        hugepages.release()
    return {"machine": report.describe_machine(context), "absent": absent,
            "quick": arguments.quick, "records": bench.records}


def stop(number, frame):
    """SIGTERM ends like ^C: what was started is stopped."""
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, stop)
    arguments = parse_arguments()
    output = arguments.output or os.path.join(arguments.build, "bench-results")
    os.makedirs(output, exist_ok=True)
    if arguments.source:
        with open(arguments.source) as file:
            results = json.load(file)
    else:
        results = measure_all(arguments)
        with open(os.path.join(output, "results.json"), "w") as file:
            json.dump(results, file, indent=1)
    report.print_tables(results)
    report.write_plots(results, output)
    print(f"\nall runs: {output}/results.json; plots beside it")
    if arguments.docs:
        os.makedirs(arguments.docs, exist_ok=True)
        report.write_document(results, arguments.docs)
        print(f"{arguments.docs}/performance.md")
    bad = [record for record in results["records"] if measure.faults(record)]
    for record in bad:
        print(f"FAULT: {record['contender']}, {record['case']} {record['point']}: "
              + ", ".join(measure.faults(record)))
    return 1 if any(record["contender"] == "weft" for record in bad) else 0


if __name__ == "__main__":
    sys.exit(main())
