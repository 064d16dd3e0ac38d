"""`phonon-bulk init`: a campaign file for a list, to be read through and mended."""

import os
import re
import shlex
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonon_bulk.errors import ListError, SettingsError, UnusableError

if TYPE_CHECKING:  # slow to load
    from phonon_bulk.source.formats.tables import Part
    from phonon_bulk.source.proposal import Doubt, Proposal

SAMPLE_ROWS = 10_000
"""So many rows of a list are looked at."""
NO_FLOW = "CHANGEME"
"""Stands for the flow's id until there is one; it has the form of one, so that the file loads."""

_MOST_KEYS = 30  # more are for a person to choose
_MOST_COMMENTED = 100
_MAPPING = ("contact_numbers", "client_identifier", "start_time", "keys")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Frame:
    """What a campaign says beside the mapping."""

    name: str
    flow_id: str | None = None
    """None: not known yet."""
    paths: tuple[str, ...] = ()
    """None at all: the list must be named on the command line."""
    told: tuple[tuple[str, str], ...] = ()
    """Keys of [source] that were given on the command line."""
    delimiter: str | None = None
    """What was found between the columns."""
    doubts: tuple[str, ...] = ()
    """What should be seen about the source."""


def init(
    names: Annotated[
        list[str],
        typer.Argument(metavar="LIST", help="Files, patterns, folders, URLs, or -."),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="CAMPAIGN.toml", help="Write it here, if new."),
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="IN", help="The country of numbers without a country code.")
    ] = "IN",
    name: Annotated[str | None, typer.Option(help="The campaign's name.")] = None,
    flow_id: Annotated[str | None, typer.Option(metavar="ID", help="The flow's id.")] = None,
    delimiter: Annotated[
        str | None, typer.Option(metavar="SIGN", help="What stands between the columns.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="How the text is encoded: utf-8, utf-16 or windows-1252.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of a workbook.")] = None,
) -> None:
    """Look at a contact list and propose a campaign file; say what is not certain in it.

    Without -o the file goes to standard output, and the rest to standard error.
    """
    from phonon_bulk.source.formats.opening import Options
    from phonon_bulk.source.origin import open_places
    from phonon_bulk.source.proposal import propose

    _refuse_existing(output)
    called = name or _name_from(names[0] if output is None else output.name)
    source = {"delimiter": delimiter, "encoding": encoding, "sheet": sheet}
    told = {key: text for key, text in source.items() if text is not None}
    _check({"name": called, "flow_id": flow_id or NO_FLOW, **told, "checks": {"region": region}})
    origin = open_places(names, Options(delimiter, encoding, sheet=sheet))
    sample, broken = sample_of(origin.parts, origin.name)
    proposal = propose(origin.parts[0].names, sample, region, time.time())
    paths = tuple(path_in_campaign(path, output) for path in names)
    frame = Frame(
        name=called,
        flow_id=flow_id,
        paths=paths if all(paths) else (),
        told=tuple(told.items()),
        delimiter=_delimiter(origin.parts[0]),
        doubts=tuple(_source_doubts(origin.remarks, origin.parts, broken)),
    )
    text = campaign_text(proposal, frame)
    doubts = [f"unsure: {doubt}" for doubt in _all_doubts(proposal, frame)]
    if output is None:
        typer.echo(text.encode(), nl=False)
        typer.echo("".join(f"{doubt}\n" for doubt in doubts), nl=False, err=True)
    else:
        _write(output, text)
        lines = (*_found(proposal, output), *doubts, *_next(output, frame, names))
        typer.echo("\n".join(lines))


def sample_of(parts: Sequence["Part"], name: str) -> tuple[list[list[str]], int]:
    """Return the columns of the first rows of each part, and how many more rows were broken.

    Raises ListError if the parts have other columns, or if there are no rows.
    """
    from phonon_bulk.source.columns import describe_difference

    expected = [column.strip() for column in parts[0].names]
    columns: list[list[str]] = [[] for _ in expected]
    broken = 0
    for part in parts:
        own = [column.strip() for column in part.names]
        if own != expected:
            raise ListError(
                f"{part.name} has other columns than {parts[0].name}:"
                f" {describe_difference(own, expected)}. Files read together need the same ones"
            )
        broken += _add_rows(columns, part, max(SAMPLE_ROWS // len(parts), 1))
    if not columns[0]:
        raise ListError(
            f"no row of {name} fits its header" if broken else f"there are no rows in {name}"
        )
    return columns, broken


def _add_rows(columns: list[list[str]], part: "Part", room: int) -> int:
    """Append the first rows of a part that are whole; return how many among them are not."""
    from phonon_bulk.source.formats.tables import FAULT, column_name

    broken = 0
    for table in part.tables(0, 0):
        rows = table.slice(0, room)
        faults = rows.column(FAULT).to_pylist()
        broken += len(faults) - faults.count(None)
        for place, column in enumerate(columns):
            values = rows.column(column_name(place)).to_pylist()
            column += [value for value, fault in zip(values, faults, strict=True) if fault is None]
        room -= len(faults)
        if not room:
            break
    return broken


def path_in_campaign(path: str, output: Path | None) -> str:
    """Return a list's path as the campaign has it: from its folder, or as it was typed.

    It is empty if a campaign can't have it: standard input, a URL with a password or a signature,
    a name that is no text.
    """
    from phonon_bulk.config.problems import looks_secret

    if path == "-" or path.encode(errors="replace").decode() != path:
        return ""
    if "://" in path:
        return "" if re.search("[@?]", path) else path
    if path.startswith("~") and not path.startswith("~/"):
        path = os.path.expanduser(path)  # noqa: PTH111 - Path would tidy a pattern up
    if output is not None and not os.path.isabs(path) and not path.startswith("~"):  # noqa: PTH117
        folder, name = os.path.split(path)
        path = os.path.relpath(Path(os.path.realpath(folder), name), output.parent.resolve())
    return f"./{path}" if path == "-" or looks_secret(path) else path


def _name_from(path: str) -> str:
    """Return the name of a campaign for a file, without its endings."""
    from phonon_bulk.config.problems import looks_secret

    stem = "" if "://" in path or path == "-" else Path(path).name.partition(".")[0]
    name = "".join(char for char in stem if char.isprintable()).strip()[:_LONGEST_NAME].strip()
    return "campaign" if not name or looks_secret(name) else name


def _check(values: dict[str, object]) -> None:
    """Raise SettingsError if what was given on the command line can't stand in a campaign."""
    from pydantic import ValidationError

    from phonon_bulk.config import Campaign
    from phonon_bulk.config.problems import lines, problems_in

    try:
        Campaign.model_validate(values)
    except ValidationError as error:
        found = problems_in(error, Campaign, lambda key: "--" + key[-1].replace("_", "-"))
        raise SettingsError(lines([replace(problem, key=()) for problem in found])) from None


def _delimiter(part: "Part") -> str | None:
    from phonon_bulk.source.formats.csv_rows import CsvPart

    return part.header.dialect.delimiter if isinstance(part, CsvPart) else None


def _source_doubts(remarks: Sequence[str], parts: Sequence["Part"], broken: int) -> Iterator[str]:
    yield from remarks
    for part in parts:
        yield from part.remarks
    if broken:
        yield f"{broken:,} of the first rows do not fit the header; `phonon-bulk check` says why"


def _all_doubts(proposal: "Proposal", frame: Frame) -> Iterator[str]:
    from phonon_bulk.config.problems import plain

    if frame.flow_id is None:
        yield f"{NO_FLOW} stands for the flow's id: put yours there, from the flow's edit page"
    yield from map(plain, frame.doubts)
    for doubt in proposal.doubts:
        yield f"{doubt.about}: {doubt.text}"


def _refuse_existing(output: Path | None) -> None:
    if output is not None and output.exists():
        raise UnusableError(f"{output} is there already, and is not overwritten: name another file")


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UnusableError(f"{output} can't be written: {error.strerror}") from None


def _found(proposal: "Proposal", output: Path) -> Iterator[str]:
    yield f"{output} is written. In the {proposal.rows:,} rows looked at, this was found:"
    yield f"  contact numbers    {_shown(proposal.numbers)}"
    yield f"  client-identifier  {_shown([proposal.client_identifier or ''])}"
    yield f"  start-time         {_shown([proposal.start_time or ''])}"
    variables = _shown([variable for variable, _ in proposal.keys[:_MOST_KEYS]])
    is_template = "as in Phonon's template: no mapping is needed"
    yield f"  flow variables     {is_template if proposal.is_template else variables}"


def _shown(names: Sequence[str]) -> str:
    from phonon_bulk.config.problems import plain

    return ", ".join(f'"{plain(name)}"' for name in names if name) or "none"


def _next(output: Path, frame: Frame, names: Sequence[str]) -> Iterator[str]:
    words = [str(output), *(() if frame.paths else names)]
    yield "Read it through; then:"
    for command in ("check", "run"):
        yield f"  phonon-bulk {command} {shlex.join(words)}"


def campaign_text(proposal: "Proposal", frame: Frame) -> str:
    """Return the campaign file, in TOML with comments. It holds names of columns, and no values."""
    mapping = _template(proposal) if proposal.is_template else _mapping(proposal)
    sections = (_head(proposal), _campaign(frame), _source(frame), mapping, _checks(proposal))
    return "\n".join(line for section in sections for line in (*section, ""))


def _head(proposal: "Proposal") -> Iterator[str]:
    yield from _comment(
        "A campaign of phonon-bulk, proposed by `phonon-bulk init` after a look at"
        f" {proposal.rows:,} rows of the list. Read it through: what it was unsure of is marked so."
    )
    yield "#"
    yield "#     phonon-bulk check CAMPAIGN.toml    reads the list and says what would be sent"
    yield "#     phonon-bulk run CAMPAIGN.toml      reads the list and sends it"
    yield "#"
    yield "# docs/settings.md has every key there is."


def _campaign(frame: Frame) -> Iterator[str]:
    yield "[campaign]"
    yield "# The name that the run is listed under."
    yield f"name = {toml(frame.name)}"
    yield ""
    yield "# The flow's id, from its edit page: 8 letters and digits."
    if frame.flow_id is None:
        yield f"# unsure: {NO_FLOW} is no flow; put yours here."
    yield f"flow_id = {toml(frame.flow_id or NO_FLOW)}"


def _source(frame: Frame) -> Iterator[str]:
    from phonon_bulk.config.problems import plain

    yield "[source]"
    yield "# The list, from the folder of this file. A LIST on the command line takes its place."
    paths = ", ".join(map(toml, frame.paths))
    yield f"path = [{paths}]" if len(frame.paths) > 1 else f"path = {paths}" if paths else "#path ="
    for doubt in frame.doubts:
        yield from _comment("unsure: " + plain(doubt))
    for key, text in frame.told:
        yield f"{key} = {toml(text)}"
    if frame.delimiter and "delimiter" not in dict(frame.told):
        yield "# Found by looking at the header:"
        yield f"#delimiter = {toml(frame.delimiter)}"


def _template(proposal: "Proposal") -> Iterator[str]:
    yield "# The list is in Phonon's own template (tel1, $flow.key.*): it needs no [mapping]."
    for key in _MAPPING:
        yield from _unsure(proposal.doubts, key)


def _mapping(proposal: "Proposal") -> Iterator[str]:
    doubts = proposal.doubts
    yield "[mapping]"
    yield "# The column that says who a contact is; it comes back in callbacks."
    yield from _unsure(doubts, "client_identifier")
    yield _column("client_identifier", proposal.client_identifier)
    yield ""
    yield "# The columns with the numbers; they are tried in turn until one connects."
    yield from _unsure(doubts, "contact_numbers")
    yield f"contact_numbers = [{', '.join(map(toml, proposal.numbers))}]"
    yield ""
    yield "# When to call: a column, or one moment for all. Left out, calls start at once."
    yield from _unsure(doubts, "start_time")
    yield _column("start_time", proposal.start_time)
    yield ""
    yield from _keys(proposal)


def _column(key: str, column: str | None) -> str:
    return f'#{key} = "a column"' if column is None else f"{key} = {toml(column)}"


def _keys(proposal: "Proposal") -> Iterator[str]:
    yield "# The flow's variables by the flow's names, without $flow.key., and the column of each."
    yield "# Take out what the flow does not use: it need not leave the house."
    yield from _unsure(proposal.doubts, "keys")
    yield "[mapping.keys]"
    for variable, column in proposal.keys[:_MOST_KEYS]:
        yield _key(variable, column)
    if more := proposal.keys[_MOST_KEYS:]:
        yield f"# {len(more):,} more columns, for you to choose from:"
    for variable, column in more[:_MOST_COMMENTED]:
        yield "#" + _key(variable, column)


def _key(variable: str, column: str) -> str:
    name = variable if _BARE_KEY.fullmatch(variable) else toml(variable)
    return f"{name} = {toml(column)}"


def _checks(proposal: "Proposal") -> Iterator[str]:
    doubts, form = proposal.doubts, proposal.start_time_form
    yield "[checks]"
    yield "# The country of numbers without a country code."
    yield f"region = {toml(proposal.region)}"
    if proposal.start_time is not None:
        yield ""
        yield '# How start-times are written: "iso", "dmy" (day first), "mdy" or "excel".'
        yield from _unsure(doubts, "start_time_form")
        yield f"start_time_form = {toml(form)}"
    yield ""
    yield "# Calls start within these hours only, in India; the others are moved to the next."
    yield from _unsure(doubts, "window")
    yield ("" if proposal.whole_days else "#") + 'window = "10:00-19:00"'
    yield ""
    yield "# Of rows with one number, only the first is called: also where they are two contracts."
    yield from _unsure(doubts, "duplicates")
    yield ("" if proposal.repeated else "#") + 'duplicates = "drop"'
    yield ""
    if proposal.required and proposal.client_identifier is not None:
        yield "# Rows in which one of these is empty are rejected; in those looked at, none is."
        yield f"required = [{toml(proposal.client_identifier)}]"
        yield ""
    yield "# Numbers that are not to be called: files with a column of them."
    yield '#suppress = ["dnd.csv"]'


def _unsure(doubts: Sequence["Doubt"], about: str) -> Iterator[str]:
    for doubt in doubts:
        if doubt.about == about:
            yield from _comment("unsure: " + doubt.text)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def toml(text: str) -> str:
    """Return a text as a TOML string on one line; what can't be seen is written as its number."""
    return '"' + "".join(map(_toml_char, text)) + '"'


def _toml_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"  # noqa: PLR2004 - of four digits
