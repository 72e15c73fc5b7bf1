"""fastfw run: what its options may be. The daemon itself is tested in tests/gateway."""

import pytest

from fastfw.cli import main

pytest.importorskip("msgspec")


@pytest.mark.parametrize("option", ["-c", "--rules", "--rules6"])
def test_an_empty_name_is_not_no_rules(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file name, as of a variable that is not set, is refused instead of leaving everything open."""
    assert main(["run", "--check", option, ""]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a file's name expected" in error
