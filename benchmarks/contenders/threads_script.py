"""The script of who does not write asyncio: requests, and a pool of threads.

    export PHONON_BULK_SECURITY_ID=... PYTHONPATH=benchmarks
    python -m contenders.threads_script contacts.csv --url URL --flow-id ID

It reads and packs as the plain script does, and posts from 32 threads, each with a session (so a
connection) of its own. It has no limit and no journal.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import requests
from contenders.plain_script import (
    ACCEPTED,
    REQUESTS_AT_ONCE,
    Call,
    Counts,
    arguments,
    batches,
    head_of,
    read_calls,
    show,
)

_TIMEOUT = 30


class Sender:
    """Sends batches to one flow from whatever thread asks for it."""

    def __init__(self, url: str, head: dict[str, str], counts: Counts) -> None:
        self._url = url
        self._head = head
        self._counts = counts
        self._of_thread = threading.local()
        self._counting = threading.Lock()

    def send(self, batch: list[Call]) -> None:
        """Send a batch and count what became of it."""
        accepted = self._post(orjson.dumps({**self._head, "calls": batch}))
        with self._counting:
            self._counts.requests += 1
            if accepted:
                self._counts.accepted += len(batch)
            else:
                self._counts.failed += len(batch)

    def _post(self, body: bytes) -> bool:
        try:
            answer = orjson.loads(
                self._session().post(self._url, data=body, timeout=_TIMEOUT).content
            )
        except (requests.RequestException, orjson.JSONDecodeError) as error:
            print(f"request failed: {error!r}")
            return False
        if answer["api-response-code"] != ACCEPTED:
            print(f"request refused: {answer['api-response-message']}")
            return False
        return True

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = requests.Session()
            session.headers["Content-Type"] = "application/json"
        return session


def main() -> None:
    """Send a list and print the counts."""
    given = arguments("Send a contact list from threads, without a journal.").parse_args()
    counts = Counts()
    sender = Sender(given.url, head_of(given.flow_id), counts)
    slots = threading.Semaphore(REQUESTS_AT_ONCE)  # else the whole list would wait in memory
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for batch in batches(read_calls(given.path, counts), given.calls_in_a_request):
            slots.acquire()
            pool.submit(sender.send, batch).add_done_callback(lambda _done: slots.release())
    show(counts)


if __name__ == "__main__":
    main()
