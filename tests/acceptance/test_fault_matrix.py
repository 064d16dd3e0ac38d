"""The fault matrix: whatever the network or the provider does, both books agree in the end.

The installed command sends through a proxy that does one fault (tests/fault_proxy.py). Each case
says what the operator sees and how it ends; docs/reliability.md says the same to the operator, and
the last test holds the page against the cases.
"""

import math
import random
import shutil
import ssl
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any, cast

import aiohttp
import fault_proxy as network
import orjson
import pytest
from desk import Desk, Ended, agree, until
from fault_proxy import JSON, PAGE, Fault, Stand, http

from phonon_bulk.config import EndpointSettings
from phonon_bulk.endpoint import Endpoint

RELIABILITY = Path(__file__).parents[2] / "docs" / "reliability.md"

CALLS = 1500
"""Three batches."""

QUICK = {"replay_after": 0.2, "back_off_first": 0.05, "back_off_most": 0.2}
"""Waits are short; none is asserted to be."""

GIVES_UP = {**QUICK, "give_up_after": 0.1}

PROVED = "taken at an earlier try, whose answer was lost"
"""So begins the reason of what is accepted without a request-id."""

BY_HAND = "according to"
"""Stands in the reason of what a person has settled."""

BY_PROOF = "accepted by *Checksum Repeated*, without a request-id; exit 0"
BY_REPLAY = "accepted by the replay, with its request-id; exit 0"
EITHER = (
    "if it was taken: accepted by *Checksum Repeated*, without a request-id; if not: accepted by "
    "the replay, with its request-id; exit 0"
)
SENT_AGAIN = "never in doubt, sent again, accepted; exit 0"
NOT_SENT = "all calls still to send, none in doubt; exit 5; `resume` sends them"

UNREADABLE = "with an answer that can't be read"
CLOSED = "the connection was closed before an answer came"
RESET = "the connection broke (connection reset by peer)"
BROKEN = "the connection broke while the request was on its way"
THROTTLED = "HTTP 429: too many requests"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the matrix."""

    name: str
    test: str
    """The function that plays it."""
    sees: tuple[str, ...]
    """What the operator sees: the log line's `why` or a sentence; where there are several, any."""
    end: str
    """What becomes of the calls."""
    strikes: tuple[Fault, ...] = ()
    """What strikes the second request and those after it, each of another batch."""
    timeout: float = 30.0
    connect_timeout: float = 10.0
    wait: float = 0.0
    """Seconds that pass at least between the answer to the second request and the third."""
    url: Callable[[Stand, Path], str] = lambda stand, _folder: stand.proxy.url
    """Where the settings point to."""

    def __str__(self) -> str:
        """Give the name as pytest shows it."""
        return self.name.replace("*", "").replace(" ", "-")

    @property
    def test_id(self) -> str:
        """The test, as pytest is told to run it."""
        several = len(of(self.test)) > 1
        return f"{self.test}[{self}]" if several else self.test


def of(test: str) -> list[Case]:
    """Return the cases that a test plays."""
    return [case for case in CASES if case.test == test]


def only(test: str) -> Case:
    """Return the one case that a test plays."""
    (case,) = of(test)
    return case


# ---- the cases


def passes(name: str, *sees: str, strikes: tuple[Fault, ...], **more: Any) -> Case:
    """Return the case of a fault that puts batches in doubt and does not strike twice."""
    taken = {fault.taken for fault in strikes}
    end = EITHER if len(taken) > 1 else BY_PROOF if True in taken else BY_REPLAY
    return Case(
        name=name, test="test_a_doubt_is_proved", sees=sees, end=end, strikes=strikes, **more
    )


def both(make: Callable[..., Fault], *given: Any) -> tuple[Fault, ...]:
    """Return a fault that strikes after the provider took the request, and one before."""
    return (make(*given, taken=True), make(*given, taken=False))


