"""The statements of queries.sql, by name."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _load() -> dict[str, str]:
    text = (files("phonon_bulk.journal") / "queries.sql").read_text("utf-8")
    _, *pieces = _NAME.split(text)
    return dict(zip(pieces[::2], (piece.strip() for piece in pieces[1::2]), strict=True))


SQL = _load()


def migrations() -> list[str]:
    """Return the scripts that lead from an empty file to the newest schema, in order."""
    folder = files("phonon_bulk.journal") / "schema"
    return [
        entry.read_text("utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    ]
