"""From the intake's socket to a simulated provider and back, through the journal."""

from pathlib import Path

from builders import FLOW_ID
from intake_client import Client, a_call
from working import working

from phonon_bulk.config import Address
from phonon_bulk.intake.server import serve


async def test_a_call_by_http_is_placed_once(tmp_path: Path) -> None:
    """It is answered with the provider's ids; a repeat places nothing, also if nothing is taken."""
    async with (
        working(tmp_path) as desk,
        serve(
            Address("127.0.0.1:0"), None, desk.worker.realtime, flow_id=lambda: FLOW_ID
        ) as server,
    ):
        client = await Client.connect(server.address)
        first = await client.post(a_call(), "/v1/calls?wait=20", Idempotency_Key="k-1")
        assert first.status == 200
        (call,) = first.json["calls"]
        assert call["state"] == "accepted"
        assert call["request-id"]
        assert call["phonon-uuid"]
        assert (await client.get(first.headers["location"])).body == first.body

        desk.worker.realtime.closed = "the worker is stopping"
        again = await client.post(a_call(), Idempotency_Key="k-1")
        assert again.status == 200
        assert again.body == first.body
        assert again.headers["idempotency-replayed"] == "true"
        assert (await client.post(a_call(2), Idempotency_Key="k-1")).problem == "key-reused"
        refused = await client.post(a_call(2), Idempotency_Key="k-2")
        assert refused.problem == "blocked"
        assert refused.json["detail"].startswith("the worker is stopping")
        assert len(desk.requests) == 1
        client.close()
