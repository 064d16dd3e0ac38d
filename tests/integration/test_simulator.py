"""The simulator over HTTP, in this process and as a command of its own."""

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import aiohttp
import pytest

from phonon_bulk.errors import UnusableError
from phonon_bulk.simulator import Rules, Running, parse_fault, serving

ROOT = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}

# The command without the rest of the program: one that does what its main does with errors.
COMMAND = """
import sys, typer
from phonon_bulk.cli.simulate import simulate
from phonon_bulk.errors import PhononBulkError
app = typer.Typer()
app.command()(simulate)
try:
    app()
except PhononBulkError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def _body(*identifiers: str) -> bytes:
    calls = [
        {
            "client-identifier": identifier,
            "start-time": "2099-11-24T10:00:00+05:30",
            "contact-numbers": ["919812345678"],
            "keys": [],
        }
        for identifier in identifiers
    ]
    head = {"api-version": "1.0", "security-id": "a1" * 32, "flow-id": "QG8k000A"}
    return json.dumps({**head, "calls": calls}).encode()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client that reports a closed connection as it is."""
    async with aiohttp.ClientSession(headers=JSON) as session:
        yield session


@pytest.fixture
async def phonon() -> AsyncIterator[Running]:
    """Return a simulator with the default rules."""
    async with serving() as running:
        yield running


async def _post(
    client: aiohttp.ClientSession, url: str, body: bytes, **options: Any
) -> tuple[int, dict[str, Any]]:
    async with client.post(url, data=body, **options) as response:
        return response.status, await response.json()


async def _lines(client: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with client.get(url) as response:
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) for line in (await response.text()).splitlines()]


async def test_both_endpoints_answer_in_their_dialect(
    client: aiohttp.ClientSession, phonon: Running
) -> None:
    """The same path as the real ones, behind the endpoint's name."""
    assert phonon.bulk_url == f"{phonon.base_url}/bulk/kairos-apis/outbound/create"
    assert phonon.realtime_url == f"{phonon.base_url}/realtime/kairos-apis/outbound/create"
    status, answer = await _post(client, phonon.bulk_url, _body("A"))
    assert (status, answer["api-response-code"], answer["call-details"]) == (202, 202, None)
    status, answer = await _post(client, phonon.realtime_url, _body("A"))
    assert (status, answer["api-response-code"], len(answer["call-details"])) == (200, 200, 1)


async def test_the_books_can_be_read_over_http(
    client: aiohttp.ClientSession, phonon: Running
) -> None:
    """The same as in this process: calls, requests and sums."""
    _, answer = await _post(client, phonon.bulk_url, _body(*map(str, range(3))))
    await _post(client, phonon.bulk_url, b"{")
    calls = await _lines(client, f"{phonon.base_url}/ledger")
    assert calls == list(phonon.ledger.calls())
    assert [call["client-identifier"] for call in calls] == ["0", "1", "2"]
    assert {call["request-id"] for call in calls} == {answer["request-id"]}
    requests = await _lines(client, f"{phonon.base_url}/ledger/requests")
    assert requests == list(phonon.ledger.requests())
    assert [request["code"] for request in requests] == [202, 400]
    async with client.get(f"{phonon.base_url}/ledger/summary") as response:
        assert await response.json() == phonon.ledger.summary()


async def test_a_long_ledger_is_streamed(client: aiohttp.ClientSession, phonon: Running) -> None:
    """More lines than are written at once, and none is lost."""
    for batch in range(5):
        await _post(client, phonon.bulk_url, _body(*(f"{batch}-{i}" for i in range(500))))
    calls = await _lines(client, f"{phonon.base_url}/ledger")
    assert len({call["client-identifier"] for call in calls}) == len(calls) == 2500


async def test_rules_are_changed_and_books_emptied_over_http(
    client: aiohttp.ClientSession, phonon: Running
) -> None:
    """So that a test can mend an account half way."""
    body = _body("A")
    rules_url = f"{phonon.base_url}/rules"
    changes = {"faults": ["code:212"], "flow_ids": []}
    _, answer = await _post(client, rules_url, json.dumps(changes).encode())
    assert answer == {"changed": ["faults", "flow_ids"]}
    assert (await _post(client, phonon.bulk_url, body))[1]["api-response-code"] == 212
    await _post(client, rules_url, b'{"faults": []}')
    assert (await _post(client, phonon.bulk_url, body))[1]["api-response-code"] == 202
    await _post(client, f"{phonon.base_url}/reset", b"")
    assert not await _lines(client, f"{phonon.base_url}/ledger")
    assert (await _post(client, phonon.bulk_url, body))[1]["api-response-code"] == 202


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"flow": []}', "there is no rule 'flow'"),
        (b'{"faults": ["explode"]}', "no such kind"),
        (b"[]", "send a JSON object"),
        (b"{", "send a JSON object"),
    ],
)
async def test_rules_that_cannot_be_used_are_http_400(
    client: aiohttp.ClientSession, phonon: Running, body: bytes, says: str
) -> None:
    """With the sentence that says why."""
    status, answer = await _post(client, f"{phonon.base_url}/rules", body)
    assert status == 400
    assert says in answer["error"]


async def test_health_and_other_paths(client: aiohttp.ClientSession, phonon: Running) -> None:
    """Whether it is up; and that nothing else is served."""
    async with client.get(f"{phonon.base_url}/health") as response:
        assert response.status == 200
    async with client.get(phonon.bulk_url) as response:
        assert response.status == 405
    async with client.post(f"{phonon.base_url}/kairos-apis/outbound/create") as response:
        assert response.status == 404