def server_errors(status: int) -> list[Case]:
    """Return the cases of one HTTP status, with and without Retry-After."""
    sees = f"HTTP {status} {UNREADABLE}"
    plain, later = http(status, PAGE), http(status, PAGE, Retry_After="1")
    return [
        passes(f"HTTP {status}", sees, strikes=both(network.answered, plain)),
        passes(f"HTTP {status} with Retry-After", sees, strikes=both(network.answered, later)),
    ]


def throttled(name: str, answer: Callable[[], bytes], wait: float) -> Case:
    """Return the case of an HTTP 429."""
    return Case(
        name=name,
        test="test_a_request_that_was_not_taken_is_sent_again",
        sees=(THROTTLED,),
        end=SENT_AGAIN,
        strikes=(network.answered_when(answer),),
        wait=wait,
    )


def in_two_seconds() -> bytes:
    """Return an HTTP 429 with a date that is one to two seconds ahead."""
    date = formatdate(math.ceil(time.time()) + 1, usegmt=True)
    return http(429, PAGE, Retry_After=date)


def stands(name: str, sees: str, url: Callable[[Stand, Path], str], **more: Any) -> Case:
    """Return the case of a fault that keeps every request from leaving, and does not pass."""
    test = "test_nothing_leaves_until_it_is_mended"
    return Case(name=name, test=test, sees=(sees,), end=NOT_SENT, url=url, **more)


def nobody_listens(stand: Stand, _folder: Path) -> str:
    """Return the address of a port that is closed."""
    return stand.open_proxy(listens=False).url


def nobody_answers(stand: Stand, _folder: Path) -> str:
    """Return the address of a port on which no connection comes about."""
    proxy = stand.open_proxy(listens=False)
    stand.do(proxy.ignore())
    return proxy.url


def no_such_name(_stand: Stand, _folder: Path) -> str:
    """Return the address of a name that is reserved for not being there (RFC 2606)."""
    return "https://no-such-host.invalid"


def plain_where_tls_is_wanted(stand: Stand, _folder: Path) -> str:
    """Return an https address at which plain HTTP is spoken."""
    stand.proxy.always = network.speaks_plainly
    return stand.proxy.url.replace("http://", "https://")


def silent_where_tls_is_wanted(stand: Stand, _folder: Path) -> str:
    """Return an https address at which nothing is said."""
    return stand.proxy.url.replace("http://", "https://")


