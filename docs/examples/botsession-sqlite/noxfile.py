"""The tasks of the package: `nox --list`."""

import nox

nox.options.sessions = ["lint", "tests", "lowest"]


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The conformance suite and the tests special to SQLite."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The same with the oldest msgspec that is allowed."""
    session.install("-e", ".[test]", "msgspec==0.19.0")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".[test]", "mypy>=1.14", "ruff>=0.9")
    session.run("ruff", "check", "--line-length=120", "--ignore=I001,RUF100", ".")
    session.run("ruff", "format", "--check", "--line-length=120", ".")
    session.run("mypy", "--strict", "src", "tests")
