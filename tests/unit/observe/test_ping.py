"""Which URLs are pinged, and what is never said of them."""

import pytest

from phonon_bulk.errors import Exit, SettingsError
from phonon_bulk.observe.ping import SUCCESS, read_url

SECRET = "5e5b1c0e-aa11"


@pytest.mark.parametrize(
    "url",
    [
        f"https://ping.example.com/{SECRET}",
        f"https://ping.example.com:8443/ping/{SECRET}?create=1",
        f"http://127.0.0.1:8000/{SECRET}",
        f"http://localhost/{SECRET}",
        f"http://[::1]:8000/{SECRET}",
        " https://ping.example.com ",
    ],
)
def test_urls(url: str) -> None:
    """TLS, or this machine itself."""
    assert read_url(url).hostname


@pytest.mark.parametrize(
    "url",
    [
        f"http://ping.example.com/{SECRET}",
        f"http://10.0.0.1/{SECRET}",
        f"ftp://ping.example.com/{SECRET}",
        f"file:///etc/{SECRET}",
        f"https:///{SECRET}",
        f"https://user:{SECRET}@ping.example.com/",
        f"https://ping.example.com:port/{SECRET}",
        f"https://[::1/{SECRET}",
        f"https://ping.example.com/ {SECRET}",
        f"https://ping.example.com/\r\nHost: {SECRET}",
        f"https://ping.example.com/é{SECRET}",
        SECRET,
        "",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    """The sentence goes to a log; who knows the URL can report in our name."""
    with pytest.raises(SettingsError, match="--ping: expected https://HOST/") as told:
        read_url(url)
    assert SECRET not in str(told.value)


def test_what_is_an_alarm() -> None:
    """A list with a bad row in it is none; all that stopped or is in doubt is."""
    assert {Exit.DONE, Exit.SOME_FAILED} == SUCCESS