def self_signed(stand: Stand, folder: Path) -> str:
    """Return the address of a server whose certificate nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return stand.open_proxy(tls).url


HERE = "127.0.0.1 can't be reached: "

CASES = [
    stands("connection refused", f"{HERE}connection refused", nobody_listens),
    stands(
        "no connection comes about",
        f"{HERE}no connection in time",
        nobody_answers,
        connect_timeout=0.5,
    ),
    stands(
        "a name that does not resolve",
        "no-such-host.invalid can't be reached: the name can't be resolved (DNS)",
        no_such_name,
    ),
    stands(
        "TLS with a server that speaks plain HTTP",
        f"{HERE}TLS could not be agreed on",
        plain_where_tls_is_wanted,
    ),
    stands(
        "TLS with a server that is silent",
        f"{HERE}no connection in time",
        silent_where_tls_is_wanted,
        connect_timeout=0.5,
    ),
    stands(
        "a self-signed certificate",
        f"{HERE}its TLS certificate is not valid",
        self_signed,
    ),
    Case(
        name="a name that can be no name",
        test="test_a_name_that_can_be_no_name",
        sees=("endpoints.bulk.url: expected an https:// address",),
        end="no run is begun; exit 2",
    ),
    Case(
        name="a redirect",
        test="test_a_redirect_is_not_followed",
        sees=("stopped: HTTP 307: the endpoint's URL leads elsewhere",),
        end="what was not sent is still to send, none in doubt; exit 3; `resume` sends it",
        strikes=(network.answered(http(307, b"", Location="http://127.0.0.1:1/")),),
    ),
    passes("accepted and closed", CLOSED, RESET, BROKEN, strikes=(network.closed_at_the_door,)),
    passes(
        "closed when used again", CLOSED, RESET, BROKEN, strikes=(network.closed_when_used_again,)
    ),
    passes("reset after the head", RESET, strikes=(network.reset_after_the_head,)),
    passes("reset amid the body", RESET, strikes=(network.reset_in_the_body,)),
    passes("reset after the body", RESET, strikes=both(network.reset_after_the_body)),
    passes("closed without an answer", CLOSED, strikes=both(network.closed_without_an_answer)),
    passes(
        "answered amid the body",
        f"HTTP 503 {UNREADABLE}",
        strikes=(network.answered_before_the_body,),
    ),
    passes("answer cut amid its headers", CLOSED, strikes=(network.cut(network.in_the_headers),)),
    passes(
        "answer cut amid its body",
        "the answer was cut off",
        strikes=(network.cut(network.in_the_answers_body),),
    ),
    passes(
        "no answer in time",
        "no answer within 2 seconds",
        strikes=both(network.silent),
        timeout=2.0,
    ),
    passes(
        "a request that arrives after its replay",
        "no answer within 2 seconds",
        strikes=(network.late,),
        timeout=2.0,
    ),
    *server_errors(500),
    *server_errors(502),
    *server_errors(503),
    throttled("HTTP 429", lambda: http(429, PAGE), 0.0),
    throttled(
        "HTTP 429 with Retry-After in seconds", lambda: http(429, PAGE, Retry_After="1"), 1.0
    ),
    throttled("HTTP 429 with Retry-After as a date", in_two_seconds, 0.9),
    passes(
        "HTTP 200 with HTML",
        f"HTTP 200 {UNREADABLE}",
        strikes=both(network.answered, http(200, PAGE)),
    ),
    passes(
        "HTTP 200 with nothing",
        f"HTTP 200 {UNREADABLE}",
        strikes=both(network.answered, http(200, b"", JSON)),
    ),
    passes(
        "HTTP 200 with JSON that is no object",
        f"HTTP 200 {UNREADABLE}",
        strikes=both(network.answered, http(200, b'["api-response-code", 202]', JSON)),
    ),
    passes(
        "an answer of 10 MB",
        "HTTP 200 with an answer of over 4000000 bytes",
        strikes=both(network.answered, http(200, b" " * 10_000_000, JSON)),
    ),
    passes(
        "no HTTP",
        "the answer is no HTTP (ClientResponseError)",
        strikes=both(network.answered, b"220 smtp ready\r\n"),
    ),
    passes("code 500 *Failure*", "Failure (500)", strikes=both(network.failure, 500, "Failure")),
    passes(
        "code 206 *Failure from Gateway*",
        "Failure from Gateway (206)",
        strikes=both(network.failure, 206, "Failure from Gateway"),
    ),
    Case(
        name="a good answer under another content type",
        test="test_a_content_type_does_not_matter",
        sees=(),
        end="accepted, with its request-id; exit 0",
        strikes=(network.answered_as("text/plain"), network.answered_as("text/html")),
    ),
    Case(
        name="HTTP 503 from every request for a while",
        test="test_an_outage_costs_three_doubts",
        sees=(f"HTTP 503 {UNREADABLE}",),
        end="three batches in doubt, then the endpoint rests; all accepted; exit 0",
        strikes=(
            network.answered(http(503, PAGE)),
            network.answered(http(503, PAGE)),
            network.answered(http(503, PAGE, Retry_After="1")),
        ),
        wait=1.0,
    ),
    Case(
        name="every answer lost until it gives up",
        test="test_an_outage_that_outlasts_the_patience",
        sees=(f"given up for now: {RESET}. What is not sent is kept",),
        end=(
            "three batches in doubt and one more for each later try, the others still to send; "
            "exit 5; `resume` settles all"
        ),
    ),
    Case(
        name="every answer lost, and nothing else left to send",
        test="test_an_outage_that_leaves_only_doubts",
        sees=("sends their bytes again while they are young, which may prove it",),
        end="all batches in doubt; exit 5; `resume` settles all",
    ),
    Case(
        name="HTTP 429 to a replay",
        test="test_a_no_to_a_replay_spoils_the_proof",
        sees=("Checksum Repeated (201), which proves nothing here",),
        end="in doubt; exit 4; a person settles it with `resolve`",
        strikes=(network.reset_after_the_body(taken=True), network.through),
    ),
    Case(
        name="away for longer than replay_within",
        test="test_a_doubt_that_grew_old_waits_for_a_person",
        sees=("500 calls may or may not have been taken by the provider",),
        end="in doubt, not replayed; exit 4; a person settles it with `resolve`",
        strikes=(network.away(3600),),
    ),
    Case(
        name="a provider that forgets sooner than replay_within",
        test="test_a_provider_that_forgets_too_soon_is_sent_a_batch_twice",
        sees=(RESET,),
        end="accepted by the replay, and **placed twice**; exit 0",
        strikes=(network.reset_after_the_body(taken=True),),
    ),
    Case(
        name="all of them in turn",
        test="test_everything_at_once",
        sees=(),
        end="accepted; what can't be proved is in doubt until a person settles it",
    ),
]


PASSING = {"test_a_doubt_is_proved", "test_a_request_that_was_not_taken_is_sent_again"}
"""The tests of faults that strike once and pass."""


# ---- what they are played with


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Return a simulator with a proxy before it."""
    with Stand() as stand:
        yield stand


