"""Fixtures of the end-to-end tests. Everything a test makes is ended and removed after it, in reverse order."""

import contextlib
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from lab import Lab  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitizer: also run against a weftd with sanitizers")
    # A test run that is told to stop cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the switches of a test that failed had to say, before they are gone."""
    outcome = yield
    report = outcome.get_result()
    lab = item.funcargs.get("lab") or item.funcargs.get("module_lab")
    if report.failed and lab:
        report.sections += [(f"weftd {number}", text) for number, text in enumerate(lab.accounts(), 1)]


@pytest.fixture
def lab():
    with contextlib.ExitStack() as stack:
        yield Lab(stack)


@pytest.fixture(scope="module")
def module_lab():
    """A lab that the tests of a file share."""
    with contextlib.ExitStack() as stack:
        yield Lab(stack)
