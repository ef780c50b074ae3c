"""Test that the commands of the guide to the command line print what the guide shows."""

import doctest
import re
import shlex

import pytest
from mergesketch.distributed.__main__ import main
from paths import ROOT

GUIDE = (ROOT / "docs" / "guides" / "command_line.md").read_text()


def commands() -> list[tuple[str, str]]:
    """Return the commands of the guide with their outputs."""
    blocks = re.findall(r"^```console\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def test_the_commands_print_what_the_guide_shows(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)[0], {})
    assert len(commands()) >= 8
    check = doctest.OutputChecker().check_output
    wrong = []
    for command, expected in commands():
        name, *arguments = shlex.split(command)
        assert name == "mergesketch"
        code = main(arguments)
        printed, err = capsys.readouterr()
        assert (code, err) == (0, ""), command
        if not check(expected, printed, doctest.ELLIPSIS):
            wrong.append(f"$ {command}\n{printed}")
    if wrong:
        pytest.fail("the guide should show\n" + "".join(wrong))
