#!/usr/bin/env python3
"""Writes the seeds of fuzz_chain into tests/fuzz/corpus/fuzz_chain: one for each layout of chain
that guests use, and one for each way to be bad. The format is told in fuzz_chain.c."""
import pathlib
import struct

DATA, REGION1, END1, REGION2, END2, TABLE, RING, NOWHERE = range(8)
NEXT, WRITE, INDIRECT = 1, 2, 4
HUGE, ENTRIES = 0x80, 0x40  # of where: length + 0xffff0000, length * 16
SIZE = 8

ALLOW_INDIRECT, MERGEABLE, EVENT, LEGACY, LOG, LOG_USED, LOG_WILD, OFFLOADS = (1 << i for i in range(8))


def record(where, offset, length, flags=0, following=0):
    return struct.pack("<BBhHH", where, flags, offset, length, following)


def seed(ring, table=(), heads=(0,), settings=ALLOW_INDIRECT, waiting=None, start=0, frames=0, memory=b""):
    ring = list(ring) + [record(DATA, 0, 0)] * (SIZE - len(ring))
    table = list(table) + [record(DATA, 0, 0)] * (32 - len(table))
    heads = bytes(heads) + bytes(SIZE - len(heads))
    waiting = len(heads) if waiting is None else waiting
    return (struct.pack("<HBBHH", frames, settings, 2, start, waiting)
            + b"".join(ring) + b"".join(table) + heads + memory.ljust(64, b"\0"))


def main():
    one = [record(DATA, 0, 1526, WRITE)] * 4
    seeds = {
        "single": seed([record(DATA, 0, 72)]),
        "header_and_data": seed([record(DATA, 0, 12, NEXT, 1), record(REGION1, 0, 700)]),
        "indirect": seed([record(TABLE | ENTRIES, 0, 2, INDIRECT)],
                         [record(DATA, 0, 12, NEXT, 1), record(REGION2, 0, 900)]),
        "across": seed([record(REGION1, -300, 1000)]),
        "tiny": seed([record(DATA, 5 * i, 5, NEXT, i + 1) for i in range(7)] + [record(REGION2, 1, 400)]),
        "legacy": seed([record(DATA, 0, 70)], settings=LEGACY),
        "offload": seed([record(DATA, 0, 72)], settings=OFFLOADS, memory=bytes([1, 1, 54, 0, 100, 0, 34, 0, 16, 0])),
        "loop": seed([record(DATA, 0, 20, NEXT, 0)]),
        "loop_in_table": seed([record(TABLE | ENTRIES, 0, 1, INDIRECT)], [record(DATA, 0, 0, NEXT, 0)]),
        "nested": seed([record(TABLE | ENTRIES, 0, 2, INDIRECT)], [record(TABLE | ENTRIES, 0, 2, INDIRECT)]),
        "table_across": seed([record(REGION1 | ENTRIES, -24, 4, INDIRECT)]),
        "odd_table": seed([record(TABLE, 0, 17, INDIRECT)]),
        "huge": seed([record(DATA | HUGE, 0, 0xffff)]),
        "outside": seed([record(NOWHERE, -1, 80), record(END1, -10, 80), record(END2, 0, 80)], heads=(0, 1, 2)),
        "index": seed([record(DATA, 0, 80, NEXT, 9)], heads=(0, 200)),
        "wild": seed([record(DATA, 0, 80)], waiting=9),
        "receive": seed(one, heads=(0, 1, 2, 3), frames=0o12345),
        "receive_header_apart": seed([record(DATA, 0, 11, WRITE | NEXT, 1), record(REGION1, 0, 1600, WRITE)],
                                     frames=0o1, settings=LOG | LOG_USED | EVENT),
        "receive_mergeable": seed(one, heads=(0, 1, 2, 3, 0, 1, 2, 3), frames=0o65,
                                  settings=MERGEABLE | LOG | LOG_USED | LOG_WILD, start=65533),
        "receive_indirect": seed([record(TABLE | ENTRIES, 0, 3, INDIRECT)],
                                 [record(DATA, 0, 700, WRITE | NEXT, 1), record(REGION2, 9, 1000, WRITE | NEXT, 2),
                                  record(REGION1, -9, 100, WRITE)], frames=0o5),
        "receive_into_ring": seed([record(RING, 0, 2000, WRITE)] * 2, heads=(0, 1), frames=0o44, settings=MERGEABLE),
        "receive_readonly": seed([record(DATA, 0, 200, WRITE | NEXT, 1), record(DATA, 0, 900)], frames=0o5),
    }
    corpus = pathlib.Path(__file__).parent / "corpus" / "fuzz_chain"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (corpus / name).write_bytes(content)


if __name__ == "__main__":
    main()
