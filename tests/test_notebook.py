"""The notebooks: they run, their outputs are up to date, and they show what is in the file."""

from __future__ import annotations

import os
import re
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import IPython.display
import matplotlib
import matplotlib.pyplot as plt
import pytest

from tiledesk_pipeline import notebooks
from tiledesk_pipeline.marts import transform
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.transform import publish_copy

pytestmark = pytest.mark.xdist_group("notebooks")
REVIEW, TABLES = notebooks.NAMES


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the committed outputs are of."""
    folder = tmp_path_factory.mktemp("fixed")
    before = os.environ.get("DLT_DATA_DIR")
    os.environ["DLT_DATA_DIR"] = str(folder / "dlt")
    notebooks.make_file(folder / "demo.duckdb")
    if before is not None:
        os.environ["DLT_DATA_DIR"] = before
    return folder / "demo.duckdb"


@pytest.fixture
def changed(fixed: Path, tmp_path: Path) -> Callable[..., Path]:
    """A file with a part of the conversations, changed by SQL, with new marts."""

    def make(*statements: str) -> Path:
        db = Path(shutil.copy(fixed, tmp_path / "changed.duckdb"))
        with duckdb.connect(str(db)) as connection:
            connection.execute("USE changed.tiledesk")
            connection.execute("DELETE FROM requests WHERE ticket_id % 20 != 0")
            kept = "SELECT request_id FROM requests"
            connection.execute(f"DELETE FROM messages WHERE recipient NOT IN ({kept})")
            for statement in statements:
                connection.execute(statement)
            connection.execute("USE changed.main")
            transform(connection, "tiledesk")
        return db

    return make


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SimpleNamespace]]:
    """Runs the cells of a notebook in this process, which takes less time than a kernel.

    The variables are returned, and what was displayed is in `said`, by cell.
    """
    said: dict[str, str] = {}
    cell = ""

    def display(*shown: Any) -> None:
        said[cell] = " ".join(one.data for one in shown)

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(plt, "show", lambda: None)

    def execute(name: str, db: Path, **replaced: str) -> SimpleNamespace:
        nonlocal cell
        monkeypatch.setenv("TILEDESK_DB", str(db))
        variables: dict[str, Any] = {}
        for one in notebooks.read(name).cells:
            if one.cell_type == "code":
                cell = one.id
                source = one.source
                for old, new in replaced.items():
                    source = re.sub(rf"^{old} = .*", new, source, flags=re.MULTILINE)
                exec(compile(source, one.id, "exec"), variables)
        return SimpleNamespace(**variables, said=said)

    with matplotlib.rc_context():
        matplotlib.use("Agg")
        yield execute
        plt.close("all")


# --- what is committed ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_outputs_are_up_to_date_otherwise_run_make_docs(name: str, fixed: Path) -> None:
    committed = notebooks.read(name)
    now = notebooks.executed(committed, fixed)
    assert [*notebooks.texts(now)] == [*notebooks.texts(committed)]
    for cell, fresh in zip(committed.cells, now.cells, strict=True):
        if cell.cell_type == "code":
            assert cell.execution_count == fresh.execution_count, cell.id
            assert [output.get("data", {}).keys() for output in cell.outputs] == [
                output.get("data", {}).keys() for output in fresh.outputs
            ], cell.id
            assert {output.output_type for output in fresh.outputs} <= {
                "display_data",
                "execute_result",
            }


def test_a_changed_sentence_is_stale() -> None:
    notebook = notebooks.read(REVIEW)
    before = [*notebooks.texts(notebook)]
    (shown,) = [
        output.data
        for cell in notebook.cells
        if cell.id == "volume"
        for output in cell.outputs
        if "text/markdown" in output.data
    ]
    shown["text/markdown"] = shown["text/markdown"].replace("conversations", "chats")
    assert [*notebooks.texts(notebook)] != before


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_committed_notebook_names_no_place_and_no_moment(name: str) -> None:
    text = (notebooks.FOLDER / name).read_text(encoding="utf-8")
    shown = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"/(home|Users|root|tmp)/", shown)
    for word in (":\\\\", "iopub", " at 0x"):
        assert word not in shown
    assert len(text) < 700_000


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_each_code_cell_is_introduced(name: str) -> None:
    for before, cell in pairwise(notebooks.read(name).cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown", cell.id


def test_each_picture_of_the_review_is_followed_by_a_sentence() -> None:
    pictures = 0
    for cell in notebooks.read(REVIEW).cells:
        kinds = [kind for output in cell.get("outputs", []) for kind in output.data]
        if "image/png" in kinds:
            pictures += 1
            assert kinds[-2:] == ["text/markdown", "text/plain"], cell.id
    assert pictures == 7


# --- what the review shows ------------------------------------------------------------------------


@dataclass
class Talk:
    """A conversation, told from the loaded tables without the marts."""

    id: str
    created_at: datetime
    department: str | None
    channel: str | None
    rating: float | None
    closed_at: datetime | None
    messages: list[tuple[datetime, str, str]] = field(default_factory=list)  # when, kind, sender
    closes: list[tuple[datetime, str]] = field(default_factory=list)
    holders: list[str] = field(default_factory=list)

    def first(self, kind: str) -> datetime | None:
        return next((at for at, author, _ in self.messages if author == kind), None)

    def has(self, kind: str) -> bool:
        return self.first(kind) is not None

    @property
    def asked_at(self) -> datetime | None:
        return self.first("customer")

    @property
    def wait(self) -> float | None:
        asked, replied = self.asked_at, self.first("agent")
        if asked is None or replied is None or replied < asked:
            return None
        return (replied - asked).total_seconds()


def read_talks(db: Path) -> list[Talk]:
    with duckdb.connect(str(db), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        members = {user for (user,) in rows("SELECT user_id FROM tiledesk.project_users")}
        talks: dict[str, Talk] = {}
        askers: dict[str, str] = {}
        for key, request, lead, created, department, channel, rating, status, closed in rows(
            "SELECT r._id, request_id, l.lead_id, r.created_at, d.name, channel_name, rating,"
            " r.status, closed_at FROM tiledesk.requests AS r"
            " LEFT JOIN tiledesk.leads AS l ON l._id = r.lead"
            " LEFT JOIN tiledesk.departments AS d"
            " ON d._id = r.department AND d._dlt_valid_to IS NULL"
            " WHERE NOT coalesce(preflight, false) AND NOT coalesce(draft, false)"
        ):
            at = closed if status >= 1000 else None
            talks[request] = Talk(key, created, department, channel, rating, at)
            askers[request] = lead
        for request, at, sender, subtype, label, label_ids in rows(
            "SELECT recipient, created_at, sender, coalesce(attributes->>'$.subtype', ''),"
            " coalesce(attributes->'$.messagelabel'->>'$.key', ''),"
            " attributes->>'$.updateconversationfor'"
            " FROM tiledesk.messages ORDER BY created_at, _id"
        ):
            if (talk := talks.get(request)) is None:
                continue
            if label in ("CHAT_CLOSED", "CHAT_REOPENED"):
                talk.closes.append((at, label))
            if label == "TOUCHING_OPERATOR":
                talk.holders += re.findall(r"(?<!bot_)\b[0-9a-f]{24}\b", label_ids or "")
            if subtype.startswith(("info", "private")) or label or sender == "system":
                continue
            is_agent = re.fullmatch(r"[0-9a-f]{24}", sender) and sender != askers[request]
            kind = "bot" if sender.startswith("bot_") else "agent" if is_agent else "customer"
            talk.messages.append((at, kind, sender))
            if kind == "agent":
                talk.holders.append(sender)
        for request, lead in askers.items():
            if lead in members:  # begun by a member of the team
                talks[request].messages.insert(0, (talks[request].created_at, "member", lead))
    return [*talks.values()]


def is_by_customer(talk: Talk) -> bool:
    return not talk.has("member")


def month(at: datetime) -> date:
    return at.date().replace(day=1)


def summary(waits: list[float]) -> Any:
    """The median, the nine tenths, and of how many."""
    ninth = (
        statistics.quantiles(waits, n=10, method="inclusive")[-1] if len(waits) > 1 else waits[0]
    )
    return pytest.approx([statistics.median(waits), ninth, len(waits)], abs=0.002)


def drawn(axis: Any, line: int) -> list[float]:
    return [float(y) for y in axis.lines[line].get_ydata()]


def labels(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


@pytest.fixture(scope="module")
def talks(fixed: Path) -> list[Talk]:
    return read_talks(fixed)


def test_the_review_shows_what_is_in_the_tables(
    fixed: Path, talks: list[Talk], run: Callable[..., SimpleNamespace]
) -> None:
    shown = run(REVIEW, fixed)
    assert shown.step == "month"

    _volume(shown, talks)
    _backlog(shown, talks)
    _replies(shown, talks)
    _resolutions(shown, talks)
    _departments(shown, talks)
    _agents(shown, talks)
    _bots(shown, talks)
    _satisfaction(shown, talks)


def _volume(shown: SimpleNamespace, talks: list[Talk]) -> None:
    first, last = (found(talk.created_at.date() for talk in talks) for found in (min, max))
    days = Counter(
        month(datetime.combine(first + timedelta(days=n), datetime.min.time()))
        for n in range((last - first).days + 1)
    )
    channels = Counter(talk.channel for talk in talks)
    five = [name for name, _ in channels.most_common(5)]
    expected: dict[Any, float] = defaultdict(float)
    for talk in talks:
        name = talk.channel if talk.channel in five else "others"
        expected[name, month(talk.created_at)] += 1 / days[month(talk.created_at)]
    heights = {
        (container.get_label(), at.date()): bar.get_height()
        for container in shown.begun.containers
        for bar, at in zip(container, shown.table.index, strict=True)
    }
    assert {key: height for key, height in heights.items() if height} == pytest.approx(expected)
    assert f"**{len(talks):,} conversations** began from 2 July 2024" in shown.said["volume"]
    months = Counter(month(talk.created_at) for talk in talks)
    most = max(n / days[at] for at, n in months.items())
    assert f": {most:.1f} a day" in shown.said["volume"]


def _backlog(shown: SimpleNamespace, talks: list[Talk]) -> None:
    changes: Counter[date] = Counter()
    waiting: Counter[date] = Counter()
    for talk in talks:
        changes[talk.created_at.date()] += 1
        waiting[talk.created_at.date()] += 1
        is_open, first_close = True, None
        for at, label in talk.closes:
            if (label == "CHAT_CLOSED") == is_open:
                is_open = not is_open
                changes[at.date()] += 1 if is_open else -1
                first_close = first_close or at
        if is_open and talk.closed_at:
            changes[talk.closed_at.date()] -= 1
            first_close = first_close or talk.closed_at
        ends = [at for at in (talk.first("agent"), first_close) if at]
        if ends:
            waiting[min(ends).date()] -= 1
    still_open = unanswered = 0
    expected = []
    for day in shown.backlog["day"].dt.date:
        still_open += changes[day]
        unanswered += waiting[day]
        expected.append((still_open, unanswered))
    found = shown.backlog[["open", "unanswered"]].itertuples(index=False, name=None)
    assert [*found] == expected
    assert still_open == sum(talk.closed_at is None for talk in talks)
    areas = [
        max(path.vertices[:, 1])
        for area in shown.still_open.collections
        for path in area.get_paths()
    ]
    assert areas == [max(n for n, _ in expected), max(n for _, n in expected)]
    assert (
        f"**{still_open:,} conversations were open**; {unanswered:,} of them"
        in shown.said["volume"]
    )


def _replies(shown: SimpleNamespace, talks: list[Talk]) -> None:
    asked = [talk for talk in talks if is_by_customer(talk)]
    waits = [talk.wait for talk in asked if talk.wait is not None]
    assert [*shown.reply[["median", "p90", "n"]]] == summary(waits)
    assert shown.said["reply"].startswith(f"**{len(waits):,} of {len(asked):,}** conversations")
    by_month = defaultdict(list)
    for talk in asked:
        if talk.wait is not None:
            by_month[month(talk.created_at)].append(talk.wait)
    _over_time(shown.times, shown.answered, shown.reply_by_period, by_month)
    edges = [60, 300, 900, 3600, 14400, 86400]
    places = Counter(
        7 if talk.wait is None else sum(talk.wait >= edge for edge in edges) for talk in asked
    )
    bars = [bar.get_width() for bar in shown.waited.patches]
    assert bars == pytest.approx([100 * places[place] / len(asked) for place in range(8)])


def _over_time(times: Any, below: Any, data: Any, by_month: dict[date, list[float]]) -> None:
    assert [*data["period"].dt.date] == sorted(by_month)
    found = zip(
        drawn(times, 1), drawn(times, 0), (bar.get_height() for bar in below.patches), strict=True
    )
    for numbers, (_, waits) in zip(found, sorted(by_month.items()), strict=True):
        assert [*numbers] == summary(waits)


def _resolutions(shown: SimpleNamespace, talks: list[Talk]) -> None:
    closed = [talk for talk in talks if talk.closed_at]
    taken = [(talk.closed_at - talk.created_at).total_seconds() for talk in closed]  # type: ignore[operator]
    assert [*shown.resolution[["median", "p90", "n"]]] == summary(taken)
    by_month = defaultdict(list)
    for talk, seconds in zip(closed, taken, strict=True):
        by_month[month(talk.closed_at)].append(seconds)  # type: ignore[arg-type]
    _over_time(shown.solved, shown.closed, shown.resolution_by_period, by_month)
    expected = [0, 0, 0]
    for talk in closed:
        runs = [kind for kind, _ in groupby(kind for _, kind, _ in talk.messages)].count("agent")
        agents = {sender for _, kind, sender in talk.messages if kind == "agent"}
        labels = [label for _, label in talk.closes]
        reopened = labels.count("CHAT_REOPENED")
        expected[0] += runs == 1
        expected[1] += len(agents) == 1 and reopened == 0
        expected[2] += reopened > 0
    widths = [bar.get_width() for bar in shown.effort.patches]
    assert widths == pytest.approx([100 * n / len(closed) for n in expected])


def _departments(shown: SimpleNamespace, talks: list[Talk]) -> None:
    groups = defaultdict(list)
    for talk in talks:
        groups[talk.department or "none"].append(talk)
    assert len(shown.departments) == len(groups)
    for row in shown.departments.itertuples():
        waits = [
            talk.wait for talk in groups[row.name] if is_by_customer(talk) and talk.wait is not None
        ]
        ratings = [talk.rating for talk in groups[row.name] if talk.rating is not None]
        assert row.conversations == len(groups[row.name])
        assert [row.median, row.p90, row.n] == summary(waits)
        assert (row.ratings, row.good) == (len(ratings), sum(r >= 4 for r in ratings))
    _compared(shown.department_axes, shown.departments)


def _compared(axes: Any, data: Any) -> None:
    """What `compare` draws is what it was given."""
    counts, times, shares = axes
    rows = data.iloc[::-1]
    assert [bar.get_width() for bar in counts.patches] == [*rows["conversations"]]
    assert [label.get_text() for label in counts.get_yticklabels()] == [*rows["name"]]
    for column, points in zip(("p90", "median"), times.collections[1:], strict=True):
        assert [x for x, _ in points.get_offsets()] == [*rows[column]]
    lines, points = shares.collections
    assert [x for x, _ in points.get_offsets()] == pytest.approx([*rows["good"] / rows["ratings"]])
    for row, segment in zip(rows.itertuples(), lines.get_segments(), strict=True):
        assert [x for x, _ in segment] == pytest.approx([*wilson(row.good, row.ratings)])
    assert labels(shares)[:-1] == [f"{n:,}" for n in rows["ratings"]]


def wilson(good: int, ratings: int) -> tuple[float, float]:
    """Where the observed share is 1.96 standard errors away, found by halving."""

    def edge(sign: int) -> float:
        share = good / ratings
        inner, outer = share, float(sign > 0)
        for _ in range(60):
            middle = (inner + outer) / 2
            error = 1.96 * (middle * (1 - middle) / ratings) ** 0.5
            inner, outer = (middle, outer) if abs(share - middle) <= error else (inner, middle)
        return inner

    return edge(-1), edge(1)


def _agents(shown: SimpleNamespace, talks: list[Talk]) -> None:
    wrote, waits, rated = defaultdict(set), defaultdict(list), defaultdict(list)
    for talk in talks:
        asked = None
        for at, kind, sender in talk.messages:
            if kind == "agent":
                wrote[sender].add(talk.id)
                if asked is not None:
                    waits[sender].append((at - asked).total_seconds())
                    asked = None
            elif kind == "customer" and asked is None:
                asked = at
        if talk.closed_at and talk.rating is not None and talk.holders:
            rated[talk.holders[-1]].append(talk.rating)
    names = dict(
        shown.db.sql(
            f"SELECT user_id, firstname || ' ' || lastname FROM file.{shown.dataset}.project_users"
        ).fetchall()
    )
    expected = {names[sender]: sender for sender in wrote}
    assert {*shown.agents["name"]} == {*expected}
    for row in shown.agents.itertuples():
        sender = expected[row.name]
        assert row.conversations == len(wrote[sender])
        assert [row.median, row.p90, row.n] == summary(waits[sender])
        good = sum(rating >= 4 for rating in rated[sender])
        assert (row.ratings, row.good) == (len(rated[sender]), good)
    _compared(shown.agent_axes, shown.agents)


def _bots(shown: SimpleNamespace, talks: list[Talk]) -> None:
    by_month: dict[date, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for talk in talks:
        if not is_by_customer(talk) or not talk.has("bot"):
            continue
        kind = "handed_over" if talk.holders else "contained" if talk.closed_at else "open"
        total.update([kind, "all"])
        by_month[month(talk.created_at)].update([kind, "all"])
    found = shown.bots
    assert found["durable"] + found["reopened"] == total["contained"]
    assert (found["handed_over"], found["open"]) == (total["handed_over"], total["open"])
    assert f"**{total['all']:,} conversations**" in shown.said["bots"]
    assert drawn(shown.contained, 0) == pytest.approx(
        [count["contained"] / count["all"] for _, count in sorted(by_month.items())]
    )
    widths = [sum(bar.get_width() for bar in container) for container in shown.each_bot.containers]
    assert sum(widths) == shown.by_bot["conversations"].sum() >= total["all"]


def _satisfaction(shown: SimpleNamespace, talks: list[Talk]) -> None:
    rated = [talk for talk in talks if talk.rating is not None]
    good = sum(talk.rating >= 4 for talk in rated)
    assert f"**{len(rated)} conversations** were rated" in shown.said["satisfaction"]
    assert f"**{good / len(rated):.0%}".replace("%", " %") in shown.said["satisfaction"]
    low, high = (f"{share:.0%}".replace("%", " %") for share in wilson(good, len(rated)))
    assert f"from {low} to {high}" in shown.said["satisfaction"]
    mean = statistics.fmean(talk.rating for talk in rated)
    assert f"The mean is {mean:.1f}." in shown.said["satisfaction"]
    by_month = defaultdict(list)
    for talk in rated:
        by_month[month(talk.created_at)].append(talk.rating >= 4)
    assert drawn(shown.good, 0) == pytest.approx(
        [statistics.fmean(marks) for _, marks in sorted(by_month.items())]
    )
    stars = Counter(talk.rating for talk in rated)
    assert [bar.get_width() for bar in shown.given.patches] == [stars[n] for n in (5, 4, 3, 2, 1)]


def test_a_review_of_a_period_has_what_began_in_it(
    fixed: Path, talks: list[Talk], run: Callable[..., SimpleNamespace]
) -> None:
    shown = run(REVIEW, fixed, **{"since, until": 'since, until = "2026-02-01", "2026-03-31"'})
    began = [t for t in talks if date(2026, 2, 1) <= t.created_at.date() <= date(2026, 3, 31)]
    assert shown.step == "week"
    first = min(talk.created_at for talk in began)
    sentence = f"**{len(began):,} conversations** began from {first.day} {first:%B %Y} to 31 March"
    assert shown.said["volume"].startswith(sentence)
    days = shown.volume.groupby("period")["days"].first()
    heights = sum(
        bar.get_height() * of
        for container in shown.begun.containers
        for bar, of in zip(container, days, strict=True)
    )
    assert heights == pytest.approx(len(began))
    assert shown.departments["conversations"].sum() == len(began)
    assert shown.backlog["day"].dt.date.max() == date(2026, 3, 31)


# --- files with little in them --------------------------------------------------------------------

EMPTY = (
    "DELETE FROM requests",
    "DELETE FROM messages",
    "DELETE FROM leads",
    "DELETE FROM requests__tags",
    "DELETE FROM activities",
)
NOBODY = (
    "DELETE FROM messages"
    " WHERE regexp_full_match(sender, '[0-9a-f]{24}') OR label_key = 'TOUCHING_OPERATOR'"
)


def draw_all() -> None:
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()


def test_an_empty_project_is_said_to_be_empty(
    changed: Callable[..., Path], tmp_path: Path, run: Callable[..., SimpleNamespace]
) -> None:
    # The name of the schema, and a quote: neither may stop anyone from opening a file.
    (tmp_path / "an analyst's").mkdir()
    db = Path(shutil.move(changed(*EMPTY), tmp_path / "an analyst's" / "tiledesk.duckdb"))
    shown = run(REVIEW, db)
    draw_all()
    assert shown.said == {
        "volume": "There are no conversations in this period.",
        "reply": "No conversation of this period has been answered by an agent.",
        "resolution": "No conversation was closed in this period.",
        "departments": "There are no conversations in this period.",
        "agents": "No agent has written to a customer in this period.",
        "bots": "No bot took part in a conversation of this period.",
        "satisfaction": "No conversation of this period has been rated.",
    }
    run(TABLES, db)


def test_a_project_without_ratings_and_agents_has_the_rest(
    changed: Callable[..., Path], run: Callable[..., SimpleNamespace]
) -> None:
    shown = run(REVIEW, changed("UPDATE requests SET rating = NULL", NOBODY))
    draw_all()
    assert shown.said["volume"].startswith("**")
    assert shown.said["reply"] == "No conversation of this period has been answered by an agent."
    assert shown.said["agents"] == "No agent has written to a customer in this period."
    assert shown.said["satisfaction"] == "No conversation of this period has been rated."
    assert labels(shown.department_axes[1]) == ["No answers."]
    assert labels(shown.department_axes[2]) == ["No ratings."]
    assert [bar.get_width() for bar in shown.department_axes[0].patches]
    assert shown.said["bots"].startswith("A bot took part in **")


def test_one_conversation_is_enough(
    changed: Callable[..., Path], run: Callable[..., SimpleNamespace]
) -> None:
    one = "SELECT min(_id) FROM requests WHERE rating IS NOT NULL AND status = 1000"
    shown = run(REVIEW, changed(f"DELETE FROM requests WHERE _id != ({one})"))
    draw_all()
    assert shown.said["volume"].startswith("**1 conversations** began")
    assert "**1 conversations** were rated" in shown.said["satisfaction"]


@pytest.mark.parametrize(
    ("name", "schema", "words"),
    [
        (REVIEW, "tiledesk_marts", r"has no marts\. Make them with: tiledesk-dlt transform --db "),
        (TABLES, "tiledesk", r"has no conversations\. Load them with: tiledesk-dlt load --db "),
    ],
)
def test_what_is_missing_is_said_with_the_command(
    name: str, schema: str, words: str, tmp_path: Path, run: Callable[..., SimpleNamespace]
) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"There is no file .*none\.duckdb\. Run `make demo`"
    ):
        run(name, tmp_path / "none.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    with pytest.raises(LookupError, match=words):
        run(name, tmp_path / "other.duckdb")


def test_a_published_copy_is_only_read_while_others_read_it(
    changed: Callable[..., Path], tmp_path: Path, run: Callable[..., SimpleNamespace]
) -> None:
    copy = tmp_path / "copy.duckdb"
    publish_copy(Target(db=changed()), copy)
    before = copy.read_bytes()
    with duckdb.connect(str(copy), read_only=True):  # would keep a writer out
        run(TABLES, copy)
        assert run(REVIEW, copy).total > 50
    assert copy.read_bytes() == before
