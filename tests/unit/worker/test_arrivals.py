"""Which files of a watched folder are whole, and what is to be done with each."""

import fnmatch
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import make_run
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.journal import Control, Run
from phonon_bulk.source.files import Mark
from phonon_bulk.worker.drop.arrivals import (
    Arrivals,
    Sight,
    Step,
    Watch,
    by_content,
    by_mark,
    cut_off,
    numbered,
)

SECOND = 1_000_000_000
NOW = 1_795_000_000
MARK: Mark = (100, (NOW - 60) * SECOND, (NOW - 60) * SECOND, 7)


# ---- which files are a campaign's


def watch(text: str) -> Watch:
    """Return what is watched, in a folder."""
    return Watch.of(f"/srv/{text}")


def test_a_pattern() -> None:
    """It is for the names in its folder."""
    watched = watch("incoming/*.csv")
    assert watched.folder == Path("/srv/incoming")
    assert watched.wants("a.csv")
    assert not watched.wants("a.csv.tmp")
    assert not watched.wants("A.CSV")


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.csv.gz", "a.xlsx", "a.ndjson.zst"])
def test_a_folder(name: str) -> None:
    """Every file with the ending of a list, in capitals or not."""
    assert watch("incoming").wants(name)
    assert not watch("incoming").wants(f"{name}.part")


def test_one_name() -> None:
    """What has the ending of a list is the name of a file, and not that of a folder."""
    watched = watch("incoming/customers.csv")
    assert watched.folder == Path("/srv/incoming")
    assert watched.wants("customers.csv")
    assert not watched.wants("others.csv")


@pytest.mark.parametrize("name", [".a.csv", ".a.csv.Xy12", "~$a.csv"])
def test_what_programs_write_while_they_write(name: str) -> None:
    """Hidden files, and those by which Excel locks a workbook, are no lists."""
    assert not watch("incoming/*.csv").wants(name)
    assert not watch("incoming/*").wants(name)
    assert not watch("incoming").wants(name)


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("*.csv", "*.csv", True),
        ("*.csv", "*.xlsx", False),
        ("north-*.csv", "south-*.csv", False),
        ("north-*.csv", "north*", True),
        ("a.csv", "b.csv", False),
        ("a.csv", "*.csv", True),
        ("", "*.csv", True),
        ("", "x.csv", True),
        ("", "", True),
        ("[ab]x.csv", "[ab]y.csv", False),
    ],
)
def test_patterns_that_may_want_one_name(one: str, other: str, may: object) -> None:
    """Both ways round."""
    assert watch(one).may_share(watch(other)) is may
    assert watch(other).may_share(watch(one)) is may


PATTERNS = st.text("ab.*?[]!", min_size=1, max_size=6)


@given(PATTERNS, PATTERNS, st.text("ab.", min_size=1, max_size=6))
def test_two_campaigns_never_want_one_file_unnoticed(one: str, other: str, name: str) -> None:
    """A name that both patterns match is always told of."""
    mine, theirs = Watch(Path("/in"), one), Watch(Path("/in"), other)
    if mine.wants(name) and theirs.wants(name):
        assert mine.may_share(theirs)
        assert fnmatch.fnmatchcase(name, one)


# ---- which of them are whole


def sight(name: str = "a.csv", *, size: int = 100, age: float = 60.0, inode: int = 7) -> Sight:
    """Return a file that was written to so many seconds before NOW."""
    changed = int((NOW - age) * SECOND)
    return Sight(name, (size, changed, changed, inode), is_ordinary=True)


def look(arrivals: Arrivals, *seen: Sight, after: float = 0.0, most: int = 10) -> list[str]:
    """Return the names of the files that are whole so many seconds after NOW."""
    whole = arrivals.whole(seen, wall=NOW + after, steady=after, most=most)
    return [found.name for found in whole]


def test_renamed_in() -> None:
    """What nobody has written to for a while is taken at the first look."""
    assert look(Arrivals(), sight(age=5)) == ["a.csv"]


def test_still_being_written() -> None:
    """A file is left alone until five seconds after the last write."""
    arrivals = Arrivals()
    assert look(arrivals, sight(age=1)) == []
    assert look(arrivals, sight(age=1), after=3.9) == []
    assert look(arrivals, sight(age=-3, size=200), after=4.0) == []
    assert look(arrivals, sight(age=-3, size=200), after=7.9) == []
    assert look(arrivals, sight(age=-3, size=200), after=8.0) == ["a.csv"]


@pytest.mark.parametrize("age", [-3600.0, -4.0, 2.0])
def test_a_time_that_another_clock_has_set(age: float) -> None:
    """A file from the future is taken when it has been seen unchanged for long enough."""
    arrivals = Arrivals()
    assert look(arrivals, sight(age=age)) == []
    assert look(arrivals, sight(age=age), after=5.0) == ["a.csv"]


def test_replaced_between_two_looks() -> None:
    """Another file of the same size and time is another file."""
    arrivals = Arrivals()
    assert look(arrivals, sight(age=-100)) == []
    assert look(arrivals, sight(age=-100, inode=8), after=5.0) == []


def test_an_empty_file() -> None:
    """Its writer may only have opened it: it has a minute."""
    assert look(Arrivals(), sight(age=59, size=0)) == []
    assert look(Arrivals(), sight(age=60, size=0)) == ["a.csv"]


