"""What stands in the query and the headers."""

import pytest

from phonon_bulk.intake.parameters import (
    read_flow,
    read_key,
    read_query,
    read_wait,
    refuse_other_media,
)
from phonon_bulk.intake.problems import ProblemError, retry_after


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("60", 60), ("2.5", 2.5), ("1e1", 10), ("5e-324", 5e-324)]
)
def test_seconds_to_wait(text: str, seconds: float) -> None:
    """Any number from 0 to 60."""
    assert read_wait({"wait": text}) == seconds


def test_no_seconds_to_wait() -> None:
    """Nothing said is none."""
    assert read_wait({}) == 0


@pytest.mark.parametrize(
    "text", ["", "-1", "60.001", "61", "nan", "inf", "ten", "1_0", "\u0661", "1" * 40]
)
def test_what_is_no_number_of_seconds(text: str) -> None:
    """The parameter is named, its value is not repeated."""
    with pytest.raises(ProblemError) as caught:
        read_wait({"wait": text})
    assert caught.value.kind.status == 400
    assert b'"parameter":"wait"' in caught.value.body()


@pytest.mark.parametrize(
    "pairs", [[("wiat", "5")], [("wait", "1"), ("wait", "2")], [("flow-id", "x")]]
)
def test_unknown_and_repeated_parameters(pairs: list[tuple[str, str]]) -> None:
    """A typing error must not go unnoticed."""
    with pytest.raises(ProblemError) as caught:
        read_query(pairs, ("wait",))
    assert caught.value.kind.status == 400


@pytest.mark.parametrize("text", ["", "short", "QG8k000A9", "QG8k000é", "QG8k 00A"])
def test_what_is_no_flow(text: str) -> None:
    """A flow id has 8 letters and digits."""
    assert read_flow({"flow-id": "QG8k000A"}) == "QG8k000A"
    with pytest.raises(ProblemError):
        read_flow({"flow-id": text})


@pytest.mark.parametrize(
    "key", ["k", "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"', "x" * 255]
)
def test_keys(key: str) -> None:
    """1 to 255 visible ASCII characters."""
    assert read_key([key]) == key


@pytest.mark.parametrize("values", [[""], ["a b"], ["x" * 256], ["é"], ["\udcff"], ["one", "two"]])
def test_what_is_no_key(values: list[str]) -> None:
    """The header is named."""
    with pytest.raises(ProblemError) as caught:
        read_key(values)
    assert caught.value.kind.status == 400
    assert b'"header":"Idempotency-Key"' in caught.value.body()


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
)
def test_json_is_taken(content_type: str) -> None:
    """Also with its charset."""
    refuse_other_media(content_type, None)
    refuse_other_media(content_type, "identity")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/jsonx",
        "nonsense",
    ],
)
def test_anything_else_is_not(content_type: str | None) -> None:
    """It is 415; a web page's form can send none but such."""
    with pytest.raises(ProblemError) as caught:
        refuse_other_media(content_type, None)
    assert caught.value.kind.status == 415


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, identity", ""])
def test_nothing_compressed(coding: str) -> None:
    """A small body may become a very large one."""
    with pytest.raises(ProblemError, match="wrong-media-type"):
        refuse_other_media("application/json", coding)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "1"), (0.2, "1"), (1, "1"), (1.01, "2"), (60, "60")]
)
def test_when_to_try_again(seconds: float, said: str) -> None:
    """Whole seconds, never fewer than are needed, and at least one."""
    assert retry_after(seconds) == {"Retry-After": said}