def prepare(desk: Desk, url: str, calls: int = CALLS, **settings: Any) -> None:
    """Make a desk ready to send `calls` calls to `url`, one request at a time if not said."""
    desk.settings(url, **{"workers": 1, "sending": QUICK, **settings})
    desk.campaign()
    desk.contacts(calls)


def play(desk: Desk, stand: Stand, case: Case, **settings: Any) -> Ended:
    """Run a campaign whose second request and those after it are struck as the case says."""
    stand.proxy.plan = dict(enumerate(case.strikes, start=2))
    settings |= {"timeout": case.timeout, "connect_timeout": case.connect_timeout}
    prepare(desk, case.url(stand, desk.folder), **settings)
    return desk.run("run", "campaign.toml", "--json")


def events(ended: Ended, name: str) -> list[dict[str, Any]]:
    """Return the log lines of one kind."""
    lines = [orjson.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def why(ended: Ended, name: str) -> list[str]:
    """Return the reasons that log lines of one kind gave."""
    return [event["why"] for event in events(ended, name)]


def both_agree(lines: list[dict[str, Any]], stand: Stand) -> None:
    """Hold both books against each other: nothing lost, nothing doubled, no id that is wrong.

    A request-id may be missing only where its answer was lost, and then it is said.
    """
    ledger = stand.simulator.ledger()
    theirs = {call["client-identifier"]: call for call in ledger}
    assert len(theirs) == len(ledger), "a call was placed twice"
    ours = {line["client_identifier"]: line for line in lines if line["state"] == "accepted"}
    assert ours.keys() == theirs.keys()
    for name, line in ours.items():
        call = theirs[name]
        assert line["contact_numbers"] == call["contact-numbers"]
        unknown = PROVED in (line["reason"] or "") or BY_HAND in (line["reason"] or "")
        assert line["request_id"] == (None if unknown else call["request-id"]), line


def placed_how_often(stand: Stand) -> Counter[int]:
    """Return how many calls were placed once, twice, …."""
    calls = Counter(call["client-identifier"] for call in stand.simulator.ledger())
    return Counter(calls.values())


def settle_by_hand(desk: Desk, stand: Stand) -> None:
    """Settle each doubt as a person does who has asked the provider, and go on with the run."""
    taken = {call["client-identifier"] for call in stand.simulator.ledger()}
    batches = {line["batch"]: line["client_identifier"] in taken for line in desk.export()}
    for doubt in desk.run("resolve", "1", "--json").summary["doubts"]:
        flag = "--accepted" if batches[doubt["batch"]] else "--resend"
        assert desk.run("resolve", "1", str(doubt["batch"]), flag).exit == 0
    assert desk.run("resume", "1", "-q").exit == 0


def each_case(test: str) -> pytest.MarkDecorator:
    """Parametrize a test with its cases."""
    return pytest.mark.parametrize("case", of(test), ids=str)


# ---- one fault, which passes


@dataclass(frozen=True)
class Played:
    """One run in which several cases struck, each batches of its own."""

    struck: dict[str, dict[int, Fault]]
    """By the case's name: which batch was struck, and by what."""
    doubts: dict[int, list[str]]
    """By batch: why it was in doubt, as the log says."""
    lines: dict[int, list[dict[str, Any]]]
    """By batch: what became of its calls, as the export says."""


def play_together(cases: list[Case], folder: Path) -> Played:
    """Run one campaign in which all these cases strike, one after the other.

    All batches are ready when it begins, and there is one worker: so the n-th request is the n-th
    batch's, and replays come after all of them. Between two cases one request goes well, so that
    the endpoint never rests.
    """
    struck, batches = {}, 2
    for case in cases:
        struck[case.name] = dict(enumerate(case.strikes, start=batches))
        batches += len(case.strikes) + 1
    desk = Desk(folder)
    with Stand() as stand:
        for strikes in struck.values():
            stand.proxy.plan |= strikes
        later = {**QUICK, "replay_after": 12}  # when all have been struck; doubts go first then
        url, timeout = stand.proxy.url, cases[0].timeout
        prepare(desk, url, 500 * batches, timeout=timeout, sending=later)
        assert desk.run("submit", "campaign.toml", "-q").exit == 0
        ended = desk.run("run", "campaign.toml", "--json")
        assert (ended.exit, ended.summary["accepted"]) == (0, 500 * batches), ended.err
        requests = batches + len(stand.proxy.plan)
        assert ended.summary["requests"] == stand.proxy.requests == requests, ended.err
        arriving = sum(fault.taken or fault is network.late for fault in stand.proxy.plan.values())
        until(lambda: len(stand.simulator.requests()) == batches + arriving)
        lines = desk.export()
        both_agree(lines, stand)
    played = Played(struck, defaultdict(list), defaultdict(list))
    for event in events(ended, "batch.in_doubt"):
        played.doubts[event["batch"]].append(event["why"])
    for line in lines:
        played.lines[line["batch"]].append(line)
    return played


@pytest.fixture(scope="module")
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Case], Played]:
    """Return what plays a case, together with all that are asked for and have its settings."""
    asked = [each for item in request.session.items for each in doubts_of(item)]

    @cache
    def with_timeout(timeout: float) -> Played:
        cases = [case for case in asked if case.timeout == timeout]
        return play_together(cases, tmp_path_factory.mktemp("together"))

    return lambda case: with_timeout(case.timeout)


