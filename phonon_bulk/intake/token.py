"""The bearer token: read from its file, and when there must be one."""

import os
import re
from pathlib import Path

from pydantic import SecretStr

from phonon_bulk.config import Address, is_open_to_others
from phonon_bulk.errors import SettingsError

MIN_TOKEN, MAX_TOKEN = 16, 4096
"""Characters of a token."""

_TOKEN = re.compile(rf"[\x21-\x7e]{{{MIN_TOKEN},{MAX_TOKEN}}}")
_EXPECTED = (
    f"expected the token and nothing else: {MIN_TOKEN} to {MAX_TOKEN} visible ASCII characters"
    " on one line"
)


def read_token(path: Path) -> SecretStr:
    """Return the token that the file holds; white space around it is no part of it.

    Raises SettingsError, which names the file and repeats nothing of what it holds.
    """
    try:
        with path.open("rb") as file:
            text = file.read(2 * MAX_TOKEN).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        wrong = f"{_EXPECTED}; found no text"
    except OSError as error:
        wrong = f"the token can't be read from there: {error.strerror}"
    else:
        if _TOKEN.fullmatch(text):
            return SecretStr(text)
        wrong = f"{_EXPECTED}; found {_described(text)}"
    raise SettingsError([f"worker.token_file: {path}: {wrong}"])


def _described(text: str) -> str:
    if not MIN_TOKEN <= len(text) <= MAX_TOKEN:
        return f"{'more than ' if len(text) > MAX_TOKEN else ''}{min(len(text), MAX_TOKEN)}"
    return "other characters too"


def token_file_warning(path: Path) -> str | None:
    """Return a sentence to warn with if others than its owner may use the file."""
    if os.name == "nt":
        return None
    try:
        if not is_open_to_others(path):
            return None
    except OSError:
        return None  # `read_token` says it better
    return f"{path} holds the token, and others than its owner may use it: chmod 600 {path}"


def refuse_open_door(address: Address, token: SecretStr | None) -> None:
    """Raise SettingsError if others than this machine could come in without a token."""
    if token is None and not address.is_loopback:
        text = (
            f"worker.listen: {address} can be reached from other machines, so a token is needed:"
            " set worker.token_file to a file that holds one (for example from"
            " `openssl rand -hex 32`), or listen on 127.0.0.1"
        )
        raise SettingsError([text])