def test_the_oldest_first_and_not_too_many() -> None:
    """By the time of change, and by name where that is the same."""
    files = [sight(f"{n}.csv", age=1000 - n // 2) for n in range(1000)]
    assert look(Arrivals(), *reversed(files), most=3) == ["0.csv", "1.csv", "2.csv"]


def test_put_aside() -> None:
    """It is passed over for as long as that; but not if it is written to."""
    arrivals = Arrivals()
    arrivals.put_aside(sight(), 30.0)
    assert look(arrivals, sight(), after=29.0) == []
    assert look(arrivals, sight(age=50), after=29.0) == ["a.csv"]
    assert look(arrivals, sight(), after=30.0) == ["a.csv"]


def test_nothing_is_remembered_of_what_is_gone() -> None:
    """The memory is that of the folder as it is."""
    arrivals = Arrivals()
    for n in range(100):
        file = sight(f"{n}.csv")
        arrivals.put_aside(file, 1000.0)
        look(arrivals, file)
    look(arrivals)
    assert (arrivals._since, arrivals._aside) == ({}, {})


# ---- what is to be done with one


def run(number: int = 1, mark: Mark = MARK, **changes: Any) -> Run:
    """Return a run of this file, read to its end."""
    new = make_run(list=orjson.dumps({"files": [{"path": "/a.csv", "mark": mark}]}).decode())
    fields: dict[str, Any] = {
        **{name: getattr(new, name) for name in new.__slots__},
        "id": number,
        "variant": 0,
        "created_at": NOW,
        "read_at": NOW,
        "whole": 1,
        "control": Control.GO,
        "reason": None,
        "rows": 10,
        "rejected": 0,
        "suppressed": 0,
        "duplicates": 0,
        "calls": 10,
        "list_sha256": "aa",
    }
    return Run(**{**fields, **changes})


TOUCHED: Mark = (100, MARK[1], MARK[2] + 1, 7)
UNREAD: dict[str, Any] = {"read_at": None}


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        (UNREAD, Step.GO_ON),
        ({**UNREAD, "rows": 0}, Step.GO_ON),
        ({**UNREAD, "control": Control.PAUSED}, Step.GO_ON),
        ({**UNREAD, "control": Control.CANCELLED}, Step.CANCELLED),
        ({}, Step.FILE),
        ({"control": Control.CANCELLED}, Step.FILE),
        ({"whole": 0}, Step.CUT_SHORT),
    ],
)
def test_a_file_that_a_process_died_of(changes: dict[str, Any], step: Step) -> None:
    """Its own run is known by path and mark, and says what is left to be done."""
    decided = by_mark([run(2, TOUCHED), run(1, **changes)], MARK)
    assert decided is not None
    assert decided.run is not None
    assert (decided.step, decided.run.id) == (step, 1)


def test_a_file_without_a_run_of_its_own() -> None:
    """Its content decides."""
    assert by_mark([run(mark=TOUCHED)], MARK) is None
    assert by_mark([], MARK) is None


@pytest.mark.parametrize(
    ("same", "step"),
    [
        (None, Step.READ),
        (run(), Step.REPEAT),
        (run(**UNREAD), Step.GO_ON),
        (run(control=Control.CANCELLED), Step.CANCELLED),
        (run(whole=0), Step.CUT_SHORT),
    ],
)
def test_a_list_that_the_campaign_may_have_had(same: Run | None, step: Step) -> None:
    """Nobody is called twice from it, under whatever name it comes."""
    assert by_content([], same, "aa").step is step


def test_a_file_of_which_a_part_was_read_before_it_was_changed() -> None:
    """It is not begun anew: the first of its rows were called."""
    begun = run(3, TOUCHED, **UNREAD)
    decided = by_content([begun], None, "bb")
    assert (decided.step, decided.run) == (Step.CHANGED, begun)
    assert cut_off([run(), begun]) == begun


def test_a_file_touched_while_it_was_read() -> None:
    """With the same content it is gone on with, also on another day of a daily campaign."""
    begun = run(3, TOUCHED, **UNREAD)
    assert by_content([begun], None, "aa").step is Step.GO_ON


def test_a_file_changed_before_its_first_row_was_read() -> None:
    """The run of what it was is given up, and the new list is read."""
    decided = by_content([run(3, TOUCHED, **UNREAD, rows=0)], None, "bb")
    assert (decided.step, decided.abandoned) == (Step.READ, (3,))
    assert cut_off([run(3, **UNREAD, rows=0)]) is None


def test_what_was_cancelled_stands_in_the_way_of_nothing() -> None:
    """Another list under the name of a cancelled one is new."""
    gone = run(3, TOUCHED, **UNREAD, control=Control.CANCELLED)
    assert by_content([gone], None, "bb").step is Step.READ
    assert cut_off([gone]) is None


# ---- what it is called


@pytest.mark.parametrize(
    ("name", "third"),
    [
        ("list.csv", "list.3.csv"),
        ("list.csv.gz", "list.3.csv.gz"),
        ("v1.2 list.csv", "v1.2 list.3.csv"),
        ("list", "list.3"),
        ("सूची.csv", "सूची.3.csv"),
        ("a\nb.csv", "a\nb.3.csv"),
    ],
)
def test_a_name_that_is_taken(name: str, third: str) -> None:
    """It gets a number before its ending."""
    assert (numbered(name, 1), numbered(name, 3)) == (name, third)


NAMES = st.binary(min_size=1, max_size=255).map(os.fsdecode).filter(lambda name: "/" not in name)


@given(NAMES, st.integers(1, 10_000))
def test_every_name_has_room_for_its_papers(name: str, number: int) -> None:
    """With the longest ending, and the hidden folder around it."""
    made = numbered(name, number)
    assert len(os.fsencode(f".{made}.rejected.csv")) <= 255
    assert made


@given(st.text("a.", min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 5))
def test_numbers_make_names_differ(name: str, one: int, other: int) -> None:
    """No two numbers make the same name."""
    assert (numbered(name, one) == numbered(name, other)) == (one == other)
