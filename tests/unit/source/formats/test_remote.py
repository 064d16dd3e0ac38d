"""What is taken for a URL, and which URLs are refused before anything is asked."""

import builtins
from typing import Any

import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.remote import fetch, is_remote


@pytest.mark.parametrize(
    "text", ["https://a/b", "HTTP://a/b", "s3://a/b", "gs://a/b", "sftp://a/b", "ftp://a/b"]
)
def test_a_url_is_remote(text: str) -> None:
    """Also one that can't be fetched: as a path it would make no sense either."""
    assert is_remote(text)


@pytest.mark.parametrize(
    "text", ["contacts.csv", "/a/b.csv", "C:\\a.csv", "a:b.csv", "file:///a.csv", "x/https://a", ""]
)
def test_a_path_is_not_remote(text: str) -> None:
    """Nor is `file://`."""
    assert not is_remote(text)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://files.example/a", "known are https://, http://, s3://, gs://, sftp://"),
        ("http://files.example/a", "in the clear over http://files.example; it must be https"),
        ("http://127.0.0.1.example/a", "in the clear"),
        ("http://169.254.169.254/a", "in the clear"),
        ("https://reader:geheim@files.example/a", "has a password in it"),
        ("https://reader@files.example/a", "or a user that it has no use for"),
        ("https://reader:geh/eim@files.example/a", "its host or port can't be read"),
        ("sftp://reader:geheim@files.example/a", "has a password in it"),
        ("s3://key:geheim@bucket/a", "has a password in it"),
        ("https://files.example", "must have a host and name a file"),
        ("https:///a.csv", "must have a host and name a file"),
        ("s3://bucket/", "must have a host and name a file"),
        ("https://files.example/*.csv", "name one file"),
        ("s3://bucket/a?.csv", "name one file"),
        ("gs://bucket/[ab].csv", "name one file"),
        ("sftp://files.example/*.csv", "name one file"),
    ],
)
def test_a_url_that_can_not_be_used_is_refused(url: str, reason: str) -> None:
    """By a sentence that says why, without the password."""
    with pytest.raises(ListError) as caught:
        fetch(url)
    assert reason in str(caught.value)
    assert "geh" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("s3://bucket/a", "boto3", "s3"),
        ("gs://bucket/a", "google", "gs"),
        ("sftp://files.example/a", "paramiko", "sftp"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is the command that installs it."""
    there = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ListError) as caught:
        fetch(url)
    assert str(caught.value) == f"{url} can't be fetched yet: pip install 'phonon-bulk[{extra}]'"
