"""Rates and the words beside a bar."""

from phonon_bulk.cli.progress import Rates, in_words


def test_rates_are_over_the_window() -> None:
    """Old samples fall out; the rate is that of the last seconds."""
    rates = Rates(window=10)
    for second in range(30):
        rates.add(float(second), contacts=second * 100 if second < 15 else 1500, requests=second)
    assert rates.per_second == (0.0, 1.0)


def test_no_rate_without_two_samples() -> None:
    """One look gives no rate, and no division by nothing."""
    rates = Rates()
    assert rates.per_second == (0.0, 0.0)
    rates.add(1.0, 5, 5)
    assert rates.per_second == (0.0, 0.0)


FIGURES = {
    "rows": 10,
    "calls": 9,
    "accepted": 4500,
    "contacts_per_second": 1200,
    "seconds_left": 75,
    "limit_used": 0.256,
    "limit_now": None,
    "limit_why": None,
    "in_doubt": None,
    "resting": None,
}


def test_words_while_sending() -> None:
    """Accepted, rate, time left, use of the limit."""
    text = in_words(FIGURES, sends=True)
    assert text == "4,500 accepted · 1,200/s · 1:15 left · 26% of the limit"


def test_words_while_the_endpoint_rests() -> None:
    """What is waited for is said."""
    figures = {**FIGURES, "seconds_left": None, "limit_used": None, "resting": "HTTP 429"}
    assert in_words(figures, sends=True) == "4,500 accepted · 1,200/s · waiting: HTTP 429"


def test_words_while_the_limit_is_not_used_in_full() -> None:
    """What holds now is said, and why."""
    figures = {**FIGURES, "limit_now": "15,000 requests a minute", "limit_why": "HTTP 429"}
    text = in_words(figures, sends=True)
    assert text.endswith("26% of the limit · now 15,000 requests a minute (HTTP 429)")


def test_words_with_doubts() -> None:
    """What is in doubt is said."""
    text = in_words({**FIGURES, "in_doubt": 1500}, sends=True)
    assert text.endswith("26% of the limit · 1,500 in doubt")


def test_no_rate_below_nothing() -> None:
    """When doubts are sent again, fewer contacts are done than before: that is no speed."""
    rates = Rates()
    rates.add(1.0, 1500, 3)
    rates.add(2.0, 1000, 4)
    assert rates.per_second == (0.0, 1.0)


def test_words_while_reading_alone() -> None:
    """`submit` shows rows."""
    assert in_words(FIGURES, sends=False) == "10 rows · 1,200/s"
