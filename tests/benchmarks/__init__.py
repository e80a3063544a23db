"""How fast botsession is, beside the bare clients of its backends and beside other libraries.

A program, and no test: `python -m benchmarks --help`. It needs `tests/` on the path, for the servers.
"""
