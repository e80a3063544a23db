"""Settings and hooks for every test."""

from __future__ import annotations

import gc
import signal
import sys
import warnings

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Free what a failed test leaves open; otherwise its unclosed-socket warning would fail a later test."""
    failed_before = item.session.testsfailed
    result = yield
    if item.session.testsfailed > failed_before:
        sys.last_type = sys.last_value = sys.last_traceback = None  # pytest keeps them for a debugger
        sys.last_exc = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return result
