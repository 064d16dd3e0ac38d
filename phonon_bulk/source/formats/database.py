"""SQL in a database, named by its URL: PostgreSQL, MySQL or MariaDB, SQLite.

The driver of each is used as it is: psycopg with a cursor in the server, PyMySQL without a buffer,
Python's own sqlite3. All give rows a few thousand at a time and leave a query as it was written;
SQLAlchemy, which is made of them, takes `:` and `%` in a query for its own. ADBC is fast, but there
is none for MySQL on PyPI, and DuckDB's extensions would have to be downloaded.
"""

import re
import sqlite3
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.tables import TablePart, TableWriter
from phonon_bulk.source.formats.values import text_of

if TYPE_CHECKING:  # it may not be installed
    import psycopg

USER: Final = "PHONON_BULK_DATABASE_USER"
"""The variable with the user; it goes before one in the URL."""
PASSWORD: Final = "PHONON_BULK_DATABASE_PASSWORD"  # noqa: S105 - the name of a variable
"""The variable with the password."""
CONNECT_SECONDS: Final = 10
"""How long a server has to answer."""

_ROWS_AT_ONCE: Final = 5_000
_MESSAGE_LENGTH: Final = 400
_INDIA: Final = "Asia/Kolkata"
_INDIAS_OFFSET: Final = "+05:30"
"""What MySQL always knows, also without tables of time zones."""
_MYSQL_PARAMETERS: Final = frozenset(
    {"ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_identity", "unix_socket"}
)
_PASSWORD_KEYS: Final = frozenset({"password", "passwd", "passphrase", "sslpassword"})
_WITH_PASSWORD: Final = re.compile(r"://[^@]*:[^@]*@")
"""Also where the password has a character that ends the part of a URL that it belongs into."""

_ABOUT_LOGIN: Final = re.compile("password|authentication|access denied|role ", re.IGNORECASE)
"""Of a server's message: that it is worth to look at user and password."""
_ABOUT_FORM: Final = re.compile("syntax|multiple commands|one statement", re.IGNORECASE)
"""Of a server's message: that the query may be no SELECT, or more than one."""


def query_database(url: str, query: str, environ: Mapping[str, str], folder: Path) -> TablePart:
    """Return the result of one SELECT in a database, copied to disk as it comes.

    The query runs in one transaction that can only read, and sees the data as they are at its
    begin. Times with a zone come as India's. A SQLite file that is relative is so to `folder`.
    User and password come from `environ`, or from where PostgreSQL's own programs look.

    Raises ListError, without a value of the list or the password, if the URL has a password in it
    or is none that is known, if the driver is not installed, if there is no answer within 10
    seconds, or if the query is not one SELECT or fails.
    """
    asked = _asked(url, query, environ, folder)
    name = f"the query in {asked.where}"
    try:
        with _SCHEMES[asked.scheme](asked) as cursor:
            if cursor.description is None:
                raise ListError(f"{name} returns no rows: it must be one SELECT")
            writer = TableWriter(name, [column[0] for column in cursor.description])
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                writer.add(_texts(rows))
    except UnicodeError:
        raise ListError(f"{name} failed: the result has text that is not UTF-8") from None
    return writer.finish()


