"""Walks over lists that change between any two calls: nothing may be missed, nothing come twice."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

import msgspec
import pendulum
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiledesk import walks
from tiledesk.arrow import Page, read_page
from tiledesk.errors import IncompleteRead
from tiledesk.walks import Batch, Window, iso, moving_window, newest_first, parse

START = pendulum.datetime(2026, 3, 1, 12)
NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 (START, in less time for many stamps)


@dataclass
class Server:
    """A list with stamps that changes by a schedule, served by offset like the API's.

    The order among equal stamps is another for every skip and limit; on small pages, every call.
    """

    rng: random.Random
    limit_cap: int
    rows: dict[str, str] = field(default_factory=dict)  # id -> stamp
    now: int = 0
    made: int = 0
    calls: int = 0
    change: Callable[[Server], None] | None = None
    whole_pages_only: bool = False
    fixed_size: int = 0
    keeps_order: bool = False

    def stamp(self, milliseconds: int) -> str:
        at = NOON + timedelta(milliseconds=milliseconds)
        return f"{at.isoformat(timespec='milliseconds')}Z"

    def insert(self, milliseconds: int) -> str:
        self.made += 1
        key = f"{self.made:024x}"
        self.rows[key] = self.stamp(milliseconds)
        return key

    def touch(self, key: str) -> None:
        self.now += 1
        self.rows[key] = self.stamp(self.now)

    def delete(self, key: str) -> None:
        del self.rows[key]

    def answer(self, keys: list[str], skip: int, limit: int, *, reverse: bool) -> Page:
        if self.calls and self.change:
            self.change(self)
        self.calls += 1
        keys = [key for key in keys if key in self.rows] if keys else list(self.rows)
        # pages of 20 have too few sizes to draw all of a group; real ones are of 50 and more
        drawn = self.calls if self.limit_cap < 50 else ""
        order = random.Random(f"{self.made} {skip} {limit} {drawn}")
        stamp_of = self.rows.__getitem__
        keys.sort(key=stamp_of, reverse=reverse)
        # no other order among equals can be seen on this page
        first, last = self.with_equals(keys, skip, skip + limit)
        part = keys[first:last]
        if not self.keeps_order:
            order.shuffle(part)
        part.sort(key=stamp_of, reverse=reverse)
        page = [{"_id": key, "stamp": self.rows[key]} for key in part[skip - first :][:limit]]
        body = {"perPage": limit, "count": len(keys), "rows": page}
        return read_page(json.dumps(body).encode(), "rows")

    def with_equals(self, keys: list[str], first: int, last: int) -> tuple[int, int]:
        """From where to where rows go that have the stamps of these in a sorted list."""
        stamps, size = self.rows, len(keys)
        while 0 < first < size and stamps[keys[first - 1]] == stamps[keys[first]]:
            first -= 1
        while 0 < last < size and stamps[keys[last - 1]] == stamps[keys[last]]:
            last += 1
        return first, last

    def since(self, start: str, page: int, limit: int) -> Page:
        limit = min(limit, self.limit_cap)
        if self.calls and self.change:
            self.change(self)
        change, self.change = self.change, None
        keys = [key for key, stamp in self.rows.items() if stamp[:19] >= start]
        try:
            if not keys:
                self.calls += 1
                return Page([], limit, 0)
            return self.answer(keys, page * limit, limit, reverse=False)
        finally:
            self.change = change

    def newest(self, page: float, limit: int) -> Page:
        limit = self.fixed_size or min(limit, self.limit_cap)
        if self.whole_pages_only:
            page = int(page)
        skip = page * limit
        assert skip == int(skip), "the server would fail"
        return self.answer([], int(skip), limit, reverse=True)


def delivered(batches: Iterator[Batch]) -> tuple[dict[str, str], str | None]:
    """What a walk delivered, by id, and how far it says it has read."""
    rows: dict[str, str] = {}
    reached = None
    for batch in batches:
        for row in batch.rows:
            key = json.loads(bytes(row["_id"]))
            assert key not in rows, "a row came twice in one walk"
            rows[key] = json.loads(bytes(row["stamp"]))
        reached = batch.read_up_to or reached
    return rows, reached


def run_to(
    walk: Iterator[Batch], loaded: dict[str, str], cursor: str | None, *, may_give_up: bool
) -> str | None:
    """Loads what a walk delivers as dlt would: rows and cursor together, or neither."""
    try:
        rows, reached = delivered(walk)
    except IncompleteRead:
        assert may_give_up
        return cursor
    loaded.update(rows)
    return max(cursor or "", reached) if reached else cursor


def filled(rng: random.Random, size: int, cap: int, group: int) -> Server:
    """Rows over some minutes, many in the millisecond of another, and one large group."""
    server = Server(rng, cap)
    for _ in range(size):
        server.now += rng.choice([0, 0, 1, 7, 400, 3000])
        server.insert(server.now)
    at = rng.randint(0, server.now)
    for _ in range(group):
        server.insert(at)
    return server


def mutations(rng: random.Random, kinds: str) -> Callable[[Server], None]:
    """A schedule of changes between calls."""

    def change(server: Server) -> None:
        for _ in range(rng.choice([0, 0, 1, 2, 9])):
            kind = rng.choice(kinds)
            server.now += rng.choice([0, 1, 1500])
            if kind == "i" or not server.rows:
                server.insert(server.now)
            elif kind == "t":
                server.touch(rng.choice(list(server.rows)))
            elif kind == "d":
                server.delete(rng.choice(list(server.rows)))

    return change


WORLDS = st.tuples(
    st.integers(0, 2**32),
    st.integers(0, 200),
    st.sampled_from([20, 50]),
    st.sampled_from([0, 4, 30, 120]),
)


@settings(max_examples=250, deadline=None)
@given(WORLDS, st.booleans())
def test_no_row_is_missed_by_a_moving_window_while_the_list_changes(
    world: tuple[int, int, int, int], changing: bool
) -> None:
    seed, size, cap, group = world
    rng = random.Random(seed)
    server = filled(rng, size, cap, group)
    loaded: dict[str, str] = {}
    cursor: str | None = None
    for run in range(4):
        server.change = mutations(rng, "itd") if changing and run < 2 else None
        window = Window("stamp", parse(cursor) if cursor else None)
        walk = moving_window(server.since, window, limit=cap)
        cursor = run_to(walk, loaded, cursor, may_give_up=server.change is not None)
    assert {key: loaded.get(key) for key in server.rows} == server.rows


@settings(max_examples=250, deadline=None)
@given(WORLDS, st.booleans(), st.booleans(), st.booleans())
def test_no_row_is_missed_newest_first_while_the_list_changes(
    world: tuple[int, int, int, int], changing: bool, fractions: bool, whole_pages_only: bool
) -> None:
    seed, size, cap, group = world
    rng = random.Random(seed)
    server = filled(rng, size, cap, group)
    server.whole_pages_only = whole_pages_only
    loaded: dict[str, str] = {}
    cursor: str | None = None
    for run in range(4):
        server.change = mutations(rng, "iitd") if changing and run < 2 else None
        window = Window("stamp", parse(cursor) if cursor else None)
        walk = newest_first(server.newest, window, limit=cap, fractions=fractions)
        cursor = run_to(walk, loaded, cursor, may_give_up=server.change is not None)
    assert {key: loaded.get(key) for key in server.rows} == server.rows


@settings(max_examples=250, deadline=None)
@given(WORLDS, st.booleans(), st.sampled_from(["", "fractions", "a size of its own"]))
def test_no_row_is_missed_newest_first_by_walks_that_end_early_and_go_on(
    world: tuple[int, int, int, int], changing: bool, pages: str
) -> None:
    """Also where a page has a size of its own, as log entries have before 2.19.14.

    Asked for 1, 100 or 500, the server gives the same number. Log entries are never changed, and
    dropped after 30 days only (contract 2.10, 4.4, 6).
    """
    seed, size, cap, group = world
    rng = random.Random(seed)
    has_own_size = pages == "a size of its own"
    # there, six pages of one stamp take thousands of calls while the list moves
    server = filled(rng, size, cap, min(group, cap * 3 // 2) if has_own_size else group)
    server.fixed_size = cap if has_own_size else 0
    kinds = "i" if server.fixed_size else "iitd"
    loaded: dict[str, str] = {}
    cursor: str | None = None
    position: walks.Position | None = None
    for run in range(200):
        is_last, is_whole = run == 199, position is None
        server.change = mutations(rng, kinds) if changing and run < 6 else None
        window = Window("stamp", parse(cursor) if cursor else None)
        # another size from run to run, where it is not heeded
        limit = rng.choice([1, 2, cap, 3 * cap]) if server.fixed_size else cap
        walk = newest_first(
            server.newest, window, position, limit=limit, fractions=pages == "fractions"
        )
        enough = 10_000 if is_last else rng.choice([1, 1, 2, 5, 10_000])
        rows, kept = dict(loaded), position
        try:
            for batch in islice(walk, enough):
                for row in batch.rows:
                    rows[json.loads(bytes(row["_id"]))] = json.loads(bytes(row["stamp"]))
                kept = json.loads(json.dumps(batch.position)) or kept
                if batch.read_up_to:
                    cursor, kept = max(cursor or "", batch.read_up_to), None
        except IncompleteRead:
            assert server.change is not None
        else:
            loaded, position = rows, kept
        many = rng.choice([0, 0, 1, cap, 7 * cap]) if changing and run < 6 else 0
        for _ in range(many):  # between two runs much may happen
            server.now += 1
            server.insert(server.now)
        if many and not server.fixed_size and rng.random() < 0.5:
            for key in rng.sample(list(server.rows), min(many, len(server.rows) - 1)):
                server.delete(key)
        if is_whole and position is None and run > 8:
            break
    assert {key: loaded.get(key) for key in server.rows} == server.rows


@pytest.mark.parametrize("happened", ["nothing", "many new", "many deleted"])
def test_going_on_costs_a_few_calls_whatever_has_happened_since(happened: str) -> None:
    server = Server(random.Random(5), 50)
    keys = [server.insert(number * 700) for number in range(20_000)]
    walk = newest_first(server.newest, Window("stamp"), limit=50, fractions=True)
    position = list(islice(walk, 100))[-1].position
    server.now = 20_000 * 700
    if happened == "many new":
        for _ in range(10_000):
            server.now += 1
            server.insert(server.now)
    elif happened == "many deleted":
        for key in keys[-4_000:]:
            server.delete(key)
    server.calls = 0
    batch = next(newest_first(server.newest, Window("stamp"), position, limit=50, fractions=True))
    assert position is not None
    assert len(batch.rows) > 20
    assert max(json.loads(bytes(row["stamp"])) for row in batch.rows) == position["reached"]
    assert server.calls <= {"nothing": 3, "many new": 20, "many deleted": 20}[happened]


@pytest.mark.parametrize("changing", [False, True])
def test_an_ordinary_walk_needs_hardly_more_calls_than_pages(changing: bool) -> None:
    rng = random.Random(5)
    server = Server(rng, 50)
    for _ in range(5_000):
        server.now += rng.choice([1, 900, 2000])
        server.insert(server.now)
    if changing:
        server.change = lambda s: (s.insert(s.now + s.calls), None)[1]
    rows, _ = delivered(newest_first(server.newest, Window("stamp"), limit=50, fractions=True))
    assert len(rows) == 5_000
    assert server.calls <= 110
    server.change, server.calls = None, 0
    delivered(moving_window(server.since, Window("stamp"), limit=50))
    assert server.calls <= 116  # part of a second is read again with every page


def test_a_group_that_never_holds_still_is_an_error_and_not_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walks, "PASSES", 5)
    server = Server(random.Random(1), 10)
    for _ in range(400):
        server.insert(0)
    server.change = lambda s: s.delete(next(iter(s.rows)))
    with pytest.raises(IncompleteRead):
        delivered(newest_first(server.newest, Window("stamp"), limit=10))
    assert len(server.rows) > 60


@pytest.mark.parametrize("walk", ["moving window", "newest first"])
def test_a_large_group_is_found_while_rows_are_added_at_every_call(walk: str) -> None:
    """A desk at its busiest: the list never holds still to be counted."""
    server = Server(random.Random(1), 50)
    for number in range(400):
        server.insert(number * 700)
    group = {server.insert(60_000) for _ in range(150)}

    def add(s: Server) -> None:
        s.now += 300_000
        s.insert(s.now)

    server.change = add
    if walk == "moving window":
        rows, _ = delivered(moving_window(server.since, Window("stamp"), limit=50))
    else:
        rows, _ = delivered(newest_first(server.newest, Window("stamp"), limit=50))
    assert group <= rows.keys()


@pytest.mark.parametrize("walk", ["moving window", "newest first"])
def test_a_large_group_of_a_server_that_keeps_its_order_costs_few_calls(walk: str) -> None:
    """As after a bulk job; what cannot be done without are four pages of 150 rows of one stamp."""
    server = Server(random.Random(1), 50, keeps_order=True)
    for number in range(400):
        server.insert(number * 700)
    for _ in range(150):
        server.insert(100_000)
    if walk == "moving window":
        rows, _ = delivered(moving_window(server.since, Window("stamp"), limit=50))
    else:
        rows, _ = delivered(newest_first(server.newest, Window("stamp"), limit=50, fractions=True))
    assert rows == server.rows
    assert server.calls <= 9 + 4 + 6


@pytest.mark.parametrize("walk", ["moving window", "newest first"])
@pytest.mark.parametrize("call", range(1, 20))
def test_rows_that_have_left_a_large_group_do_not_stand_for_others(walk: str, call: int) -> None:
    """They were seen before the group was counted, and are gone when it is."""
    rng = random.Random(call)
    server = Server(rng, 20)
    for number in range(40):
        server.insert(number * 700)
    group = [server.insert(20_000) for _ in range(90)]
    seen: list[str] = []

    def change(s: Server) -> None:
        if s.calls == call:
            for key in rng.sample(seen, min(len(seen), 30)):
                s.delete(key)

    server.change = change
    if walk == "moving window":
        batches = moving_window(server.since, Window("stamp"), limit=20)
    else:
        batches = newest_first(server.newest, Window("stamp"), limit=20)
    found = set()
    for batch in batches:
        keys = [json.loads(bytes(row["_id"])) for row in batch.rows]
        found.update(keys)
        seen += [key for key in keys if key in group]
    assert found >= server.rows.keys()


def test_a_server_that_does_not_heed_the_time_of_day_is_an_error_and_not_a_loss() -> None:
    """Servers before 2.14.9 begin a window with its day (contract 9.2)."""
    server = Server(random.Random(1), 10)
    for second in range(100):
        server.insert(second * 1000)
    with pytest.raises(IncompleteRead, match=r"2\.14\.9"):
        delivered(
            moving_window(
                lambda start, page, limit: server.since(start[:10], page, limit),
                Window("stamp"),
                limit=10,
            )
        )


def test_rows_of_impossible_years_are_delivered_and_end_no_walk() -> None:
    server = Server(random.Random(1), 10)
    for second in range(30):
        server.insert(second * 1000)
    strange = {"+010000-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000Z"}

    def fetch(start: str, page: int, limit: int) -> Page:
        keys = sorted(server.rows, key=server.rows.__getitem__)
        rows = [("early", "0001-01-01T00:00:00.000Z"), *((k, server.rows[k]) for k in keys)]
        rows.append(("late", "+010000-01-01T00:00:00.000Z"))
        found = [{"_id": k, "stamp": s} for k, s in rows if k == "late" or s[:19] >= start]
        body = {"perPage": limit, "count": len(found), "rows": found[page * limit :][:limit]}
        return read_page(json.dumps(body).encode(), "rows")

    loaded, _ = delivered(moving_window(fetch, Window("stamp"), limit=10))
    assert len(loaded) == 32
    assert strange <= set(loaded.values())


def test_only_the_window_is_delivered() -> None:
    server = Server(random.Random(1), 10)
    for second in range(100):
        server.insert(second * 1000)
    window = Window("stamp", START.add(seconds=30), START.add(seconds=60))
    expected = {
        key for key, stamp in server.rows.items() if iso(window.start) <= stamp < iso(window.end)
    }  # type: ignore[arg-type]
    oldest, _ = delivered(moving_window(server.since, window, limit=10))
    newest, _ = delivered(newest_first(server.newest, window, limit=10))
    assert oldest.keys() == newest.keys() == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T20:19:28.574Z",
        "2026-03-29T00:59:59.999Z",  # an hour before clocks change in Rome
        "2024-02-29T23:59:59.000Z",
        "0001-01-01T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
    ],
)
def test_a_stamp_survives_parsing_to_the_millisecond(text: str) -> None:
    assert iso(parse(text)) == text


def test_no_row_after_a_large_group_is_lost_when_rows_above_it_come_and_go() -> None:
    """The page that seemed to begin right after the group had begun later when it was read."""
    for seed in range(400):
        rng = random.Random(seed)
        server = Server(rng, 4)
        above = [server.insert(100_000 + number) for number in range(12)]
        for _ in range(6):
            server.insert(50_000)
        for number in range(12):
            server.insert(number * 10)

        def come_and_go(
            s: Server, rng: random.Random = rng, above: list[str] = above, seed: int = seed
        ) -> None:
            s.now = max(s.now, 200_000) + 1
            # rarely, so that the group can be counted: where it cannot, odds decide
            change = rng.choice([0] * 6 + [-5, -3, 3, 5])
            for _ in range(abs(change)):
                if change > 0:
                    above.append(s.insert(s.now))
                elif above:
                    s.delete(above.pop())

        server.change = come_and_go
        before = set(server.rows)
        try:
            rows, _ = delivered(newest_first(server.newest, Window("stamp"), limit=4))
        except IncompleteRead:
            continue
        assert server.rows.keys() & before <= rows.keys(), f"seed {seed}"


# --- lists that repeat themselves, or have no end -------------------------------------------------


def page_of(keys: range, seconds: int, count: int | None) -> Page:
    """Rows a second apart, newest first, with a count if there is one."""
    rows = [{"_id": f"{key:024x}", "stamp": f"{iso(START.subtract(seconds=key))}"} for key in keys]
    if seconds < 0:
        rows = [row | {"stamp": iso(START.add(seconds=int(row["_id"], 16)))} for row in rows]
    body = {"perPage": len(rows), "rows": rows} | ({} if count is None else {"count": count})
    return read_page(json.dumps(body).encode(), "rows")


@pytest.mark.parametrize("count", [None, 3000])
@pytest.mark.parametrize("fractions", [True, False])
@pytest.mark.parametrize("stamp", ["stamp", "_id"])
def test_a_list_that_is_the_same_on_every_page_is_an_error(
    count: int | None, fractions: bool, stamp: str
) -> None:
    walk = newest_first(
        lambda page, limit: page_of(range(50), 1, count),
        Window(stamp),
        limit=50,
        fractions=fractions,
    )
    with pytest.raises(IncompleteRead, match="the same rows again and again"):
        delivered(walk)


def test_a_walk_that_goes_on_in_a_list_that_is_the_same_on_every_page_is_an_error() -> None:
    position = {"newest": iso(START), "reached": iso(START.subtract(days=1)), "newer": 700}
    walk = newest_first(
        lambda page, limit: page_of(range(limit), 1, None), Window("stamp"), position, limit=50
    )
    with pytest.raises(IncompleteRead, match="the same rows again and again"):
        delivered(walk)


@pytest.mark.parametrize("group", [False, True])
def test_a_list_of_ever_older_rows_ends_where_its_count_says(group: bool) -> None:
    def fetch(page: float, limit: int) -> Page:
        first = int(page * limit)
        found = page_of(range(first, first + limit), 1, 3000)
        if group:  # of one stamp, all of them
            same = msgspec.Raw(msgspec.json.encode(iso(START)))
            found = found._replace(rows=[row | {"stamp": same} for row in found.rows])
        return found

    with pytest.raises(IncompleteRead, match="no end"):
        delivered(newest_first(fetch, Window("stamp"), limit=50, fractions=True))


@pytest.mark.parametrize("rows", [1, 50])
def test_a_window_that_is_the_same_on_every_page_is_an_error(rows: int) -> None:
    with pytest.raises(IncompleteRead):
        delivered(
            moving_window(
                lambda start, page, limit: page_of(range(rows), -1, 3000), Window("stamp"), limit=50
            )
        )


def test_a_window_of_ever_newer_rows_ends_long_after_its_count() -> None:
    def fetch(start: str, page: int, limit: int) -> Page:
        first = int((parse(f"{start}.000Z") - START).total_seconds()) if start else 0
        return page_of(range(first, first + limit), -1, 40)

    with pytest.raises(IncompleteRead, match="no end"):
        delivered(moving_window(fetch, Window("stamp"), limit=50))


def test_a_second_of_ever_more_rows_ends_where_its_count_says() -> None:
    same = msgspec.Raw(msgspec.json.encode(iso(START)))

    def fetch(start: str, page: int, limit: int) -> Page:
        found = page_of(range(page * limit, page * limit + limit), -1, 300)
        return found._replace(rows=[row | {"stamp": same} for row in found.rows])

    with pytest.raises(IncompleteRead, match="no end"):
        delivered(moving_window(fetch, Window("stamp"), limit=50))


def rows_at(first: int, limit: int, ids: str = "{:024x}", step: int = 1) -> Page:
    """Rows of an endless list, each a second older than the one before."""
    rows = [
        {"_id": ids.format(2**90 - key), "stamp": iso(START.subtract(seconds=key * step))}
        for key in range(first, first + limit)
    ]
    return read_page(json.dumps(rows).encode())


@pytest.mark.parametrize("stamp", ["stamp", "_id"])
@pytest.mark.parametrize("step", [1, 0])
def test_a_list_without_a_count_and_without_an_end_is_an_error(stamp: str, step: int) -> None:
    calls = 0

    def fetch(page: float, limit: int) -> Page:
        nonlocal calls
        calls += 1
        return rows_at(int(page * limit), limit, step=step)

    with pytest.raises(IncompleteRead, match="at whatever place"):
        delivered(newest_first(fetch, Window(stamp), limit=50, fractions=True))
    assert calls < 120


def test_a_list_that_the_database_sorts_in_memory_is_asked_for_its_end_much_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walks, "ROWS_BEFORE_END_CHECK", 10_000)
    asked: list[int] = []

    def fetch(page: float, limit: int) -> Page:
        asked.append(int(page * limit))
        return rows_at(asked[-1], limit)

    walk = newest_first(fetch, Window("stamp"), limit=50, fractions=True, sorted_in_memory=True)
    with pytest.raises(IncompleteRead, match="at whatever place"):
        delivered(walk)
    assert 10_000 <= sorted(asked)[-2] < 10_100


def test_a_long_list_without_a_count_is_read_whole_for_a_few_calls_more() -> None:
    calls: list[int] = []

    def fetch(page: float, limit: int) -> Page:
        first = int(page * limit)
        calls.append(first)
        return rows_at(first, max(0, min(limit, 25_000 - first)))

    rows, _ = delivered(newest_first(fetch, Window("stamp"), limit=50, fractions=True))
    assert len(rows) == 25_000
    assert sum(first == walks.FAR_BEHIND for first in calls) == 3  # at 5,000, 10,000 and 20,000


@pytest.mark.parametrize("direction", [1, -1])
def test_a_list_whose_rows_are_made_up_anew_for_each_call_is_an_error(direction: int) -> None:
    """Ever older or ever newer rows, whatever part of the list is asked for."""
    made = 0

    def fetch(page: float, limit: int) -> Page:
        nonlocal made
        made += 1
        if page >= walks.FAR_BEHIND // limit:
            return Page([], None, None)
        # each page begins a little above the end of the one before, with rows nobody has seen
        return rows_at(direction * made * (limit - 2), limit, ids=f"{made:04x}{{:020x}}")

    with pytest.raises(IncompleteRead, match="other rows whenever"):
        delivered(newest_first(fetch, Window("stamp"), limit=50, fractions=True))
    assert made < 50


def test_a_list_whose_count_grows_with_each_page_is_an_error() -> None:
    def fetch(page: float, limit: int) -> Page:
        first = int(page * limit)
        return rows_at(first, limit)._replace(total=first + 5000, per_page=limit)

    with pytest.raises(IncompleteRead, match="at whatever place"):
        delivered(newest_first(fetch, Window("stamp"), limit=50, fractions=True))


@pytest.mark.parametrize("step", [1, 0])
@pytest.mark.parametrize("total", [None, "grows", 10**15])
def test_a_window_without_an_end_is_an_error_whatever_its_count_says(
    step: int, total: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "ROWS_BEFORE_END_CHECK", 10_000)

    def fetch(start: str, page: int, limit: int) -> Page:
        begin = int((parse(f"{start}.000Z") - START).total_seconds()) if start else 0
        first = begin + page * limit
        found = rows_at(-first - limit + 1, limit, step=step)
        found.rows.reverse()
        count = first + 5000 if total == "grows" else total
        return found._replace(total=count, per_page=limit)

    with pytest.raises((IncompleteRead, walks.BadAnswer), match=r"no end|without its count"):
        delivered(moving_window(fetch, Window("stamp", START), limit=50))


# --- rows without a date --------------------------------------------------------------------------


@dataclass
class Imported(Server):
    """Some rows have no date: the list has them behind all others, whatever they show."""

    shown: dict[str, str | None] = field(default_factory=dict)
    counts: bool = True

    def answer(self, keys: list[str], skip: int, limit: int, *, reverse: bool) -> Page:
        if self.calls and self.change:
            self.change(self)
        self.calls += 1
        keys = list(self.rows)
        # another order among equals in every call
        random.Random(f"{self.made} {skip} {limit} {self.calls}").shuffle(keys)
        keys.sort(
            key=lambda key: (key not in self.shown, self.shown.get(key, self.rows[key]) or ""),
            reverse=reverse,
        )
        rows = []
        for key in keys[skip : skip + limit]:
            stamp = self.shown.get(key, self.rows[key])
            rows.append({"_id": key} | ({} if stamp is None else {"stamp": stamp}))
        body = {"perPage": limit, "rows": rows} | ({"count": len(keys)} if self.counts else {})
        return read_page(json.dumps(body).encode(), "rows")


def imported(
    world: tuple[int, int, int, int], counts: bool, many: int, kinds: list[str]
) -> Imported:
    """A list with some rows without a date."""
    seed, size, cap, group = world
    rng = random.Random(seed)
    whole = filled(rng, size, cap, group)
    server = Imported(rng, cap, whole.rows, whole.now, whole.made, counts=counts)
    for _ in range(many):
        kind = rng.choice(kinds)
        text = server.stamp(rng.randint(-(10**6), 10**8))
        server.shown[server.insert(0)] = {"text": text, "missing": None}.get(kind, kind)
    return server


KINDS = st.lists(st.sampled_from(["", "Invalid date", "text", "text", "missing"]), min_size=1)


@settings(max_examples=100, deadline=None)
@given(WORLDS, st.booleans(), st.booleans(), st.sampled_from([1, 3, 30, 130]), KINDS)
@example((200, 200, 50, 120), True, False, 1, ["text"])  # the last page holds the text only
def test_rows_without_a_date_are_delivered_once_by_a_walk_over_everything(
    world: tuple[int, int, int, int], changing: bool, counts: bool, many: int, kinds: list[str]
) -> None:
    server = imported(world, counts, many, kinds)
    before = set(server.rows)
    server.change = mutations(server.rng, "id") if changing else None
    walk = newest_first(server.newest, Window("stamp"), limit=server.limit_cap, fractions=True)
    found: list[str] = []
    try:
        for batch in walk:
            found += [json.loads(bytes(row["_id"])) for row in batch.rows]
    except IncompleteRead:
        assert changing
        return
    assert len(found) == len(set(found))
    assert before & server.rows.keys() <= set(found)


@settings(max_examples=150, deadline=None)
@given(WORLDS, st.booleans(), st.sampled_from([1, 2, 30]), KINDS)
@example((102, 102, 50, 120), False, 2, ["", "", "", "", "", "", "", "text"])
def test_rows_are_deleted_between_walks_that_go_on_before_rows_without_a_date(
    world: tuple[int, int, int, int], counts: bool, many: int, kinds: list[str]
) -> None:
    """Where a walk goes on, there may be rows without a date, which show newer stamps."""
    server = imported(world, counts, many, kinds)
    rng, before, found = server.rng, set(server.rows), set()
    position: walks.Position | None = None
    is_whole = False
    while not is_whole:
        walk = newest_first(
            server.newest, Window("stamp"), position, limit=server.limit_cap, fractions=True
        )
        is_whole, enough = True, rng.choice([1, 1, 2, 3])
        for number, batch in enumerate(walk, 1):
            found |= {json.loads(bytes(row["_id"])) for row in batch.rows}
            if number >= enough and batch.position:
                position, is_whole = json.loads(json.dumps(batch.position)), False
                break
        for _ in range(rng.choice([0, 1, 2, 8, server.limit_cap])):
            dated = [key for key in server.rows if key not in server.shown]
            if len(dated) > 1:
                server.delete(rng.choice(dated))
    assert before & server.rows.keys() <= found


@pytest.mark.parametrize("many", [1, 75, 130])
@pytest.mark.parametrize("counts", [True, False])
def test_a_large_group_before_rows_without_a_date_is_read_whole(many: int, counts: bool) -> None:
    """An import in which all rows have one time, and more have theirs as text."""
    server = Imported(random.Random(3), 50, counts=counts)
    for _ in range(300):
        server.insert(0)
    for number in range(many):
        server.shown[server.insert(0)] = server.stamp(10_000 * (number + 1))
    rows, _ = delivered(newest_first(server.newest, Window("stamp"), limit=50, fractions=True))
    assert rows.keys() == server.rows.keys()


@pytest.mark.parametrize("many", [1, 49, 50, 150])
@pytest.mark.parametrize("shown", ["newer", "older", "missing"])
def test_a_moving_window_delivers_nothing_of_a_list_with_rows_that_no_date_finds(
    many: int, shown: str
) -> None:
    server = Imported(random.Random(1), 50)
    for number in range(200):
        server.insert(number * 700)
    for number in range(many):
        text = server.stamp(number * 1000 + (10**9 if shown == "newer" else -(10**9)))
        server.shown[server.insert(0)] = None if shown == "missing" else text

    def fetch(start: str, page: int, limit: int) -> Page:
        if not start:
            return server.answer([], page * limit, limit, reverse=False)
        dated = Server(
            server.rng, 50, {k: s for k, s in server.rows.items() if k not in server.shown}
        )
        return dated.since(start, page, limit)

    walk = moving_window(fetch, Window("stamp"), limit=50)
    if shown == "older" and many < 50:  # they are all on the first page, in order
        rows, _ = delivered(walk)
        assert rows.keys() == server.rows.keys()
    else:
        with pytest.raises(walks.OutOfOrder):
            next(walk)