def doubts_of(item: pytest.Item) -> list[Case]:
    """Return the case that a test plays, if it is one whose doubt is proved."""
    if isinstance(item, pytest.Function) and item.originalname == "test_a_doubt_is_proved":
        return [cast(Case, item.callspec.params["case"])]
    return []


@each_case("test_a_doubt_is_proved")
def test_a_doubt_is_proved(together: Callable[[Case], Played], case: Case) -> None:
    """What may have arrived is in doubt, is replayed byte for byte, and either answer proves it.

    That the run ends with exit 0, with as many requests as there must be, and that both books
    agree, is seen to by `play_together`.
    """
    played = together(case)
    for batch, fault in played.struck[case.name].items():
        (why_in_doubt,) = played.doubts[batch]
        assert why_in_doubt in case.sees
        lines = played.lines[batch]
        assert {(line["state"], line["attempts"]) for line in lines} == {("accepted", 2)}
        assert len(lines) == 500
        for line in lines:
            assert (line["request_id"] is None) == fault.taken
            assert (line["reason"] or "").startswith(PROVED) == fault.taken


@each_case("test_a_request_that_was_not_taken_is_sent_again")
def test_a_request_that_was_not_taken_is_sent_again(desk: Desk, stand: Stand, case: Case) -> None:
    """HTTP 429 is a clear no: no doubt, but a rest, as long as the provider asks for."""
    ended = play(desk, stand, case)
    assert why(ended, "endpoint.resting") == list(case.sees), ended.err
    assert "batch.in_doubt" not in ended.err
    assert (ended.exit, ended.summary["accepted"]) == (0, CALLS)
    assert ended.summary["requests"] == stand.proxy.requests == 4
    assert stand.proxy.arrived_at[2] - stand.proxy.answered_at[1] >= case.wait
    agree(desk, stand.simulator)


