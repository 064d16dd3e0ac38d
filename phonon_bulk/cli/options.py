"""The flags that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The settings file, if not phonon-bulk.toml."),
]
Journal = Annotated[
    str | None,
    typer.Option("--journal", metavar="URL", help="The journal, over what the settings say."),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on standard output, all else on standard error."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print no progress and no summary, warnings only."),
]
Log = Annotated[
    LogFormat,
    typer.Option("--log-format", help="Log lines as text, as JSON, or text on a terminal only."),
]
NoUvloop = Annotated[
    bool,
    typer.Option("--no-uvloop", help="Use Python's own event loop."),
]
MaxDuration = Annotated[
    str | None,
    typer.Option(
        "--max-duration",
        metavar="DURATION",
        help="Stop after so long (4h, 90m, 1h30m), reading included; what is left is kept.",
    ),
]
SendWindow = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="HH:MM-HH:MM",
        help="Send within these hours only, in the campaign's time zone (checks.window is about "
        "when calls start).",
    ),
]
Alone = Annotated[
    bool,
    typer.Option("--alone", help="Do nothing if another process is at work on this campaign."),
]
ReportFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write there what was done, however it ends: JSON for .json, else text for a mail.",
    ),
]
PingUrl = Annotated[
    str | None,
    typer.Option(
        "--ping",
        metavar="URL",
        help="Tell URL/start when it begins, then URL, or URL/fail for an exit over 1.",
    ),
]
CampaignFile = Annotated[
    Path, typer.Argument(metavar="CAMPAIGN.toml", help="The campaign: flow, endpoint, mapping.")
]
List = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LIST]...",
        help="Files, patterns, folders, URLs, or -, over what the campaign says.",
    ),
]
Again = Annotated[
    bool,
    typer.Option("--again", help="Send a list anew that this campaign has sent before."),
]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="The number of the run.", min=1)]
