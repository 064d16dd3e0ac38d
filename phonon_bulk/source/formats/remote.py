"""Files that are elsewhere, by their URL: https, s3, gs, sftp.

Each is fetched by the library that is made for it, as a stream from the first byte to the last.
fsspec, which has one way for all, was not taken: it follows a redirect to http, trusts every SSH
host key unless told otherwise, and its S3 binds botocore to three of its versions.
"""

import http.client
import ipaddress
import logging
import re
import ssl
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urlsplit

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Spool, changed

STALLED_SECONDS: Final = 60
"""How long a server may say nothing: at the begin, and between two pieces."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PIECE: Final = 1 << 20
_URL_MARKS: Final = "%/:=&?~#+!$,;'@()*[]"
"""What has a meaning in a URL, or was escaped already."""
_CUT_SHORT: Final = "it was cut short; try again"
_NO_PROOF: Final = (
    "the server does not say how long it is, so nobody could tell whether it is complete; download"
    " it, and name the copy as path"
)
_HTTP: Final = frozenset({"https", "http"})
_SSH_PORT: Final = 22
_MESSAGE_LENGTH: Final = 300
_SSH_PIECE: Final = 1 << 15
"""The most that an SSH server must give in one answer."""
_SSH_PIECES: Final = 64
"""How many answers are asked for at once: 2 MiB."""


def is_remote(text: str) -> bool:
    """Return whether it is a URL, also of a kind that `fetch` then refuses.

    `file://` is none: a file here is named by its path.
    """
    url = _URL.match(text)
    return url is not None and url[1].lower() != "file"


def fetch(url: str) -> Spool:
    """Return a copy of the file at a URL, whose name in messages has neither user nor parameters.

    A piece at a time is in memory. Credentials come from where each library looks for them, and
    never from the URL, but for the user of sftp. Servers are verified: by certificate, or by
    `~/.ssh/known_hosts`.

    Raises ListError if the URL is of no kind that is known or would send contact data in the clear,
    if the library is not installed, if there is no such file, if nothing comes for 60 seconds, or
    if fewer bytes come than were announced.
    """
    parts = _parts(url)
    spool = Spool(f"{parts.scheme}://{_place(parts)}{parts.path}")
    _SCHEMES[parts.scheme](parts, spool)
    return spool


def _parts(url: str) -> SplitResult:
    """Take a URL apart. Raises ListError if it can't be used, without quoting it."""
    try:
        parts = urlsplit(url, allow_fragments=False)
        _ = parts.port
    except ValueError:
        raise ListError("the URL of the list is none: its host or port can't be read") from None
    if parts.scheme not in _SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise ListError(f"a list can't be fetched from {parts.scheme}://; known are {known}")
    if parts.password is not None or (parts.username is not None and parts.scheme != "sftp"):
        raise ListError(
            f"the {parts.scheme} URL of the list has a password in it, or a user that it has no use"
            " for, and a campaign may be shared: leave it out"
        )
    if not parts.hostname or parts.path in {"", "/"}:
        raise ListError(f"the {parts.scheme} URL of the list must have a host and name a file")
    if any(mark in parts.path for mark in "*[") or (parts.query and parts.scheme not in _HTTP):
        raise ListError("patterns like *.csv are not for URLs: name one file")
    return parts


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _https(parts: SplitResult, spool: Spool) -> None:
    _check_not_in_the_clear(parts.geturl(), spool.name)
    opener = urllib.request.build_opener(_Redirects(spool.name))
    url = quote(parts.geturl(), safe=_URL_MARKS)
    try:
        with opener.open(url, timeout=STALLED_SECONDS) as response:
            pieces = iter(lambda: response.read(_PIECE), b"")
            if response.chunked:  # then the pieces themselves prove that they are whole
                sum(map(spool.write, pieces))
            else:
                _copy(spool, pieces, response.length)
    except HTTPError as error:
        error.close()
        raise _failure(spool.name, f"the server says {_status(error.code)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _failure(spool.name, _network_reason(error)) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to where contact data would travel in the clear."""

    def __init__(self, name: str) -> None:
        self._name = name

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """See HTTPRedirectHandler."""
        try:
            _check_not_in_the_clear(newurl, self._name)
        except ListError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_not_in_the_clear(url: str, name: str) -> None:
    """Refuse what is neither https nor on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise ListError(
            f"{name} is not fetched: contact data would travel in the clear over"
            f" {parts.scheme}://{parts.hostname}; it must be https"
        )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _s3(parts: SplitResult, spool: Spool) -> None:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            IncompleteReadError,
        )
    except ImportError:
        raise _missing(spool.name, "s3") from None
    patience = Config(connect_timeout=STALLED_SECONDS, read_timeout=STALLED_SECONDS)
    try:
        with closing(boto3.session.Session().client("s3", config=patience)) as client:
            _check_not_in_the_clear(client.meta.endpoint_url, spool.name)
            answer = client.get_object(Bucket=parts.netloc, Key=parts.path[1:])
            with closing(answer["Body"]) as body:
                _copy(spool, body.iter_chunks(_PIECE), answer.get("ContentLength"))
    except ClientError as error:
        said = error.response.get("Error", {}).get("Code", "no more than that it failed")
        raise _failure(spool.name, f"S3 says {said}") from None
    except IncompleteReadError:
        raise _failure(spool.name, _CUT_SHORT) from None
    except HTTPClientError as error:
        raise _failure(spool.name, f"the connection failed ({type(error).__name__})") from None
    except BotoCoreError as error:
        raise _failure(spool.name, _one_line(error)) from None


def _gs(parts: SplitResult, spool: Spool) -> None:
    try:
        from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage import Client
        from google.cloud.storage.exceptions import DataCorruption
        from google.cloud.storage.retry import DEFAULT_RETRY
    except ImportError:
        raise _missing(spool.name, "gs") from None
    patience = {"timeout": STALLED_SECONDS, "retry": DEFAULT_RETRY.with_timeout(STALLED_SECONDS)}
    try:
        with closing(Client()) as client:
            _check_not_in_the_clear(client.api_endpoint, spool.name)
            # Raw: else what is packed would be unpacked, and its checksum would not be compared.
            blob = client.bucket(parts.netloc).blob(parts.path[1:])
            blob.download_to_file(spool, raw_download=True, **patience)
            if blob.crc32c is None:
                raise _failure(spool.name, _NO_PROOF)
    except GoogleAPICallError as error:
        raise _failure(spool.name, f"Google says {_status(error.code)}") from None
    except DataCorruption:
        raise _failure(spool.name, "what came is not what is there; try again") from None
    except (GoogleAPIError, OSError) as error:
        raise _failure(spool.name, f"the connection failed ({type(error).__name__})") from None
    except GoogleAuthError as error:
        raise _failure(spool.name, _one_line(error)) from None


def _sftp(parts: SplitResult, spool: Spool) -> None:
    try:
        import paramiko
    except ImportError:
        raise _missing(spool.name, "sftp") from None
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what fails comes as an exception
    try:
        with closing(paramiko.SSHClient()) as client:
            _log_in(client, parts)
            with client.open_sftp() as sftp:
                sftp.get_channel().settimeout(STALLED_SECONDS)
                with sftp.open(unquote(parts.path)) as file:
                    _copy_sftp(file, spool)
    except paramiko.SSHException as error:
        raise _failure(spool.name, _ssh_reason(error)) from None
    except (OSError, EOFError) as error:
        raise _failure(spool.name, _network_reason(error)) from None


def _log_in(client: Any, parts: SplitResult) -> None:
    """Connect to a server whose key is known, with the keys of the agent and of `~/.ssh`."""
    client.load_system_host_keys()  # one that is not among them is rejected
    patience = ("timeout", "banner_timeout", "auth_timeout", "channel_timeout")
    client.connect(
        parts.hostname,
        port=parts.port or _SSH_PORT,
        username=unquote(parts.username) if parts.username else None,
        **dict.fromkeys(patience, STALLED_SECONDS),
    )


def _copy_sftp(file: Any, spool: Spool) -> None:
    before = file.stat()
    _copy(spool, _sftp_pieces(file, before.st_size), before.st_size)
    after = file.stat()
    if (after.st_size, after.st_mtime) != (before.st_size, before.st_mtime):
        raise changed(spool.name)


def _sftp_pieces(file: Any, size: int) -> Iterator[bytes]:
    """Ask for some pieces at once, since each answer takes its time, but for no more of them."""
    for begin in range(0, size, _SSH_PIECE * _SSH_PIECES):
        end = min(begin + _SSH_PIECE * _SSH_PIECES, size)
        places = range(begin, end, _SSH_PIECE)
        yield from file.readv([(place, min(_SSH_PIECE, end - place)) for place in places])


def _ssh_reason(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "BadHostKeyException":
        return (
            "its host key is not the one in ~/.ssh/known_hosts: ask those who run it whether it was"
            " changed"
        )
    if "known_hosts" in str(error):
        return (
            "its host key is not in ~/.ssh/known_hosts: connect once with the command sftp, and"
            " compare the key that it shows"
        )
    if "Authentication" in kind or "PasswordRequired" in kind or "auth" in str(error):
        return "it accepts no key of the SSH agent or in ~/.ssh, for this user"
    return f"SSH failed ({kind})"


def _copy(spool: Spool, pieces: Iterable[bytes], length: int | None) -> None:
    """Write the pieces. Raises ListError if they are not as long together as was announced."""
    if length is None:
        raise _failure(spool.name, _NO_PROOF)
    total = sum(map(spool.write, pieces))
    if total != length:
        raise _failure(spool.name, f"it was cut short, at {total:,} of {length:,} bytes; try again")


def _network_reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"its certificate can't be verified ({reason.verify_message}); if it is from a CA of"
            " your own, name that in SSL_CERT_FILE"
        )
    if isinstance(reason, TimeoutError):
        return f"nothing came for {STALLED_SECONDS} seconds"
    if isinstance(reason, http.client.IncompleteRead | EOFError):
        return _CUT_SHORT
    return (isinstance(reason, OSError) and reason.strerror) or type(reason).__name__


def _status(code: int | None) -> str:
    return f"{code} {http.client.responses.get(code or 0, '')}".strip()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LENGTH]


def _failure(name: str, reason: str) -> ListError:
    return ListError(f"{name} can't be fetched: {reason}")


def _missing(name: str, extra: str) -> ListError:
    return ListError(f"{name} can't be fetched yet: pip install 'phonon-bulk[{extra}]'")


_SCHEMES: Final[Mapping[str, Callable[[SplitResult, Spool], None]]] = {
    "https": _https,
    "http": _https,
    "s3": _s3,
    "gs": _gs,
    "sftp": _sftp,
}