def test_a_content_type_does_not_matter(desk: Desk, stand: Stand) -> None:
    """What an answer says counts, not what it is called."""
    ended = play(desk, stand, only("test_a_content_type_does_not_matter"))
    assert (ended.exit, ended.summary["accepted"], stand.proxy.requests) == (0, CALLS, 3)
    assert "warning" not in ended.err
    agree(desk, stand.simulator)


# ---- faults that stay until somebody mends them


@each_case("test_nothing_leaves_until_it_is_mended")
def test_nothing_leaves_until_it_is_mended(desk: Desk, stand: Stand, case: Case) -> None:
    """Without a connection nothing is in doubt; it is given up for now, and resumed when mended."""
    desk.environment["no_proxy"] = "*"
    ended = play(desk, stand, case, sending=GIVES_UP)
    (sees,) = case.sees
    assert ended.exit == 5, ended.err
    assert all(reason.startswith(sees) for reason in why(ended, "endpoint.resting"))
    assert f"given up for now: {sees}" in ended.err
    assert "What is not sent is kept: `phonon-bulk resume 1` goes on" in ended.err
    assert (ended.summary["to_send"], ended.summary["in_doubt"]) == (CALLS, 0)
    assert {line["state"] for line in desk.export()} == {"ready"}
    assert stand.simulator.requests() == []
    desk.settings(stand.simulator.url, sending=QUICK)
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, stand.simulator)


def test_a_redirect_is_not_followed(desk: Desk, stand: Stand) -> None:
    """The body holds the security id, so it goes where the settings say or nowhere."""
    case = only("test_a_redirect_is_not_followed")
    ended = play(desk, stand, case)
    (sees,) = case.sees
    assert (ended.exit, ended.summary["state"]) == (3, "stopped"), ended.err
    assert f"{sees}. Correct the endpoint's url in phonon-bulk.toml, then go on with" in ended.err
    assert (ended.summary["accepted"], ended.summary["to_send"]) == (500, 1000)
    stand.proxy.plan = {}
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, stand.simulator)


# ---- outages


