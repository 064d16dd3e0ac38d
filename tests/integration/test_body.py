"""From a list to the wire: the bytes of a body, written out by hand."""

import asyncio
from pathlib import Path
from typing import cast

from builders import make_run
from scripted import limiter

from phonon_bulk.batch import Head, room_for_calls
from phonon_bulk.config import Campaign, MappingSettings
from phonon_bulk.dispatch import Dispatcher, Pace
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.journal import Moment
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.source.contacts import open_list
from phonon_bulk.submit import submit

NOON = 1_795_501_800.0  # 2026-11-24T12:00:00+05:30
ID = "Ab1" + "0" * 61

LIST = (
    "mobile,alternate,account_no,first_name,due,note\r\n"
    '919812345678,+91 99123-45678,ACC0001,Asha,"1,250.00",plain\r\n'
    '919812345679,,ACC0002,"प्रिया ""पी"" D\'Souza",0.50,"back\\slash / slash"\r\n'
    '919812345670,12,,José 😀,,"line\r\nbreak\ttab\x01\x1f\x7f\u2028"\r\n'
)

# Compact JSON in the API's order; UTF-8 as it is, only quotes, back-slashes and control characters
# escaped. Written out by hand from phonon-api.md.
BODY = (
    '{"api-version":"1.0","security-id":"' + ID + '","flow-id":"QG8k000A","calls":['
    '{"client-identifier":"ACC0001","start-time":"2026-11-24T10:00:00+05:30",'
    '"contact-numbers":["919812345678","919912345678"],"keys":['
    '{"name":"$flow.key.Name","value":"Asha"},'
    '{"name":"$flow.key.Amount","value":"1,250.00"},'
    '{"name":"$flow.key.Note","value":"plain"}]},'
    '{"client-identifier":"ACC0002","start-time":"2026-11-24T10:00:00+05:30",'
    '"contact-numbers":["919812345679"],"keys":['
    '{"name":"$flow.key.Name","value":"प्रिया \\"पी\\" D\'Souza"},'
    '{"name":"$flow.key.Amount","value":"0.50"},'
    '{"name":"$flow.key.Note","value":"back\\\\slash / slash"}]},'
    '{"client-identifier":"1-3","start-time":"2026-11-24T10:00:00+05:30",'
    '"contact-numbers":["919812345670"],"keys":['
    '{"name":"$flow.key.Name","value":"José 😀"},'
    '{"name":"$flow.key.Amount","value":""},'
    '{"name":"$flow.key.Note","value":"line\\r\\nbreak\\ttab\\u0001\\u001f\x7f\u2028"}]}'
    "]}"
).encode()


class Catcher:
    """An endpoint that keeps what it is given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def post(self, body: bytes, _held: object) -> Answer:
        """Accept a body."""
        self.bodies.append(body)
        return Answer(Verdict.ACCEPTED, "Accepted", request_id="r")


async def test_the_body_is_as_phonon_describes_it(tmp_path: Path) -> None:
    """Non-ASCII names, quotes, back-slashes, control characters: every byte is as expected."""
    path = tmp_path / "list.csv"
    path.write_bytes(LIST.encode())
    mapping = MappingSettings.model_validate(
        {
            "client_identifier": "account_no",
            "contact_numbers": ["mobile", "alternate"],
            "start_time": "2026-11-24T10:00:00+05:30",
            "keys": {"Name": "first_name", "Amount": "due", "Note": "note"},
        }
    )
    journal = SqliteJournal(tmp_path / "journal.db")
    run = (await journal.open_run(make_run(), NOON)).run
    campaign = Campaign(name="reminder", flow_id="QG8k000A", mapping=mapping)
    contacts = open_list(campaign, [str(path)])
    room, stop = room_for_calls("QG8k000A", 64), asyncio.Event()
    assert await submit(journal, contacts, run=run, room=room, now=lambda: NOON, stop=stop)
    catcher, head = Catcher(), Head(ID, "QG8k000A")
    await Dispatcher(
        journal,
        cast(Endpoint, catcher),
        limiter(journal, run),
        head,
        run=run,
        pace=Pace(workers=1),
        clock=lambda: Moment(NOON, NOON),
    ).run(stop)
    await journal.close()
    assert catcher.bodies == [BODY]
