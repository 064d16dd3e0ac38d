"""`phonon-bulk simulate`: a Phonon on this machine."""

import sys
from typing import Annotated, Literal

import typer

_Texts = list[str]


def simulate(
    *,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on. It has no password: keep it local."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port to listen on; 0 picks a free one."
        ),
    ] = 8099,
    security_id: Annotated[
        _Texts | None,
        typer.Option(
            metavar="ID", help="A known security id, 64 letters and digits. Any if none is given."
        ),
    ] = None,
    flow_id: Annotated[
        _Texts | None,
        typer.Option(
            metavar="ID", help="A known flow id, 8 letters and digits. Any if none is given."
        ),
    ] = None,
    api_version: Annotated[
        _Texts | None,
        typer.Option(
            metavar="VERSION", help="A supported api-version; 1.0 and TEST if none is given."
        ),
    ] = None,
    allow_ip: Annotated[
        _Texts | None,
        typer.Option(
            metavar="IP", help="An address or network that may send. Any if none is given."
        ),
    ] = None,
    bulk_requests: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Requests in any 60 seconds on bulk; 0 is no limit."),
    ] = 30_000,
    bulk_calls: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Calls in any 60 seconds on bulk; 0 is no limit."),
    ] = 0,
    realtime_requests: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Requests in any 60 seconds in real time; 0 is no limit."
        ),
    ] = 500,
    realtime_calls: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Calls in any 60 seconds in real time; 0 is no limit."
        ),
    ] = 0,
    retry_after: Annotated[
        Literal["none", "seconds", "date"],
        typer.Option(help="The Retry-After header that goes with an HTTP 429."),
    ] = "none",
    checksum_memory: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long a body is remembered (Checksum Repeated); for ever if left out.",
        ),
    ] = None,
    remember_refused: Annotated[
        bool,
        typer.Option(
            "--remember-refused",
            help="Remember refused bodies too, as if the checksum were taken before processing.",
        ),
    ] = False,
    http_errors: Annotated[
        bool,
        typer.Option(
            "--http-errors",
            help="Let codes 400 to 599 be the HTTP status too, instead of always HTTP 200.",
        ),
    ] = False,
    partial_success: Annotated[
        bool,
        typer.Option(
            "--partial-success",
            help="Leave bad calls out (209 Partial Success) instead of refusing the request.",
        ),
    ] = False,
    bad_identifier: Annotated[
        _Texts | None,
        typer.Option(metavar="TEXT", help="A client-identifier whose calls are bad (code 210)."),
    ] = None,
    bad_number: Annotated[
        _Texts | None,
        typer.Option(
            metavar="DIGITS", help="A contact number that is invalid for the provider (code 205)."
        ),
    ] = None,
    fault: Annotated[
        _Texts | None,
        typer.Option(
            metavar="FAULT",
            help="What goes wrong: delay:SECONDS, code:CODE, code:206+taken, status:STATUS,"
            " status:502+taken, drop-before, drop-after or garbage; @0.01 for one request in a"
            " hundred, #3 for the third only, else for every request. May be given several times.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seeds the chance of the faults.")] = 0,
    parse: Annotated[
        bool,
        typer.Option(
            "--parse/--no-parse",
            help="Read and check every call. Without, calls are only counted: for benchmarks.",
        ),
    ] = True,
    uvloop: Annotated[
        bool, typer.Option("--uvloop/--no-uvloop", help="Use uvloop where it is installed.")
    ] = True,
) -> None:
    """Be a Phonon on this machine: both endpoints, its rules, and faults on request.

    What was accepted can be read at /ledger, what was received at /ledger/requests, the sums at
    /ledger/summary. POST /reset empties the books; POST /rules changes rules while it runs.
    """
    from phonon_bulk.simulator import RetryAfter, Rules, Running, parse_fault, run

    def announce(running: Running) -> None:
        print(f"simulating Phonon on {running.base_url}", flush=True)  # noqa: T201 - for scripts
        print(running.settings(), file=sys.stderr, flush=True)  # noqa: T201 - for a person

    rules = Rules(
        security_ids=frozenset(security_id or ()),
        flow_ids=frozenset(flow_id or ()),
        api_versions=frozenset(api_version or ("1.0", "TEST")),
        allowed_ips=frozenset(allow_ip or ()),
        bulk_requests_per_minute=bulk_requests or None,
        bulk_calls_per_minute=bulk_calls or None,
        realtime_requests_per_minute=realtime_requests or None,
        realtime_calls_per_minute=realtime_calls or None,
        retry_after=RetryAfter(retry_after),
        checksum_memory=checksum_memory,
        remember_refused=remember_refused,
        http_errors=http_errors,
        partial_success=partial_success,
        bad_identifiers=frozenset(bad_identifier or ()),
        bad_numbers=frozenset(bad_number or ()),
        faults=tuple(parse_fault(text) for text in fault or ()),
        seed=seed,
        parse_calls=parse,
    )
    run(rules, host, port, announce, use_uvloop=uvloop)