class _Cursor(Protocol):
    """What the three drivers have in common: a part of the DB-API."""

    @property
    def description(self) -> Sequence[Any] | None: ...
    def fetchmany(self, size: int, /) -> Sequence[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked, and where."""

    url: str
    scheme: str
    where: str
    """The URL without user, password and parameters."""
    query: str
    user: str | None
    password: str | None = field(repr=False)
    folder: Path


def _asked(url: str, query: str, environ: Mapping[str, str], folder: Path) -> _Asked:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise ListError(
            "a database is named by a URL that begins with"
            f" {', '.join(f'{known}://' for known in _SCHEMES)}"
        )
    if scheme == "sqlite":
        return _Asked(url, scheme, f"sqlite://{rest}", query, None, None, folder)
    if _WITH_PASSWORD.search(url) or _parameters(rest).keys() & _PASSWORD_KEYS:
        raise ListError(
            f"the {scheme} URL has a password in it, and a campaign may be shared: put it into the"
            f" environment, as {PASSWORD}"
        )
    where = f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
    user, password = environ.get(USER) or None, environ.get(PASSWORD) or None
    return _Asked(url, scheme, where, query, user, password, folder)


def _parameters(url: str) -> dict[str, str]:
    return {key.lower(): value for key, value in parse_qsl(url.partition("?")[2])}


def _texts(rows: Sequence[tuple[Any, ...]]) -> list[pa.Array]:
    columns = zip(*rows, strict=True)
    return [pa.array(list(map(text_of, column)), pa.string()) for column in columns]


@contextmanager
def _postgresql(asked: _Asked) -> Iterator[_Cursor]:
    try:
        import psycopg
    except ImportError:
        raise _missing(asked, "postgresql") from None
    login: dict[str, Any] = {"user": asked.user, "password": asked.password}
    login = {key: value for key, value in login.items() if value}
    try:
        connection = psycopg.connect(
            asked.url, connect_timeout=CONNECT_SECONDS, client_encoding="utf8", **login
        )
    except psycopg.Error as error:
        raise _unreachable(asked, str(error)) from None
    with closing(connection):
        try:
            _prepare(connection)
            with connection.cursor(name="phonon_bulk") as cursor:
                cursor.execute(asked.query.encode())
                yield cursor
        except psycopg.Error as error:
            raise _postgresql_failure(asked, error) from None


def _prepare(connection: "psycopg.Connection") -> None:
    """Make the transaction to come one that reads, and leave as text what Python has no value for.

    That is an infinite date, 24:00, or a month as a length of time.
    """
    from psycopg import IsolationLevel
    from psycopg.types import datetime, string

    connection.read_only = True
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.execute(f"SET LOCAL TIME ZONE '{_INDIA}'")
    connection.execute("SET LOCAL DateStyle = 'ISO, DMY'")
    for name in ("json", "jsonb", "interval", "time", "timetz"):
        connection.adapters.register_loader(name, string.TextLoader)
    connection.adapters.register_loader("date", _or_text(datetime.DateLoader))
    connection.adapters.register_loader("timestamp", _or_text(datetime.TimestampLoader))
    connection.adapters.register_loader("timestamptz", _or_text(datetime.TimestamptzLoader))


def _or_text(loader: type[Any]) -> type[Any]:
    """Return a loader of psycopg's that leaves as text what it can't load."""
    from psycopg import DataError

    def load(self: Any, data: Any) -> Any:
        try:
            return loader.load(self, data)
        except DataError:
            return bytes(data).decode()

    return type(loader.__name__, (loader,), {"load": load})


def _postgresql_failure(asked: _Asked, error: Any) -> ListError:
    state = error.sqlstate or ""
    if state == "25006" or "data-modifying" in str(error):
        return _changes_data(asked)
    if state[:2] in {"42", "0A", "3F"}:  # about the query itself
        return _cant_run(asked, error.diag.message_primary)
    return _failed(asked, f"{type(error).__name__} {state}".strip())


@contextmanager
def _mysql(asked: _Asked) -> Iterator[_Cursor]:
    try:
        import pymysql
        from pymysql.constants import FIELD_TYPE
        from pymysql.converters import conversions
        from pymysql.cursors import SSCursor
    except ImportError:
        raise _missing(asked, "mysql") from None
    try:
        connection = pymysql.connect(
            **_mysql_login(asked),
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            cursorclass=SSCursor,
            conv={**conversions, FIELD_TYPE.TIME: str},  # a TIME may be 100 hours
        )
    except (pymysql.MySQLError, OSError) as error:
        raise _unreachable(asked, str(error.args[-1])) from None
    with closing(connection):
        cursor = connection.cursor()
        try:
            for statement in _MYSQL_READS_ONLY:
                cursor.execute(statement)
            cursor.execute(asked.query)
            yield cursor
        except pymysql.MySQLError as error:
            raise _mysql_failure(asked, *error.args) from None
        finally:
            _give_up_the_rest(cursor)


_MYSQL_READS_ONLY: Final = (
    f"SET time_zone = '{_INDIAS_OFFSET}'",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
_MYSQL_ABOUT_THE_QUERY: Final = frozenset(
    {1046, 1051, 1052, 1054, 1064, 1065, 1142, 1143, 1146, 1305, 1370}
)
"""Numbers of errors whose messages quote the query and names in the database, never a value."""
_MYSQL_CHANGES_DATA: Final = 1792


def _give_up_the_rest(cursor: Any) -> None:
    """Let a cursor be closed without the rows that were not fetched: it would read them all."""
    if cursor._result is not None:  # noqa: SLF001 - PyMySQL has no public way
        cursor._result.unbuffered_active = False  # noqa: SLF001
    cursor.close()


def _mysql_login(asked: _Asked) -> dict[str, Any]:
    parts = urlsplit(asked.url)
    parameters = _parameters(asked.url)
    unknown = parameters.keys() - _MYSQL_PARAMETERS
    try:
        port = parts.port
    except ValueError:
        raise ListError(f"{asked.where} can't be reached: its port is no number") from None
    if unknown:
        raise ListError(
            f"the mysql URL may have the parameters {', '.join(sorted(_MYSQL_PARAMETERS))};"
            f" it has {', '.join(sorted(unknown))}"
        )
    return {
        "host": parts.hostname,
        "port": port or 0,
        "user": asked.user or unquote(parts.username or ""),
        "password": (asked.password or "").encode(),
        "database": unquote(parts.path[1:]) or None,
        "unix_socket": parameters.get("unix_socket"),
        "ssl": _mysql_tls(asked, parameters),
    }


def _mysql_tls(asked: _Asked, parameters: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return how the server is verified; None is PyMySQL's own way, TLS where the server has it."""
    if not any(key.startswith("ssl_") for key in parameters):
        return None
    try:
        context = ssl.create_default_context(cafile=parameters.get("ssl_ca"))
        if "ssl_cert" in parameters:
            context.load_cert_chain(parameters["ssl_cert"], parameters.get("ssl_key"))
    except OSError as error:
        raise ListError(
            f"{asked.where} can't be reached: its ssl_ca, ssl_cert or ssl_key can't be read:"
            f" {error.strerror}"
        ) from None
    context.check_hostname = parameters.get("ssl_verify_identity", "true") != "false"
    return context


def _mysql_failure(asked: _Asked, number: int = 0, message: str = "") -> ListError:
    if number == _MYSQL_CHANGES_DATA:
        return _changes_data(asked)
    if number in _MYSQL_ABOUT_THE_QUERY:
        return _cant_run(asked, message)
    return _failed(asked, f"error {number}")


@contextmanager
def _sqlite(asked: _Asked) -> Iterator[_Cursor]:
    path = asked.folder.absolute() / _sqlite_file(asked)
    if not path.is_file():
        raise ListError(f"there is no database {path}")
    address = f"{path.as_uri()}?mode=ro"  # that never makes a file
    try:
        with closing(sqlite3.connect(address, CONNECT_SECONDS, uri=True)) as connection:
            connection.isolation_level = None
            connection.set_authorizer(_only_this_file)
            _check_sqlite(asked, connection)
            yield connection.execute(asked.query)
    except sqlite3.Error as error:
        raise _sqlite_failure(asked, error) from None


def _sqlite_file(asked: _Asked) -> str:
    slashes, file = asked.where.removeprefix("sqlite://")[:1], asked.where[len("sqlite:///") :]
    if slashes != "/" or not file:
        raise ListError(
            "a SQLite database is named by sqlite:///FILE, relative to the campaign's folder, or by"
            " sqlite:////FOLDER/FILE"
        )
    return file


def _only_this_file(action: int, *_: object) -> int:
    """Deny what would open another file: ATTACH, and VACUUM INTO, which writes one."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _check_sqlite(asked: _Asked, connection: sqlite3.Connection) -> None:
    """Let SQLite read the query without a row: what it says then quotes no value."""
    try:
        connection.execute(f"EXPLAIN {asked.query}").close()
    except (sqlite3.Error, sqlite3.Warning) as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise _cant_run(asked, str(error)) from None
        raise


def _sqlite_failure(asked: _Asked, error: sqlite3.Error) -> ListError:
    code = getattr(error, "sqlite_errorcode", None)
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH}:
        return _changes_data(asked)
    if str(error).startswith("Could not decode to UTF-8"):
        return _failed(asked, "there is text that is not UTF-8")
    if code == sqlite3.SQLITE_NOTADB:
        return ListError(f"{asked.where} is no SQLite database, or an encrypted one")
    return _failed(asked, getattr(error, "sqlite_errorname", type(error).__name__))


def _missing(asked: _Asked, extra: str) -> ListError:
    return ListError(
        f"the list is in {asked.where}; to read it: pip install 'phonon-bulk[{extra}]'"
    )


def _unreachable(asked: _Asked, message: str) -> ListError:
    hint = f"; user and password are looked for in {USER} and {PASSWORD}"
    return ListError(
        f"{asked.where} can't be reached: {_one_line(message)}"
        f"{hint if _ABOUT_LOGIN.search(message) else ''}"
    )


def _cant_run(asked: _Asked, message: str) -> ListError:
    hint = "; it must be one SELECT"
    return ListError(
        f"the query in {asked.where} can't be run: {_one_line(message)}"
        f"{hint if _ABOUT_FORM.search(message) else ''}"
    )


def _changes_data(asked: _Asked) -> ListError:
    return ListError(f"the query in {asked.where} would change data: it must be one SELECT")


def _failed(asked: _Asked, kind: str) -> ListError:
    return ListError(
        f"the query in {asked.where} failed ({kind}); the rest of the message may quote the list"
        " and is left out, but the same query in the database's own program shows it"
    )


def _one_line(message: str) -> str:
    return " ".join(message.split())[:_MESSAGE_LENGTH]


_SCHEMES: Final[Mapping[str, Callable[[_Asked], AbstractContextManager[_Cursor]]]] = {
    "postgresql": _postgresql,
    "postgres": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
}