async def test_the_content_type_must_be_json(
    client: aiohttp.ClientSession, phonon: Running
) -> None:
    """As the page asks."""
    headers = {"Content-Type": "text/plain"}
    _, answer = await _post(client, phonon.bulk_url, _body("A"), headers=headers)
    assert answer["api-response-code"] == 400


async def test_a_large_body_gets_the_providers_answer(
    client: aiohttp.ClientSession, phonon: Running
) -> None:
    """303 from the rules, not a 413 from the server, also far above the limit."""
    for size in (262_145, 1_000_000):
        _, answer = await _post(client, phonon.bulk_url, b" " * size)
        assert answer["api-response-code"] == 303


async def test_a_compressed_body_is_not_understood(
    client: aiohttp.ClientSession, phonon: Running
) -> None:
    """That Phonon takes one is documented nowhere."""
    _, answer = await _post(client, phonon.bulk_url, _body("A"), compress="gzip")
    assert answer["api-response-code"] == 400


@pytest.mark.parametrize(("fault", "accepted"), [("drop-before", 0), ("drop-after", 1)])
async def test_a_dropped_connection_is_closed_without_an_answer(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, fault: str, accepted: int
) -> None:
    """The client can't tell the two apart; the books can. The server has nothing to complain of."""
    caplog.set_level(logging.DEBUG, logger="aiohttp")
    async with serving(Rules(faults=(parse_fault(f"{fault}#1"),))) as phonon:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await _post(client, phonon.bulk_url, _body("A"))
        assert phonon.ledger.summary()["bulk"]["accepted-calls"] == accepted
        _, answer = await _post(client, phonon.bulk_url, _body("A"))
        assert answer["api-response-code"] == (201 if accepted else 202)
    assert not caplog.records


async def test_a_delayed_answer_was_processed_at_once(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that gives up leaves a doubt behind; the end does not wait for it."""
    async with serving(Rules(faults=(parse_fault("delay:60#1"),))) as phonon:
        with pytest.raises(asyncio.TimeoutError):
            await _post(
                client, phonon.bulk_url, _body("A"), timeout=aiohttp.ClientTimeout(total=0.1)
            )
        _, answer = await _post(client, phonon.bulk_url, _body("A"))
        assert answer["api-response-code"] == 201
    assert not caplog.records


async def test_a_port_in_use_is_told_in_one_sentence(phonon: Running) -> None:
    """Where, why, and what to do."""
    port = int(phonon.base_url.rpartition(":")[2])
    with pytest.raises(UnusableError) as raised:
        async with serving(port=port):
            pass
    message = str(raised.value)
    assert f"can't listen on 127.0.0.1:{port}" in message
    assert "address already in use" in message
    assert "--port" in message
    assert "\n" not in message


async def test_a_host_that_is_not_here_is_told_too() -> None:
    """An address of another machine (192.0.2.0/24 is nobody's)."""
    with pytest.raises(UnusableError, match=r"can't listen on 192\.0\.2\.1:0"):
        async with serving(host="192.0.2.1"):
            pass


async def test_ipv6_addresses_stand_in_brackets() -> None:
    """In a URL they have to."""
    try:
        async with serving(host="::1") as phonon:
            assert re.fullmatch(r"http://\[::1\]:\d+", phonon.base_url)
    except UnusableError:
        pytest.skip("this machine has no IPv6")


@contextmanager
def _command(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command on a free port; yield it and its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--port", "0", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            match = re.fullmatch(r"simulating Phonon on (http://127\.0\.0\.1:\d+)\n", line)
            assert match, process.communicate()
            yield process, match[1]
        finally:
            process.kill()


def _post_now(url: str, body: bytes, *, timeout: float = 5.0) -> dict[str, Any]:
    request = Request(url, data=body, headers=JSON)  # noqa: S310 - our own simulator
    with urlopen(request, timeout=timeout) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
        return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_is_and_ends_when_told(number: signal.Signals) -> None:
    """One line on standard output, settings on standard error, exit 0."""
    options = ("--flow-id", "QG8k000A", "--fault", "garbage#2", "--bulk-calls", "1000")
    with _command(*options, "--realtime-requests", "0") as (process, base_url):
        bulk_url = f"{base_url}/bulk/kairos-apis/outbound/create"
        assert _post_now(bulk_url, _body("A"))["api-response-code"] == 202
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    assert process.returncode == 0
    assert out == ""
    assert tomllib.loads(err) == {
        "endpoints": {
            "bulk": {"url": bulk_url, "requests_per_minute": 30_000, "calls_per_minute": 1000},
            "realtime": {"url": f"{base_url}/realtime/kairos-apis/outbound/create"},
        }
    }


def test_the_command_ends_though_an_answer_is_delayed() -> None:
    """Who told it to stop does not wait for a minute's delay."""
    with _command("--fault", "delay:60", "--no-uvloop") as (process, base_url):
        url = f"{base_url}/bulk/kairos-apis/outbound/create"
        with pytest.raises(TimeoutError):
            _post_now(url, _body("A"), timeout=0.2)
        process.terminate()
        _, err = process.communicate(timeout=5)
    assert process.returncode == 0
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fault", "explode"], "the fault 'explode' can't be used"),
        (["--flow-id", "short"], "a flow id has 8 letters and digits"),
        (["--host", "192.0.2.1"], "can't listen on 192.0.2.1:8099"),
    ],
)
def test_the_command_exits_2_with_one_sentence(options: list[str], says: str) -> None:
    """Whatever can't be used: nothing on standard output, no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_loads_nothing_heavy_for_its_help() -> None:
    """The `--help` of every command loads this module."""
    code = "import sys, phonon_bulk.cli.simulate; print('aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
