"""docs/monitoring.md, the dashboard and the alerts keep step with the program."""

import ast
import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from phonon_bulk.batch import State
from phonon_bulk.dispatch import Posted
from phonon_bulk.journal import Backlog
from phonon_bulk.observe.look import Look
from phonon_bulk.observe.metrics import Metrics
from phonon_bulk.observe.standing import Standing
from phonon_bulk.response import Verdict
from phonon_bulk.schedule import Limits, Rate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/monitoring.md").read_text("utf-8")
DASHBOARD = ROOT / "config/grafana-dashboard.json"
ALERTS = ROOT / "config/alerts.yml"
SCRAPING = ROOT / "config/prometheus.yml"
WHOSE = ("default", "bulk")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def rows(title: str) -> Iterator[list[str]]:
    """Yield the cells of a table's rows, which is found by its heading."""
    _, found, after = PAGE.partition(f"\n## {title}\n")
    assert found, f"docs/monitoring.md has no section {title}"
    for line in after.partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def names(cell: str) -> set[str]:
    """Return what stands in backticks in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


# ---- metrics


async def scrape() -> bytes:
    """Return a scrape in which all metrics are there."""
    look = Look(
        [Backlog(*WHOSE, {State.READY: 1}, {State.READY: 1}, 0.0)],
        {WHOSE: Rate(Limits(requests=1, calls=1))},
        {WHOSE: 1},
    )
    metrics = Metrics(lambda: Standing(0.0), lambda: look)
    metrics.committed(0.1, 1)
    metrics.answered("/v1/calls", 202, 0.1)
    metrics.posted(
        Posted(
            run=1,
            batch=1,
            account=WHOSE[0],
            endpoint=WHOSE[1],
            calls=1,
            sent_at=0.0,
            seconds=0.1,
            verdict=Verdict.ACCEPTED,
            state=State.ACCEPTED,
            accepted=1,
            replay=False,
            http_status=200,
            request_id=None,
        )
    )
    return await metrics.text()


async def exposed() -> dict[str, tuple[str, set[str]]]:
    """Return the type and the labels of each metric."""
    found = {}
    for family in text_string_to_metric_families((await scrape()).decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    return found


async def test_each_metric_is_documented() -> None:
    """Each metric stands in the table with its type and its labels, and no other does."""
    table = {
        name: (kind, names(labels))
        for cell, kind, labels, _ in rows("Metrics")
        for name in names(cell)
    }
    assert table == await exposed(), "the table of metrics in docs/monitoring.md"


def test_each_value_of_a_label_is_documented() -> None:
    """The words that labels may have are those of the code."""
    labels = {next(iter(names(cells[0]))): names(cells[1]) for cells in rows("Labels")}
    assert labels["verdict"] == {verdict.value for verdict in Verdict}
    assert labels["state"] <= {state.value for state in State}
    assert labels["of"] == {"requests", "calls"}


# ---- the dashboard and the alerts


def queries() -> list[tuple[str, str]]:
    """Return where each query stands, and the query."""
    shown = [
        (f"panel {panel['title']}", target["expr"])
        for panel in panels(json.loads(DASHBOARD.read_text("utf-8")))
        for target in panel["targets"]
    ]
    return shown + [(f"alert {rule['alert']}", rule["expr"]) for rule in rules()]


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of a dashboard."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(("where", "query"), queries(), ids=lambda value: value[:40])
async def test_queries_name_what_exists(where: str, query: str) -> None:
    """Each metric and each label in a query is one that there is."""
    known = await exposed()
    used = re.findall(r"\b(phonon_bulk_\w+)(?:\{([^}]*)\})?", query)
    assert used or "up{" in query, f"{where}: no metric in {query}"
    for name, matchers in used:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        metric = name if name in known else base
        assert metric in known, f"{where}: there is no metric {name}"
        assert metric == name or known[metric][0] == "histogram", f"{where}: {name}"
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert labels <= known[metric][1] | {"le", "job", "instance"}, f"{where}: {matchers}"


def test_each_alert_says_what_to_do() -> None:
    """Each rule has a severity, a summary and what to do, and stands in the manual."""
    found = rules()
    assert len(found) >= 8
    for rule in found:
        assert rule["labels"]["severity"] in {"page", "warning"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert "What to do:" in rule["annotations"]["description"], rule["alert"]
    table = {name for cells in rows("Alerts") for name in names(cells[0])}
    assert table == {rule["alert"] for rule in found}, "the table of alerts"


def test_the_dashboard_can_be_imported() -> None:
    """It has what Grafana asks for, panels of a size that do not overlap, and no fixed source."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    assert dashboard["title"] == "phonon-bulk"
    assert dashboard["id"] is None
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(dashboard):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["refId"] for target in panel["targets"])


