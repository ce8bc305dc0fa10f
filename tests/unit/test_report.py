#!/usr/bin/python3
"""The report of bench.py, from made-up runs of every case: medians, ratios, what is left out."""

import os
import sys
import tempfile
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))

import cases  # noqa: E402
import report  # noqa: E402


def run(case, contender, point, value, dropped=None, **more):
    """One run of a generator, as measure.py hands it on."""
    return {"case": case.name, "contender": contender, "point": point.label, "round": 0,
            "mpps": value, "gbps": value, "startup_ms": value, "sent": 1000, "lost": 1,
            "reordered": 0, "cycles_per_frame": 100.0, "resident_kib": 10000,
            "switch_processor": 0.005, "generator": {"busy": 0.5},
            "latency_us": {"p50": value, "p90": value, "p99": value, "p999": value,
                           "histogram": [[0.2, 90], [0.4, 9], [20.0, 1]]},
            "table": {"bytes": 4096, "limit": 128}, "stages": {"transmit": 40.0},
            "distance_before": 100.0, "distance_after": 100.0, "dropped": dropped, **more}


def results_of(records):
    return {"machine": {"cores": 2}, "absent": {"vpp": "no --vpp PROGRAM"}, "quick": True,
            "records": records}


def row(case, results, label):
    header, rows = report.table(case, results)
    return dict(zip(header, next(row for row in rows if row[0].startswith(label))))


class Report(unittest.TestCase):
    def test_medians_and_ratios(self):
        point = cases.L2.points[0]
        records = [run(cases.L2, "weft", point, value) for value in (9.0, 10.0, 30.0)]
        records += [run(cases.L2, "limit", point, 20.0), run(cases.L2, "ovs", point, 4.0),
                    run(cases.L2, "ovs", point, 400.0, dropped="the cores moved")]
        shown = row(cases.L2, results_of(records), "64")
        self.assertRegex(shown["weft"], "^10.00 ±.* n=3$")
        self.assertEqual(shown["weft / limit"], "50 %")
        self.assertEqual(shown["weft / OVS-DPDK NORMAL"], "2.50x")
        self.assertEqual(shown["generator busy"], "50 %")
        self.assertEqual(shown["weft lost"], "0.1000%")

    def test_only_disturbed_runs_are_marked(self):
        point = cases.L2.points[0]
        records = [run(cases.L2, "weft", point, 7.0, dropped="the generator waited")]
        self.assertRegex(row(cases.L2, results_of(records), "64")["weft"], "^~7.00 ")

    def test_shares_of_weft_itself(self):
        none, thousand = cases.PORTS.points[:2]
        records = [run(cases.PORTS, "weft", none, 10.0),
                   run(cases.PORTS, "weft", thousand, 9.5, resident_kib=30000),
                   run(cases.MACS, "weft", cases.MACS.points[0], 10.0)]
        shown = row(cases.PORTS, results_of(records), thousand.label)
        self.assertEqual(shown["weft / base"], "95 %")
        self.assertEqual(shown["weft a port"], "20.0 KiB")
        self.assertEqual(shown["weft processor"], "-")
        self.assertEqual(row(cases.MACS, results_of(records), "2")["weft entry"], "32 bytes")

    def test_lower_is_better(self):
        point = cases.LATENCY.points[0]
        records = [run(cases.LATENCY, name, point, value)
                   for name, value in (("weft", 0.2), ("testpmd", 0.3))]
        shown = row(cases.LATENCY, results_of(records), point.label)
        self.assertEqual(shown["weft / testpmd io"], "1.50x")

    def test_document_of_all_cases(self):
        records = [run(case, contender, point, 5.0) for case in cases.ALL.values()
                   for point in case.points for contender in case.contenders]
        with tempfile.TemporaryDirectory() as directory:
            report.write_document(results_of(records), directory)
            with open(os.path.join(directory, "performance.md")) as file:
                text = file.read()
            for case in cases.ALL.values():
                self.assertIn(f"## {case.title}\n", text)
                self.assertIn(f"({case.name}.svg)", text)
            self.assertIn("without VPP L2 bridge: no --vpp PROGRAM", text)
            self.assertNotRegex(text, "None|nan")
            plots = [name for name in os.listdir(directory) if name.endswith(".svg")]
            self.assertEqual(len(plots), len(cases.ALL) + 1)
            for name in plots:
                xml.dom.minidom.parse(os.path.join(directory, name))


if __name__ == "__main__":
    unittest.main()
