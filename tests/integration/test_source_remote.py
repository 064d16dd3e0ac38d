"""Fetches lists from servers on this machine: HTTP, HTTPS, SFTP, and what speaks like S3 and GS."""

import socket
from pathlib import Path

import pytest
from remotes import certificate, gs, http, https, know, of_nobody, s3, sftp
from servers import USER, Answer, Ssh, Web, ssh, web

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import remote
from phonon_bulk.source.formats.remote import fetch

__all__ = ["certificate", "gs", "http", "https", "of_nobody", "s3", "sftp"]

LIST = b"tel1\n" + b"919812345678\n" * 200_000
"""Longer than what is asked for at once, over any protocol."""
LISTS_CRC32C = "qeBB2A=="


def _read(url: str) -> bytes:
    spool = fetch(url)
    with spool.open() as file:
        return file.read()


def _refusal(url: str) -> str:
    with pytest.raises(ListError) as caught:
        fetch(url)
    return str(caught.value)


def test_https_comes_whole_and_is_named_without_its_parameters(https: Web) -> None:
    """A signed URL is fetched with its signature, which no message repeats."""
    https.answers["/a%20b.csv"] = Answer(LIST)
    spool = fetch(f"{https.url}/a%20b.csv?signature=secret")
    with spool.open() as file:
        assert file.read() == LIST
    assert spool.name == f"{https.url}/a%20b.csv"


def test_what_is_in_chunks_comes_whole(https: Web) -> None:
    """HTTP/1.1 proves the end of such a body."""
    chunk = b"%x\r\n%s\r\n" % (len(LIST), LIST)
    https.answers["/list"] = Answer(chunk + b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"})
    assert _read(f"{https.url}/list") == LIST


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "the server says 404 Not Found"),
        (Answer(status=503), "the server says 503 Service Unavailable"),
        (Answer(LIST, headers={}), "does not say how long it is"),
        (Answer(LIST, headers={"Content-Length": str(len(LIST) + 1)}), "it was cut short"),
        (Answer(LIST[:9], headers={"Content-Length": "10"}), "it was cut short, at 9 of 10 bytes"),
        (Answer(b"5\r\ntel1\n\r\n", headers={"Transfer-Encoding": "chunked"}), "it was cut short"),
    ],
)
def test_https_that_fails_is_no_list(https: Web, answer: Answer, reason: str) -> None:
    """Nothing that may be shorter than the list is taken for it."""
    https.answers["/list.csv"] = answer
    said = _refusal(f"{https.url}/list.csv?signature=secret")
    assert reason in said
    assert said.startswith(f"{https.url}/list.csv can't be fetched: ")


def test_a_redirect_is_followed_to_https_only(https: Web) -> None:
    """A file that has moved is found; it is not fetched from where anybody could read along."""
    https.answers["/old"] = Answer(status=302, headers={"Location": "/new", "Content-Length": "0"})
    https.answers["/new"] = Answer(LIST)
    assert _read(f"{https.url}/old") == LIST
    elsewhere = {"Location": "http://files.example/new?signature=secret", "Content-Length": "0"}
    https.answers["/old"] = Answer(status=301, headers=elsewhere)
    said = _refusal(f"{https.url}/old")
    assert "in the clear over http://files.example;" in said
    assert "secret" not in said


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    """The sentence says how a CA of one's own is named."""
    with web(certificate) as site:
        site.answers["/list"] = Answer(LIST)
        said = _refusal(f"{site.url}/list")
    assert "its certificate can't be verified" in said
    assert "SSL_CERT_FILE" in said


def test_a_certificate_of_another_host_is_refused(https: Web) -> None:
    """`localhost` is not in it."""
    https.answers["/list"] = Answer(LIST)
    said = _refusal(f"{https.url}/list".replace("127.0.0.1", "localhost"))
    assert "its certificate can't be verified" in said


def test_http_is_for_this_machine(http: Web) -> None:
    """There, nobody can read along."""
    http.answers["/list"] = Answer(LIST)
    assert _read(f"{http.url}/list") == LIST


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing; time is short here."""
    monkeypatch.setattr(remote, "STALLED_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = _refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/list")
    assert "nothing came for 0.2 seconds" in said


def test_a_server_that_is_not_there_is_named() -> None:
    """The port is one that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert _refusal(f"https://127.0.0.1:{port}/list").endswith("fetched: Connection refused")


