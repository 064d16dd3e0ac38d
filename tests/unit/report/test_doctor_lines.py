"""What the doctor can say: each line stands in the manual, and each is said somewhere."""

import re
from pathlib import Path

import pytest

from phonon_bulk.report.doctor import Check, Grade, lines, to_text
from phonon_bulk.report.doctor.lines import LINES, Line

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/doctor.md").read_text("utf-8")
CODE = {
    path.name: path.read_text("utf-8")
    for path in [
        *(ROOT / "phonon_bulk/report/doctor").glob("*.py"),
        ROOT / "phonon_bulk/cli/doctor.py",
        ROOT / "phonon_bulk/cli/examining.py",
        ROOT / "phonon_bulk/cli/trial.py",
    ]
}
NAMES = {name: value for name, value in vars(lines).items() if isinstance(value, Line)}


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_in_the_manual(name: str) -> None:
    """Under the heading of what was looked at, with its grade."""
    line = NAMES[name]
    section = PAGE.partition(f"\n### `{line.what}`\n")[2].partition("\n### ")[0]
    assert f"| {line.grade} | {line.text} |\n" in section


def test_the_manual_has_no_other_lines() -> None:
    """What is not said any more is not in the manual."""
    rows = re.findall(r"^\| (well|mind|ill) \| (.*) \|$", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((line.grade.value, line.text) for line in LINES)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_said_somewhere(name: str) -> None:
    """By the name that it has."""
    said = re.compile(rf"\blines\.{name}\b")
    assert any(said.search(text) for text in CODE.values()), name


def test_nothing_else_is_said() -> None:
    """A check is made of a line, and of nothing else."""
    others = {name for name, text in CODE.items() if re.search(r"\bCheck\(", text)}
    assert others == {"lines.py"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_well_says_what_to_do(name: str) -> None:
    """After a colon or in a sentence of its own; unless another's message is repeated."""
    line = NAMES[name]
    if line.grade is not Grade.WELL and line.text != "{problem}":
        assert re.search(r"[:.?;] .|`", line.text), line.text


def test_the_text() -> None:
    """Grades and names in columns; the last line says whether this machine can send."""
    well, ill = Check("disk", Grade.WELL, "free"), Check("journal", Grade.ILL, "away")
    assert to_text([well, ill]).splitlines() == [
        "well  disk     free",
        "ill   journal  away",
        "",
        "this machine can't send as it is: 1 of 2 are ill",
    ]
    assert to_text([well]).splitlines()[-1].startswith("this machine can send; ")