def test_an_outage_costs_three_doubts(desk: Desk, stand: Stand) -> None:
    """From the third unclear answer in a row on the endpoint rests, for as long as it asks for."""
    case = only("test_an_outage_costs_three_doubts")
    stand.proxy.plan = dict(enumerate(case.strikes, start=2))
    prepare(desk, stand.proxy.url, 5000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert why(ended, "batch.in_doubt") == list(case.sees) * 3, ended.err
    assert why(ended, "endpoint.resting") == list(case.sees)
    assert "endpoint.answers_again" in ended.err
    assert stand.proxy.arrived_at[4] - stand.proxy.answered_at[3] >= case.wait
    assert (ended.exit, stand.proxy.requests) == (0, 10 + 3)
    agree(desk, stand.simulator)


def test_an_outage_that_outlasts_the_patience(desk: Desk, stand: Stand) -> None:
    """Given up for now, with few doubts; `resume` proves them and sends the rest."""
    stand.proxy.plan = {1: network.through}
    stand.proxy.always = network.reset_after_the_body(taken=True)
    prepare(desk, stand.proxy.url, 5000, sending=GIVES_UP)
    ended = desk.run("run", "campaign.toml", "--json")
    (sees,) = only("test_an_outage_that_outlasts_the_patience").sees
    assert sees in ended.err
    assert (ended.exit, ended.summary["accepted"]) == (5, 500)
    assert 1500 <= ended.summary["in_doubt"] < 4500
    stand.proxy.always = network.through
    assert desk.run("resume", "1", "-q").exit == 0
    lines = desk.export()
    assert len(lines) == 5000
    both_agree(lines, stand)


def test_an_outage_that_leaves_only_doubts(desk: Desk, stand: Stand) -> None:
    """Given up while all is in doubt and young: the operator is told that `resume` proves it."""
    stand.proxy.always = network.reset_after_the_body(taken=True)
    prepare(desk, stand.proxy.url, sending=GIVES_UP)
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["in_doubt"]) == (5, CALLS)
    (sees,) = only("test_an_outage_that_leaves_only_doubts").sees
    assert f"`phonon-bulk resume 1` {sees}" in ended.err
    stand.proxy.always = network.through
    resumed = desk.run("resume", "1", "--json")
    assert (resumed.exit, resumed.summary["accepted"]) == (0, CALLS)
    assert placed_how_often(stand) == {1: CALLS}


def test_the_first_503_may_ask_for_a_rest_too(desk: Desk, stand: Stand) -> None:
    """HTTP 503 with Retry-After says when to come back, also if it is the first."""
    stand.proxy.plan = {2: network.answered(http(503, PAGE, Retry_After="2"))}
    prepare(desk, stand.proxy.url)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    assert stand.proxy.arrived_at[2] - stand.proxy.answered_at[1] >= 2


# ---- what the provider remembers


def test_a_no_to_a_replay_spoils_the_proof(desk: Desk, stand: Stand) -> None:
    """A no may have left its checksum, so *Checksum Repeated* after it leaves the doubt."""
    case = only("test_a_no_to_a_replay_spoils_the_proof")
    stand.proxy.plan = {4: network.answered(http(429, PAGE))}
    stand.proxy.plan |= dict(enumerate(case.strikes, start=2))
    prepare(desk, stand.proxy.url)
    ended = desk.run("run", "campaign.toml", "--json")
    assert (ended.exit, ended.summary["in_doubt"], stand.proxy.requests) == (4, 500, 5), ended.err
    *before, last = why(ended, "batch.in_doubt")
    assert before == [RESET, THROTTLED]
    assert last.startswith(case.sees[0])
    assert "500 calls may or may not have been taken by the provider" in ended.err
    assert desk.run("resolve", "1", "--all", "--accepted").exit == 0
    both_agree(desk.export(), stand)


def test_a_doubt_that_grew_old_waits_for_a_person(desk: Desk, stand: Stand) -> None:
    """Once the provider may have forgotten the bytes they are sent no more: nothing is doubled."""
    case = only("test_a_doubt_that_grew_old_waits_for_a_person")
    stand.simulator.change(checksum_memory=3)
    away = play(desk, stand, case, sending={**GIVES_UP, "replay_within": 1})
    assert (away.exit, away.summary["in_doubt"], away.summary["to_send"]) == (5, 500, 500)
    stand.ahead = 10.0  # the provider has forgotten
    time.sleep(max(0.0, stand.proxy.arrived_at[1] + 1.0 - time.time()))
    desk.settings(stand.simulator.url, sending={**QUICK, "replay_within": 1})
    ended = desk.run("resume", "1", "--json")
    assert (ended.exit, ended.summary["in_doubt"], ended.summary["accepted"]) == (4, 500, 1000)
    assert case.sees[0] in ended.err
    assert len(stand.simulator.requests()) == 3
    assert desk.run("resolve", "1", "--all", "--accepted").exit == 0
    both_agree(desk.export(), stand)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({2: network.away(3)}, id="a closed port"),
        pytest.param(
            {
                2: network.reset_after_the_body(taken=True),
                4: network.answered(http(429, PAGE, Retry_After="3")),
            },
            id="Retry-After",
        ),
    ],
)
def test_a_doubt_that_grew_old_while_the_endpoint_rested(
    desk: Desk, stand: Stand, fault: dict[int, Fault]
) -> None:
    """The age of a doubt counts when its bytes would leave, however long they waited for it."""
    stand.simulator.change(checksum_memory=1.5)
    stand.proxy.plan = fault
    prepare(desk, stand.proxy.url, sending={**QUICK, "replay_within": 1})
    ended = desk.run("run", "campaign.toml", "--json")
    assert placed_how_often(stand) == {1: CALLS}
    assert (ended.exit, ended.summary["in_doubt"]) == (4, 500)


