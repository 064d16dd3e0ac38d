"""The rules that can be set, at the start and while it runs."""

import pytest

from phonon_bulk.errors import UnusableError
from phonon_bulk.simulator.faults import parse_fault
from phonon_bulk.simulator.options import Endpoint, Limits, RetryAfter, Rules, changed


def test_the_defaults_are_the_documented_ones() -> None:
    """30,000 requests a minute on bulk, 500 in real time, calls not counted, any id known."""
    rules = Rules()
    assert rules.limits(Endpoint.BULK) == Limits(30_000, None)
    assert rules.limits(Endpoint.REALTIME) == Limits(500, None)
    assert rules.api_versions == {"1.0", "TEST"}
    assert rules.checksum_memory is None
    assert not rules.security_ids


def test_secrets_and_people_are_not_shown() -> None:
    """Security ids and contact data stay out of a repr, hence of logs."""
    rules = Rules(
        security_ids=frozenset({"s" * 64}),
        bad_numbers=frozenset({"919812345678"}),
        bad_identifiers=frozenset({"ACC0001"}),
    )
    shown = repr(rules)
    assert "s" * 64 not in shown
    assert "919812345678" not in shown
    assert "ACC0001" not in shown


@pytest.mark.parametrize(
    ("remote", "allowed", "let_in"),
    [
        ("10.1.2.3", [], True),
        ("10.1.2.3", ["10.1.2.3"], True),
        ("10.1.2.3", ["192.168.0.1", "10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("::1", ["10.0.0.0/8", "::1"], True),
    ],
)
def test_addresses_and_networks_may_be_allowed(
    remote: str, allowed: list[str], let_in: bool
) -> None:
    """None given lets any in; else one of them must fit."""
    assert Rules(allowed_ips=frozenset(allowed)).lets_in(remote) is let_in


def test_rules_change_from_json() -> None:
    """Every kind of value, as it comes in JSON; what is not named stays."""
    rules = changed(
        Rules(seed=5),
        {
            "flow_ids": ["QG8k000A"],
            "faults": ["garbage#1"],
            "bulk_calls_per_minute": 1000,
            "bulk_requests_per_minute": None,
            "checksum_memory": 60,
            "retry_after": "date",
            "partial_success": True,
        },
    )
    assert rules == Rules(
        seed=5,
        flow_ids=frozenset({"QG8k000A"}),
        faults=(parse_fault("garbage#1"),),
        bulk_calls_per_minute=1000,
        bulk_requests_per_minute=None,
        checksum_memory=60,
        retry_after=RetryAfter.DATE,
        partial_success=True,
    )


def test_every_rule_can_be_changed_from_json() -> None:
    """No option was forgotten."""
    from dataclasses import fields

    from phonon_bulk.simulator.options import _READERS

    assert {field.name for field in fields(Rules)} == _READERS.keys()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"flow": []}, "there is no rule 'flow'"),
        ({"flow_ids": "QG8k000A"}, "flow_ids must be a list of texts"),
        ({"flow_ids": [1]}, "flow_ids must be a list of texts"),
        ({"flow_ids": ["short"]}, "a flow id has 8"),
        ({"security_ids": ["short"]}, "a security id has 64"),
        ({"allowed_ips": ["10.0.0"]}, "'10.0.0' is no IP address"),
        ({"faults": "garbage"}, "faults must be a list of texts"),
        ({"faults": ["explode"]}, "no such kind"),
        ({"seed": "1"}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"bulk_requests_per_minute": 0}, "bulk_requests_per_minute must be at least 1"),
        ({"checksum_memory": "long"}, "checksum_memory must be seconds"),
        ({"checksum_memory": -1}, "checksum_memory is in seconds"),
        ({"retry_after": "later"}, "retry_after must be one of none, seconds, date"),
        ({"retry_after": []}, "retry_after must be one of none, seconds, date"),
        ({"http_errors": 1}, "http_errors must be true or false"),
    ],
)
def test_a_rule_that_cannot_be_used_is_told_in_one_sentence(
    values: dict[str, object], says: str
) -> None:
    """The sentence names the rule and what it should be."""
    with pytest.raises(UnusableError) as raised:
        changed(Rules(), values)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