def test_sftp_comes_whole_from_a_server_whose_key_is_known(sftp: Ssh) -> None:
    """The user's key is found in their folder."""
    sftp.files["/lists/a b.csv"] = LIST
    sftp.files["/lists/empty.csv"] = b""
    assert _read(f"sftp://{USER}@127.0.0.1:{sftp.port}/lists/a%20b.csv") == LIST
    assert _read(f"sftp://{USER}@127.0.0.1:{sftp.port}/lists/empty.csv") == b""


def test_sftp_refuses_a_server_whose_key_is_not_known(sftp: Ssh, tmp_path: Path) -> None:
    """Anybody could be there."""
    sftp.files["/list"] = LIST
    (tmp_path / ".ssh" / "known_hosts").unlink()
    said = _refusal(f"sftp://{USER}@127.0.0.1:{sftp.port}/list")
    assert "its host key is not in ~/.ssh/known_hosts" in said


def test_sftp_refuses_a_server_whose_key_has_changed(sftp: Ssh, tmp_path: Path) -> None:
    """Somebody else may be there now."""
    sftp.files["/list"] = LIST
    with ssh() as other:
        other.port = sftp.port
        know(tmp_path / ".ssh", other)
    said = _refusal(f"sftp://{USER}@127.0.0.1:{sftp.port}/list")
    assert "its host key is not the one in ~/.ssh/known_hosts" in said


def test_sftp_says_why_it_fails(sftp: Ssh) -> None:
    """A file that is not there, one that comes shorter than it is said to be, and a wrong user."""
    sftp.files["/list"] = LIST
    sftp.sizes["/list"] = len(LIST) + 1
    url = f"sftp://{USER}@127.0.0.1:{sftp.port}"
    assert _refusal(f"{url}/nope").endswith("No such file")
    assert f"at {len(LIST):,} of {len(LIST) + 1:,} bytes" in _refusal(f"{url}/list")
    assert "accepts no key" in _refusal(f"sftp://nobody@127.0.0.1:{sftp.port}/list")


def test_s3_comes_whole(s3: Web) -> None:
    """The key is the path as it stands."""
    s3.answers["/crm/lists/a.csv"] = Answer(LIST)
    spool = fetch("s3://crm/lists/a.csv")
    with spool.open() as file:
        assert file.read() == LIST
    assert spool.name == "s3://crm/lists/a.csv"


def test_s3_says_why_it_fails(s3: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of S3's, an object that is cut short, no credentials, and nobody there."""
    said = b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>"
    s3.answers["/crm/a"] = Answer(said, 404)
    assert _refusal("s3://crm/a") == "s3://crm/a can't be fetched: S3 says NoSuchKey"
    s3.answers["/crm/a"] = Answer(LIST, headers={"Content-Length": str(len(LIST) + 1)})
    assert "can't be fetched: " in _refusal("s3://crm/a")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "credentials" in _refusal("s3://crm/a")


@pytest.mark.usefixtures("s3")
def test_s3_is_not_asked_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of one's own is asked by https, too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    assert "in the clear over http://store.example" in _refusal("s3://crm/a")


def test_gs_comes_whole(gs: Web) -> None:
    """With a checksum, as Google sends it."""
    headers = {"Content-Length": str(len(LIST)), "x-goog-hash": f"crc32c={LISTS_CRC32C}"}
    gs.answers["/download/storage/v1/b/crm/o/lists%2Fa.csv"] = Answer(LIST, headers=headers)
    assert _read("gs://crm/lists/a.csv") == LIST


def test_gs_says_why_it_fails(gs: Web) -> None:
    """Nothing there, something else than was sent, something that is cut short."""
    path = "/download/storage/v1/b/crm/o/a"
    assert _refusal("gs://crm/a") == "gs://crm/a can't be fetched: Google says 404 Not Found"
    headers = {"Content-Length": str(len(LIST)), "x-goog-hash": "crc32c=AAAAAA=="}
    gs.answers[path] = Answer(LIST, headers=headers)
    assert "what came is not what is there" in _refusal("gs://crm/a")
    gs.answers[path] = Answer(LIST)
    assert "nobody could tell whether it is complete" in _refusal("gs://crm/a")
    gs.answers[path] = Answer(LIST, headers={"Content-Length": str(len(LIST) + 1)})
    assert "can't be fetched: " in _refusal("gs://crm/a")
