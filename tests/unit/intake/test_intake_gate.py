"""Who is let in, and where the token comes from."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from phonon_bulk.config import Address
from phonon_bulk.errors import SettingsError
from phonon_bulk.intake.gate import Gate
from phonon_bulk.intake.problems import ProblemError
from phonon_bulk.intake.token import read_token, refuse_open_door, token_file_warning

TOKEN = "made-up-token-of-the-tests"


def status(gate: Gate, headers: dict[str, str]) -> int:
    """Return what the gate answers; 200: it lets in."""
    try:
        gate.check(headers)
    except ProblemError as problem:
        return int(problem.kind.status)
    return 200


# ---- with a token


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_lets_in(scheme: str) -> None:
    """From wherever, and from a web page too."""
    headers = {"Authorization": f"{scheme} {TOKEN}", "Host": "intake.example", "Origin": "x"}
    assert status(Gate(SecretStr(TOKEN)), headers) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \udcff\udcfe",
        "Bearer " + "x" * 8000,
    ],
)
def test_anything_else_does_not(authorization: str | None) -> None:
    """It is 401, says how to come in, and repeats nothing."""
    headers = {} if authorization is None else {"Authorization": authorization}
    with pytest.raises(ProblemError) as caught:
        Gate(SecretStr(TOKEN)).check(headers)
    assert caught.value.kind.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN.encode() not in caught.value.body()


def test_hashes_of_one_length_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is presented, the comparison is over 32 bytes, in constant time."""
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    gate = Gate(SecretStr(TOKEN))
    for presented in ("", "x", TOKEN, "x" * 4000):
        status(gate, {"Authorization": f"Bearer {presented}"})
    assert compared == [(32, 32)] * 4


# ---- without one


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8787", "localhost:1", "LOCALHOST", "[::1]:8787", "127.9.9.9"]
)
def test_programs_on_this_machine_are_let_in(host: str) -> None:
    """By any name it has for itself."""
    assert status(Gate(None), {"Host": host}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": ""},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example:8787"},
        {"Host": "evil.example@127.0.0.2.evil.example"},
        {"Host": "192.168.0.1"},
        {"Host": "[::"},
        {"Host": "127.0.0.1", "Origin": "https://evil.example"},
        {"Host": "127.0.0.1", "Origin": "null"},
        {"Host": "127.0.0.1", "Origin": "http://127.0.0.1:8787"},
    ],
)
def test_web_pages_are_kept_out(headers: dict[str, str]) -> None:
    """By the Host if the page had its name point here, by the Origin else."""
    assert status(Gate(None), headers) == 403


# ---- the file


def a_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    """Return a token's file."""
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("around", ["", "\n", "\r\n", " \n\n"])
def test_a_token_is_read(tmp_path: Path, around: str) -> None:
    """White space around it is no part of it, and it is not shown."""
    token = read_token(a_file(tmp_path, (TOKEN + around).encode()))
    assert token.get_secret_value() == TOKEN
    assert TOKEN not in repr(token)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 15,
        b"x" * 4097,
        b"x" * 100_000,
        b"two words are no token",
        b"a-line-of-its-own\nand-another-one",
        "über-sechzehn-zeichen".encode(),
        b"\xff" * 20,
    ],
)
def test_what_is_no_token(tmp_path: Path, content: bytes) -> None:
    """The file is named, and nothing of what it holds."""
    path = a_file(tmp_path, content)
    with pytest.raises(SettingsError) as caught:
        read_token(path)
    assert str(path) in str(caught.value)
    assert "16 to 4096" in str(caught.value)
    assert "own" not in str(caught.value)


@pytest.mark.parametrize("length", [16, 4096])
def test_the_shortest_and_the_longest(tmp_path: Path, length: int) -> None:
    """Both ends are within."""
    assert len(read_token(a_file(tmp_path, b"x" * length)).get_secret_value()) == length


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is named, with the system's reason."""
    with pytest.raises(SettingsError, match="missing: the token can't be read from there: No such"):
        read_token(tmp_path / "missing")


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o640, True)])
def test_a_file_that_others_may_read(tmp_path: Path, mode: int, warns: bool) -> None:
    """It is used, with a warning that says what to do."""
    warning = token_file_warning(a_file(tmp_path, TOKEN.encode(), mode))
    assert (warning is not None) == warns
    assert warning is None or "chmod 600" in warning


def test_no_warning_of_what_is_not_there(tmp_path: Path) -> None:
    """Reading it says so already."""
    assert token_file_warning(tmp_path / "missing") is None


# ---- the door


@pytest.mark.parametrize("address", ["0.0.0.0:8787", "[::]:8787", "10.0.0.1:80", "worker:8787"])
def test_an_open_door_is_refused(address: str) -> None:
    """What others can reach needs a token, and it is said how to make one."""
    with pytest.raises(SettingsError, match=r"worker\.token_file"):
        refuse_open_door(Address(address), None)
    refuse_open_door(Address(address), SecretStr(TOKEN))


@pytest.mark.parametrize("address", ["127.0.0.1:8787", "[::1]:0", "localhost:8787"])
def test_loopback_needs_none(address: str) -> None:
    """Only this machine itself can reach it."""
    refuse_open_door(Address(address), None)
