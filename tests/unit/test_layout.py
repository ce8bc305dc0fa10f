"""The order of the tree: dependencies point one way, and each header compiles alone.

Run by `./run test layout`. A part may include itself and what the table says, nothing else of ours.
"""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MAY_INCLUDE = {
    "base": set(),
    "vhost-user": {"base"},
    "bridge": {"base"},
    "route": {"base"},
    "nat": {"base"},
    "vswitch": {"base", "vhost-user", "bridge", "route", "nat"},
    "cli": set(),
}
LIBRARIES = ["libdpdk", "libnl-3.0", "libnl-route-3.0", "libpcap", "yaml-0.1", "jansson", "libevent_core", "sqlite3", "ldns"]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)

PARTS = [part for part in MAY_INCLUDE if (ROOT / part).is_dir()]
HEADERS = [path.relative_to(ROOT) for part in PARTS for path in sorted((ROOT / part).rglob("*.h"))]


def includes(path):
    return INCLUDE.findall((ROOT / path).read_text())


@pytest.mark.parametrize("part", PARTS)
def test_includes_point_one_way(part):
    allowed = MAY_INCLUDE[part] | {part}
    wrong = []
    for path in sorted((ROOT / part).rglob("*.[ch]")):
        for included in includes(path):
            if not (ROOT / included).is_file():
                wrong.append(f"{path.relative_to(ROOT)}: {included} is not named from the root of the tree")
            elif included.split("/")[0] not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}: {part} must not include {included}")
    assert not wrong, "\n".join(wrong)


def test_every_part_is_in_the_table():
    sources = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/*.c")}
    assert {name for name in sources if not name.startswith("build")} <= set(MAY_INCLUDE) | {"tests", "bench"}


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_header_compiles_alone(header):
    flags = subprocess.run(["pkg-config", "--cflags", *LIBRARIES], check=True, text=True, capture_output=True)
    # Foreign headers are not ours to warn about.
    system = re.sub(r"(^|\s)-I", r"\1-isystem", flags.stdout).split()
    done = subprocess.run(["gcc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter",
                           "-Werror", "-D_GNU_SOURCE", '-DWEFT_VERSION="0"', *system, "-I", ROOT,
                           "-include", ROOT / header, "-x", "c", "/dev/null"], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