def test_promtool_agrees(tmp_path: Path) -> None:
    """Prometheus' own tool finds nothing wrong with the rules, the queries and the sample."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here (Debian: prometheus); it checks the rules and queries")
    as_rules = tmp_path / "queries.yml"
    records = [
        {"record": f"query:{number}", "expr": plain_query(query)}
        for number, (_, query) in enumerate(queries())
    ]
    as_rules.write_text(json.dumps({"groups": [{"name": "queries", "rules": records}]}))
    for arguments in (
        ["check", "rules", str(ALERTS)],
        ["check", "rules", str(as_rules)],
        ["check", "config", str(SCRAPING)],
        ["test", "rules", str(ROOT / "tests/unit/observe/alerts_test.yml")],
    ):
        done = subprocess.run(
            [promtool, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_likes_the_metrics() -> None:
    """Names, units and help texts are as Prometheus wants them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here (Debian: prometheus); it checks the metrics")
    text = asyncio.run(scrape())
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def plain_query(query: str) -> str:
    """Return a query with Grafana's variables replaced as Grafana replaces them."""
    return (
        query.replace("$__rate_interval", "5m")
        .replace("$account", ".*")
        .replace("$endpoint", ".*")
        .replace("$instance", ".*")
    )


# ---- the log's events


@dataclass(frozen=True)
class Event:
    """One line of the program that logs."""

    where: str
    name: str
    level: str
    fields: frozenset[str]
    more: bool
    """Whether there are fields beside those that are named in the line."""


def events() -> Iterator[Event]:
    """Yield each event that the program logs."""
    for path in sorted((ROOT / "phonon_bulk").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and is_logging(node.func):
                yield from events_of(node, f"{path.relative_to(ROOT)}:{node.lineno}")


def is_logging(function: ast.expr) -> bool:
    """Say whether it is `log.info`, and so on."""
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def events_of(call: ast.Call, where: str) -> Iterator[Event]:
    """Yield what one call logs: an event, or one of two."""
    assert isinstance(call.func, ast.Attribute)
    first = call.args[0] if call.args else None
    choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
    for choice in choices:
        assert isinstance(choice, ast.Constant), f"{where}: the event's name is not in the call"
        fields = frozenset(word.arg for word in call.keywords if word.arg is not None)
        more = any(word.arg is None for word in call.keywords)
        yield Event(where, str(choice.value), call.func.attr, fields, more)


EVENTS = list(events())
DOCUMENTED = {
    name: (cells[1], names(cells[2])) for cells in rows("Log events") for name in names(cells[0])
}


def row_of(event: Event) -> str:
    """Return the row that is to be put into the table."""
    fields = " ".join(f"`{field}`" for field in sorted(event.fields))
    return f"| `{event.name}` | {event.level} | {fields or 'none'} | what it means |"


def test_each_event_is_documented() -> None:
    """Each event stands in the table of docs/monitoring.md, with its level and its fields."""
    problems = []
    for event in EVENTS:
        level, documented = DOCUMENTED.get(event.name, ("", set()))
        if event.level != level or not event.fields <= documented:
            problems.append(f"{event.where}:\n{row_of(event)}")
    assert not problems, "put into the table Log events of docs/monitoring.md:\n" + "\n".join(
        problems
    )


def test_no_other_event_is_documented() -> None:
    """What the table says is in the code: no event and no field that is gone."""
    for name, (_, documented) in DOCUMENTED.items():
        ours = [event for event in EVENTS if event.name == name]
        assert ours, f"docs/monitoring.md: {name} is logged nowhere: take its row out"
        fields = frozenset[str]().union(*(event.fields for event in ours))
        if not any(event.more for event in ours):
            assert documented == fields, f"docs/monitoring.md: fields of {name}"


def test_names_of_events() -> None:
    """A name is a thing and what is the matter with it."""
    odd = [event for event in EVENTS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", event.name)]
    assert not odd, odd


def test_no_tracebacks() -> None:
    """No event has a traceback: its lines may show a call, a body or a setting."""
    tracebacks = {"exc_info", "stack_info", "stack"}
    odd = [one for one in EVENTS if one.level == "exception" or one.fields & tracebacks]
    assert not odd, odd


def test_loggers_are_called_log() -> None:
    """So that this page finds what they log."""
    for path in sorted((ROOT / "phonon_bulk").rglob("*.py")):
        for line in path.read_text("utf-8").splitlines():
            if "get_logger(" in line:
                assert re.match(r"\s*log = structlog\.get_logger\(", line), f"{path}: {line}"
