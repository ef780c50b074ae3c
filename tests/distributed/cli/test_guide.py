"""Test that the commands of guides print what the guides show."""

import doctest
import re
import shlex

import pytest
from mergesketch.distributed.__main__ import main
from paths import ROOT


def read_guide(name: str) -> str:
    return (ROOT / "docs" / "guides" / f"{name}.md").read_text()


def commands(guide: str) -> list[tuple[str, str]]:
    """Return the commands of a guide with their outputs."""
    blocks = re.findall(r"^```console\n(.*?)^```", guide, flags=re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


@pytest.mark.parametrize(
    ("name", "least"), [("command_line", 8), ("deduplicate", 2), ("compress_a_model", 4)]
)
def test_the_commands_print_what_the_guide_shows(tmp_path, monkeypatch, capsys, name, least) -> None:
    monkeypatch.chdir(tmp_path)
    guide = read_guide(name)
    exec(re.findall(r"^```python\n(.*?)^```", guide, flags=re.DOTALL | re.MULTILINE)[0], {})
    assert len(commands(guide)) >= least
    check = doctest.OutputChecker().check_output
    wrong = []
    for command, expected in commands(guide):
        program, *arguments = shlex.split(command)
        assert program == "mergesketch"
        code = main(arguments)
        printed, err = capsys.readouterr()
        assert (code, err) == (0, ""), command
        if not check(expected, printed, doctest.ELLIPSIS):
            wrong.append(f"$ {command}\n{printed}")
    if wrong:
        pytest.fail("the guide should show\n" + "".join(wrong))
