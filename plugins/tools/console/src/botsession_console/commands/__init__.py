"""The commands: one module each, loaded only when that command is chosen.

Each has two functions:

* `add_arguments(parser)` describes the command and its arguments.
* `run(parsed)` carries it out and returns the exit code. What it raises is told in one line on stderr.
"""
