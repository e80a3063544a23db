"""The commands: one module each, imported only when that command is chosen.

Each has two functions:

* `add_arguments(parser)` describes the command and its arguments.
* `run(parsed)` carries it out and returns the exit code. Its exceptions are reported in one line on standard error.
"""
