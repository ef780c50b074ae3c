"""Fixtures of several test files: run commands in this process."""

from __future__ import annotations

import io
import sys

import pytest
from mergesketch.distributed.__main__ import main


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process; return its exit code and what it printed."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def fails(run):
    """Run a command that must end with one line on stderr; return the message."""

    def fails(*arguments, **options):
        code, out, err = run(*arguments, **options)
        assert (code, out) == (2, "")
        assert err.startswith("mergesketch") and err.count("\n") == 1, err
        return err.partition(": error: ")[2].rstrip()

    return fails
