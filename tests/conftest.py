"""What holds for every test."""

from __future__ import annotations

import gc
import signal
import sys
import warnings

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell runs in the background ignores Ctrl-C, and so would every process that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Frees what a failed test leaves open: a later one would fail for the warning of a socket that it never had."""
    failed_before = item.session.testsfailed
    result = yield
    if item.session.testsfailed > failed_before:
        sys.last_type = sys.last_value = sys.last_traceback = None  # pytest keeps them for a debugger
        sys.last_exc = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return result
