"""dlt with a custom destination, as its own pages on reverse ETL show it.

    export PHONON_BULK_SECURITY_ID=... PYTHONPATH=benchmarks
    python -m contenders.dlt_script contacts.csv --url URL --flow-id ID --folder FOLDER

A resource yields the calls in pages, and a function behind `dlt.destination` is handed 500 of them
at a time and posts them with requests. What dlt does beyond a script: the list is written to a load
package on disk before anything is sent, its schema is inferred and each value looked at, a batch
that fails is tried again, and after each batch it is written down how far the package was loaded.
What it does not do: nothing tells a batch that may have been sent from one that was not (it is sent
again), there is no limit, and no outcome for each contact.

dlt would report its use to its makers; that is switched off here.
"""

import argparse
import os
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import requests
from contenders.plain_script import (
    ACCEPTED,
    Call,
    Counts,
    arguments,
    batches,
    head_of,
    read_calls,
    show,
)

_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "WARNING",
}
_TIMEOUT = 30
_PAGE = 1_000
"""Calls that are yielded at once; dlt's pages advise pages rather than single items."""

Post = Callable[[list[Call], Any], None]


def poster(url: str, head: dict[str, str], counts: Counts) -> Post:
    """Return the function that dlt hands each batch to."""
    session, counting = requests.Session(), threading.Lock()
    session.headers["Content-Type"] = "application/json"

    def phonon(items: list[Call], table: Any) -> None:  # noqa: ARG001 - dlt hands over both
        body = orjson.dumps({**head, "calls": items})
        answer = orjson.loads(session.post(url, data=body, timeout=_TIMEOUT).content)
        if answer["api-response-code"] != ACCEPTED:
            raise RuntimeError(f"request refused: {answer['api-response-message']}")
        with counting:
            counts.requests += 1
            counts.accepted += len(items)

    return phonon


def run(
    pages: Iterator[Any], post: Post, *, size: int, folder: Path, file_format: str = "typed-jsonl"
) -> None:
    """Run a pipeline over what `pages` yields, `size` rows a request."""
    os.environ.update(_SETTINGS)
    # Not `import dlt`: `make check` must come to the same where it is not installed.
    dlt: Any = import_module("dlt")
    pipeline = dlt.pipeline(
        pipeline_name="contacts",
        pipelines_dir=str(folder),
        destination=dlt.destination(
            post, batch_size=size, loader_file_format=file_format, name="phonon"
        ),
    )
    # Left to itself dlt makes a moment of what looks like one, and writes it another way.
    text = {"start-time": {"data_type": "text"}} if file_format == "typed-jsonl" else None
    pipeline.run(dlt.resource(pages, name="calls", columns=text)).raise_on_failed_jobs()


def arguments_with_folder() -> argparse.ArgumentParser:
    """Return a parser for what the scripts with dlt are given."""
    parser = arguments("Send a contact list with dlt.")
    parser.add_argument("--folder", type=Path, required=True, help="where dlt keeps its packages")
    return parser


def main() -> None:
    """Send a list and print the counts."""
    given = arguments_with_folder().parse_args()
    counts = Counts()
    post = poster(given.url, head_of(given.flow_id), counts)
    pages = batches(read_calls(given.path, counts), _PAGE)
    run(pages, post, size=given.calls_in_a_request, folder=given.folder)
    show(counts)


if __name__ == "__main__":
    main()
