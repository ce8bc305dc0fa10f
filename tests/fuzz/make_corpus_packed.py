#!/usr/bin/env python3
"""Writes the seeds of fuzz_packed into tests/fuzz/corpus/fuzz_packed: one for each layout of chain that guests use,
and one for each way to be bad. The format is told in fuzz_packed.c."""
import pathlib
import struct

DATA, REGION1, END1, NOWHERE, RING, TABLE = range(6)
NEXT, WRITE, INDIRECT = 1, 2, 4
HUGE, ENTRIES = 0x80, 0x40  # of where: length + 0xffff0000, length * 16
RAW = 0x80  # of flags: the last word of the record is the flags
SIZE = 8
START = 0x8000

ALLOW_INDIRECT, MERGEABLE, EVENT, LEGACY, LOG, LOG_USED, LOG_WILD, OFFLOADS = (1 << i for i in range(8))


def record(where, offset, length, flags=0, identity=3, raw=0):
    return struct.pack("<BBhHHH", where, flags, offset, length, identity, raw)


def journal(batch=(START, START, 0, START), tag=0):
    return struct.pack("<BBHBB4H", 0, 1, tag, 0, 0, *batch)


def seed(ring, table=(), settings=ALLOW_INDIRECT, in_order=0, size=SIZE, base=START, frames=0, memory=b"", past=None):
    ring = list(ring) + [record(DATA, 0, 0, RAW)] * (size - len(ring))
    table = list(table) + [record(DATA, 0, 0)] * (32 - len(table))
    return (struct.pack("<HBBBH", frames, settings, in_order, size - 1, base) + (past or journal())
            + b"".join(ring) + b"".join(table) + memory.ljust(64, b"\0"))


def main():
    used = record(DATA, 0, 0, RAW, raw=0x8080)
    seeds = {
        "single": seed([record(DATA, 0, 72)]),
        "several": seed([record(DATA, 0, 72, identity=i) for i in range(8)]),
        "in_order": seed([record(DATA, 0, 72, identity=i) for i in range(8)], in_order=1),
        "odd_size": seed([record(DATA, 0, 72)] * 5, size=5),
        "one": seed([record(DATA, 0, 72)], size=1),
        "header_and_data": seed([record(DATA, 0, 12, NEXT), record(REGION1, 0, 700)]),
        "second_round": seed([record(DATA, 0, 72, RAW, raw=0x8000)] * 8, base=3),
        "over_the_end": seed([record(DATA, 0, 72, RAW, raw=0x8000)] * 3 + [record(DATA, 0, 80, RAW, raw=0x8080)] * 3
                             + [record(DATA, 0, 12, NEXT)] * 2, base=START | 6),
        "indirect": seed([record(TABLE | ENTRIES, 0, 2, INDIRECT)], [record(DATA, 0, 12), record(REGION1, 0, 900)]),
        "across": seed([record(REGION1, -300, 1000)]),
        "tiny": seed([record(DATA, 5 * i, 5, NEXT) for i in range(7)] + [record(REGION1, 1, 400)]),
        "legacy": seed([record(DATA, 0, 70)], settings=LEGACY),
        "offload": seed([record(DATA, 0, 72)], settings=OFFLOADS, memory=bytes([1, 1, 54, 0, 100, 0, 34, 0, 16, 0])),
        "endless": seed([record(DATA, 0, 20, NEXT)] * 8),
        "no_end": seed([record(DATA, 0, 72), record(DATA, 0, 20, NEXT)]),
        "table_across": seed([record(REGION1 | ENTRIES, -24, 4, INDIRECT)]),
        "odd_table": seed([record(TABLE, 0, 17, INDIRECT)]),
        "huge": seed([record(DATA | HUGE, 0, 0xffff)]),
        "outside": seed([record(NOWHERE, -1, 80), record(END1, -10, 80)]),
        "receive": seed([record(DATA, 0, 1526, WRITE)] * 4, frames=0o12345),
        "receive_mergeable": seed([record(DATA, 0, 1526, WRITE)] * 8, frames=0o65,
                                  settings=MERGEABLE | LOG | LOG_USED | LOG_WILD),
        "receive_indirect": seed([record(TABLE | ENTRIES, 0, 2, INDIRECT)],
                                 [record(DATA, 0, 700, WRITE), record(REGION1, 9, 1000, WRITE)], frames=0o5),
        "receive_into_ring": seed([record(RING, 0, 2000, WRITE)] * 2, frames=0o44, settings=MERGEABLE),
        "receive_readonly": seed([record(DATA, 0, 200, WRITE | NEXT), record(DATA, 0, 900)], frames=0o5),
        "journal": seed([used] * 2, past=journal((START, START | 2, 2, START), 7), memory=b"\1\0" * 32),
        "journal_unseen": seed([used, record(DATA, 0, 72)], past=journal((START | 1, START | 2, 1, START), 7),
                               memory=b"\1\0" * 32),
        "journal_wild": seed([used] * 2, past=journal((0xffff, 0x7fff, 0xffff, 9), 7), memory=b"\1\0" * 32),
    }
    corpus = pathlib.Path(__file__).parent / "corpus" / "fuzz_packed"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (corpus / name).write_bytes(content)


if __name__ == "__main__":
    main()
