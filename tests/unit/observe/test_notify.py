"""Whether somebody is to be told, and how often."""

import pytest

from phonon_bulk.observe.notify import Notify


def test_nobody_listens() -> None:
    """Without systemd all of it does nothing."""
    notify = Notify({})
    assert not notify.is_heard
    assert notify.ping_every is None
    notify.ready("up")
    notify.status("well")
    notify.ping()
    notify.reloading()
    notify.extend(3)
    notify.stopping("down")


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:9999"])
def test_an_address_that_is_none(address: str) -> None:
    """What is no socket of this machine is not told anything."""
    assert not Notify({"NOTIFY_SOCKET": address}).is_heard


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "7"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({}, None),
    ],
)
def test_the_watchdog(environ: dict[str, str], seconds: float | None) -> None:
    """It is pinged twice as often as it wants, if it wants this process."""
    assert Notify({"NOTIFY_SOCKET": "/run/n", **environ}, pid=7).ping_every == seconds
