"""Benchmarks of botsession against the bare clients of its backends and against other libraries.

This is a program, not a test: see `python -m benchmarks --help`. It needs `tests/` on the path, for the servers.
"""