def test_a_provider_that_forgets_too_soon_is_sent_a_batch_twice(desk: Desk, stand: Stand) -> None:
    """That is why replay_within is a setting: it has to be shorter than the provider's memory."""
    case = only("test_a_provider_that_forgets_too_soon_is_sent_a_batch_twice")
    stand.simulator.change(checksum_memory=0)
    ended = play(desk, stand, case)
    assert why(ended, "batch.in_doubt") == list(case.sees)
    assert (ended.exit, ended.summary["accepted"]) == (0, CALLS)
    assert placed_how_often(stand) == {1: 1000, 2: 500}


@pytest.mark.parametrize("host", ["central-api..invalid", "a" * 64 + ".invalid"])
def test_a_name_that_can_be_no_name(desk: Desk, host: str) -> None:
    """A slip of the pen in the url is found before anything is begun."""
    case = only("test_a_name_that_can_be_no_name")
    prepare(desk, f"https://{host}", 3)
    ended = desk.run("run", "campaign.toml")
    assert ended.exit == 2
    assert case.sees[0] in ended.err
    assert not (desk.folder / "journal.db").exists()


def test_no_foreign_words_for_a_connection_that_broke() -> None:
    """A connection that is closed while the body is written is told in our own words."""
    url = "https://central-api.example.invalid/kairos-apis/outbound/create"
    endpoint = Endpoint("bulk", EndpointSettings(url=url, requests_per_minute=1))
    told = endpoint._why_lost(aiohttp.ClientOSError(None, f"Can not write request body for {url}"))
    assert told == BROKEN


# ---- all of them


@pytest.mark.parametrize("seed", [20_261_124])
def test_everything_at_once(desk: Desk, stand: Stand, seed: int) -> None:
    """Each fault that passes, once, in an order of chance, over some sixty requests."""
    chance = random.Random(seed)  # noqa: S311 - it is to be replayed
    faults = [fault for case in CASES if case.test in PASSING for fault in case.strikes]
    faults += [network.away(0.3)]
    faults += [network.through] * (60 - len(faults))
    chance.shuffle(faults)
    stand.proxy.plan = dict(enumerate(faults, start=1))
    quick = {**QUICK, "replay_after": 0.1}
    more = {"workers": 2, "timeout": 1.0, "requests_per_minute": "off"}  # a 429 slows nothing down
    prepare(desk, stand.proxy.url, 20_000, sending=quick, **more)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit in {0, 4}, ended.err
    assert stand.proxy.requests > 40
    if ended.exit == 4:  # a replay was answered with HTTP 429, and spoiled its proof
        settle_by_hand(desk, stand)
    lines = desk.export()
    assert Counter(line["state"] for line in lines) == {"accepted": 20_000}
    both_agree(lines, stand)


# ---- the page


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_page_says_the_same(case: Case) -> None:
    """Each case is a row of the page, with the words that the operator sees and its end."""
    rows = RELIABILITY.read_text("utf-8").splitlines()
    (row,) = [row for row in rows if row.startswith(f"| {case.name} |")]
    for words in (*case.sees, case.end, case.test_id):
        assert words in row
