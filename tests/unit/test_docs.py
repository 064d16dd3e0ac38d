"""The manual keeps step with the program."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from phonon_bulk.batch import State
from phonon_bulk.cli import app
from phonon_bulk.report.export import COLUMNS
from phonon_bulk.report.summary import Summary

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    """Return a page of the manual."""
    return (ROOT / "docs" / name).read_text("utf-8")


def flags() -> list[tuple[str, str]]:
    """Return every flag of every command."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return [
        (name, flag)
        for name, command in group.commands.items()
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("-")
    ]


@pytest.mark.parametrize(("command", "flag"), flags())
def test_every_flag_is_documented(command: str, flag: str) -> None:
    """Each flag stands in the manual, in the place for its command."""
    assert f"{flag}" in page("simulator.md" if command == "simulate" else "commands.md")


@pytest.mark.parametrize("command", sorted({command for command, _ in flags()}))
def test_every_command_is_documented(command: str) -> None:
    """Each command stands in the manual."""
    assert f"phonon-bulk {command}" in page("commands.md")


@pytest.mark.parametrize("name", Summary.__slots__)
def test_every_field_of_the_summary_is_documented(name: str) -> None:
    """Each field of --json stands in the manual."""
    assert f"`{name}`" in page("commands.md")


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_of_the_export_is_documented(name: str) -> None:
    """Each column of the export stands in the manual."""
    assert f"| `{name}` |" in page("commands.md")


@pytest.mark.parametrize("state", State)
def test_every_state_is_in_the_diagram(state: State) -> None:
    """Each state of a batch stands in the diagram."""
    assert state in page("architecture.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Each link to a file leads to one that is there."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_samples_of_toml_are_toml(path: Path) -> None:
    """Each indented sample that begins with a table can be read as TOML."""
    samples = re.findall(r"(?:^    .*\n|^\n)+", path.read_text("utf-8"), re.MULTILINE)
    for sample in samples:
        text = re.sub(r"^    ", "", sample, flags=re.MULTILINE).strip()
        if text.startswith("["):
            tomllib.loads(text)
