"""Faults on request: how they are written, and whom they strike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.errors import UnusableError
from phonon_bulk.simulator.faults import Chooser, Fault, Kind, Struck, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("delay:0.2", Fault(Kind.DELAY, seconds=0.2)),
        ("code:206@0.01", Fault(Kind.CODE, number=206, probability=0.01)),
        ("code:206+taken", Fault(Kind.CODE, number=206, taken=True)),
        ("code:500+taken#2", Fault(Kind.CODE, number=500, taken=True, nth=2)),
        ("code:999", Fault(Kind.CODE, number=999)),
        ("status:503#3", Fault(Kind.STATUS, number=503, nth=3)),
        ("status:502+taken", Fault(Kind.STATUS, number=502, taken=True)),
        ("status:429", Fault(Kind.STATUS, number=429)),
        ("drop-before@1", Fault(Kind.DROP_BEFORE)),
        (" drop-after@0.5 ", Fault(Kind.DROP_AFTER, probability=0.5)),
        ("garbage", Fault(Kind.GARBAGE)),
    ],
)
def test_a_fault_is_read_as_it_is_documented(text: str, fault: Fault) -> None:
    """Each kind, with its argument and each way to say when."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "KIND"),
        ("Delay:1", "KIND"),
        ("delay:1@0.1#2", "KIND"),
        ("explode", "no such kind"),
        ("delay", "needs seconds"),
        ("delay:-1", "needs seconds"),
        ("delay:nan", "needs seconds"),
        ("delay:inf", "needs seconds"),
        ("code", "three digits"),
        ("code:20", "three digits"),
        ("code:2000", "three digits"),
        ("code:200", "accepts nothing"),
        ("code:202", "accepts nothing"),
        ("code:209", "accepts nothing"),
        ("code:205+taken", "only codes 206 and 500"),
        ("code:206+maybe", "only taken"),
        ("code:206+", "only taken"),
        ("status:200", "429 or 500 to 599"),
        ("status:404", "429 or 500 to 599"),
        ("status:600", "429 or 500 to 599"),
        ("status:429+taken", "was not taken"),
        ("garbage:1", "no argument"),
        ("drop-after:1@0.5", "no argument"),
        ("drop-after@0", "probability"),
        ("drop-after@1.5", "probability"),
        ("drop-after@often", "probability"),
        ("drop-after@", "probability"),
        ("drop-after#0", "counted from 1"),
        ("drop-after#x", "counted from 1"),
    ],
)
def test_a_bad_fault_is_told_in_one_sentence(text: str, why: str) -> None:
    """The sentence names the fault as it was given, and what is wrong with it."""
    with pytest.raises(UnusableError) as raised:
        parse_fault(text)
    message = str(raised.value)
    assert message.startswith(f"the fault {text!r} can't be used: ")
    assert why in message
    assert "\n" not in message


_WHEN: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"probability": st.floats(0, 1, exclude_min=True)}),
    st.fixed_dictionaries({"nth": st.integers(1, 10**6)}),
)
_WHAT: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.fixed_dictionaries({"kind": st.just(Kind.DELAY), "seconds": st.floats(0, 1e6)}),
    st.fixed_dictionaries(
        {
            "kind": st.just(Kind.CODE),
            "number": st.sampled_from([206, 500]),
            "taken": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just(Kind.STATUS),
            "number": st.integers(500, 599),
            "taken": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.sampled_from([Kind.DROP_BEFORE, Kind.DROP_AFTER, Kind.GARBAGE])}
    ),
)


@given(what=_WHAT, when=_WHEN)
def test_a_fault_can_be_written_and_read_again(
    what: dict[str, object], when: dict[str, object]
) -> None:
    """What the books call a fault is what the command line takes."""
    fault = Fault(**what, **when)  # type: ignore[arg-type]
    assert parse_fault(str(fault)) == fault


def _kinds(chooser: Chooser, requests: int) -> list[Kind | None]:
    struck = [chooser.strike() for _ in range(requests)]
    return [one.fault.kind if one.fault else None for one in struck]


def test_without_faults_nothing_strikes() -> None:
    """The ordinary case."""
    assert Chooser([], seed=0).strike() == Struck()


def test_nth_strikes_that_request_only() -> None:
    """`#3` is the third, counted from 1."""
    chooser = Chooser([parse_fault("garbage#3")], seed=0)
    assert _kinds(chooser, 5) == [None, None, Kind.GARBAGE, None, None]


def test_probability_strikes_about_that_many() -> None:
    """`@0.1` of 10,000 is about 1,000."""
    kinds = _kinds(Chooser([parse_fault("drop-after@0.1")], seed=1), 10_000)
    assert 900 < kinds.count(Kind.DROP_AFTER) < 1100


def test_the_same_seed_strikes_the_same_requests() -> None:
    """A run with faults can be repeated; another seed is another run."""
    faults = [parse_fault("drop-after@0.3")]
    first, again, other = (_kinds(Chooser(faults, seed), 100) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_one_fault_does_not_shift_the_luck_of_another() -> None:
    """A fault that strikes first hides the second, and leaves it where it was."""
    second = parse_fault("drop-after@0.3")
    alone = _kinds(Chooser([second, parse_fault("code:999@0.5")], seed=7), 200)
    behind = _kinds(Chooser([second, parse_fault("status:503@0.5")], seed=7), 200)
    assert [kind is Kind.DROP_AFTER for kind in alone] == [
        kind is Kind.DROP_AFTER for kind in behind
    ]


def test_the_first_fault_wins_and_delays_add_up() -> None:
    """Delays go with any other fault; of the others one is carried out."""
    faults = [parse_fault(text) for text in ("delay:1", "garbage", "drop-after", "delay:0.5")]
    struck = Chooser(faults, seed=0).strike()
    assert struck.delay == pytest.approx(1.5)
    assert struck.fault == faults[1]
    assert struck.names == ("delay:1.0", "delay:0.5", "garbage")
