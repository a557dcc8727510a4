"""Makes the marts in a DuckDB file, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
from dlt.common.configuration.resolve import resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration, configspec

from .. import change_log
from ..failures import Failure
from . import changes, compiled, days, leads, newest, own, staging
from .changes import TEMPORARY, temporary
from .changes import name as _name

MESSAGES_AT_ONCE = 1_000_000
UNKNOWN_TIME_ZONE = (
    "The operating hours of a project name a time zone that does not exist: UTC is used."
)


@configspec
class MartSettings(BaseConfiguration):
    """Settings of the marts, in dlt's section ``transform``; the dbt package calls them variables.

    Attributes:
        time_zone: IANA name, for days, hours and weekdays; empty for the one of the project's
            operating hours, which is UTC where a project has none.
        week_start: ``monday`` or ``sunday``.
        include_drafts: whether test conversations of the bot designer count.
        sla_first_reply_seconds: target of the first reply; None for no target.
        sla_next_reply_seconds: target of every later reply.
        sla_resolution_seconds: target of the last close.
        sla_in_business_time: whether targets are measured in business time.
        csat_good_from: ratings from this number on are good.
        durable_days: a conversation that a bot contained is durable if it is not reopened within
            this many days.
        holidays: days without business time, as ISO 8601 dates.
        excluded_agents: members whose messages do not count as an agent's, by user id.
        as_of: the time at which rolling windows of ``tiledesk__own_analytics`` end, ISO 8601;
            empty for now.
    """

    time_zone: str = ""
    week_start: str = "monday"
    include_drafts: bool = False
    sla_first_reply_seconds: float | None = 300
    sla_next_reply_seconds: float | None = 600
    sla_resolution_seconds: float | None = 86400
    sla_in_business_time: bool = True
    csat_good_from: float = 4
    durable_days: int = 7
    holidays: Sequence[str] = ()
    excluded_agents: Sequence[str] = ()
    as_of: str = ""

    def as_sql(self) -> dict[str, str]:
        """Each setting as a literal of SQL."""
        literals = {
            name: _literal(getattr(self, name))
            for name in self.get_resolvable_fields()
            if name not in ("holidays", "excluded_agents")
        }
        return {**literals, "as_of": literals["as_of"] if self.as_of else "current_timestamp"}

    def lists(self) -> dict[str, str]:
        """The query of each model that holds a list of the settings."""
        return {
            "int_tiledesk__holidays": _values("holiday", "date", self.holidays),
            "int_tiledesk__excluded_agents": _values("user_id", "varchar", self.excluded_agents),
        }

    def check(self) -> None:
        """Raises:
        Failure: a setting cannot be used.
        """
        if self.week_start not in ("monday", "sunday"):
            raise Failure("transform.week_start is monday or sunday.")
        if self.time_zone and self.time_zone.lower() not in map(str.lower, time_zones()):
            raise Failure(
                f"transform.time_zone is {self.time_zone!r}, which is not the name of a time zone"
                " such as Europe/Rome."
            )
        for day in self.holidays:
            try:
                is_day = bool(date.fromisoformat(day)) and len(day) == 10
            except ValueError:
                is_day = False
            if not is_day:
                raise Failure(
                    f"transform.holidays holds {day!r}, which is not a date like 2026-12-25."
                )


@dataclass
class Transformed:
    """What a transformation made.

    Attributes:
        schema: the schema of the marts.
        rows: rows of each mart.
        conversations: how many conversations were made anew; None for all.
        notices: what a person should know, a sentence each.
    """

    schema: str
    rows: dict[str, int] = field(default_factory=dict)
    conversations: int | None = None
    notices: list[str] = field(default_factory=list)


def transform(
    connection: duckdb.DuckDBPyConnection,
    dataset: str,
    *,
    schema: str = "",
    settings: MartSettings | None = None,
    full_refresh: bool = False,
    messages_at_once: int = MESSAGES_AT_ONCE,
) -> Transformed:
    """Make the marts from the tables of a dataset; readers see the old ones until all are made.

    The rows of conversations that have not changed stay as they are. What is made from all
    conversations, such as figures by day, is made anew.

    Args:
        connection: to the DuckDB file, which may be written.
        dataset: the schema of the loaded tables.
        schema: the schema of the marts; the dataset's name and ``_marts`` unless given.
        full_refresh: make all conversations anew.
        messages_at_once: if there are more, conversations are made in parts of about so many, so
            that they fit into memory: a part takes 1.6 KB for each of its messages.

    Raises:
        Failure: there is no such dataset, or a setting cannot be used.
    """
    settings = settings or resolve_configuration(MartSettings(), sections=("transform",))
    schema = schema or f"{dataset}_marts"
    loaded: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns()"
        " WHERE schema_name = ? AND database_name = current_database()",
        [dataset],
    ).fetchall():
        loaded.setdefault(table, set()).add(column)
    if not loaded:
        raise Failure(f"Nothing is loaded into dataset {dataset}. Load first.")
    settings.check()
    done = Transformed(schema)
    connection.begin()
    try:
        _make(
            connection,
            dataset,
            loaded,
            settings,
            done,
            full_refresh=full_refresh,
            messages_at_once=messages_at_once,
        )
        unknown = connection.execute(
            f"SELECT count(*) FROM {TEMPORARY}.int_tiledesk__projects WHERE NOT is_time_zone_known"
        ).fetchone()
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    if unknown and unknown[0]:
        done.notices.append(UNKNOWN_TIME_ZONE)
    return done


class _Making:
    """One transformation: its models, and where each is made."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, schema: str, settings: MartSettings
    ) -> None:
        self.connection, self.schema = connection, schema
        self.models = dict(changes.models_by_kind())
        self.variables = settings.as_sql()
        self.marts, self.prep = _name(schema), _name(f"{schema}_prep")
        self.lasting = {name: f"{self.prep}.{name}" for name in changes.KEPT}
        for model in (*self.models["conversations"], *self.models["aggregates"]):
            if model.schema == compiled.MARTS:
                self.lasting[model.name] = f"{self.marts}.{model.name}"
        self.made: set[str] = set()
        self.lists = settings.lists()

    def make(self, models: Iterable[compiled.Model], place: Callable[[str], str]) -> None:
        """Make models where `place` says, from where it says that others are."""
        for model in models:
            query = self.lists.get(model.name) or compiled.filled(
                model.query, place, self.variables
            )
            table = place(model.name)
            word = "TEMP TABLE" if table.startswith(f"{TEMPORARY}.") else "TABLE"
            self.connection.execute(f"CREATE OR REPLACE {word} {table} AS {query}")
            self.made.add(table)

    def final(self, name: str) -> str:
        return self.lasting.get(name) or temporary(name)

    def make_all(self, parts: int) -> None:
        """Make all conversations, at once or in parts."""
        changes.make_digests(self.connection)
        if parts == 1:
            self.make(self.models["conversations"], lambda name: self.final(changes.narrowed(name)))
            days.keep(self.connection, self.final, self.prep)
            newest.keep(self.connection, lambda name: self.final(changes.narrowed(name)), self.prep)
            changes.keep_all(self.connection, self.schema)
            return
        for part in range(parts):
            is_first = part == 0
            changes.take_part(self.connection, part, parts)
            self.make(self.models["conversations"], changes.taken)
            changes.put(self.connection, self.schema, is_first=is_first)
            self.made.update(map(self.final, changes.MARTS))
            days.keep(self.connection, temporary, self.prep, is_first=is_first)
            newest.keep(self.connection, changes.taken, self.prep, is_first=is_first)
        changes.keep_all(self.connection, self.schema)
        # a part does not have the newest times of all
        of_open = changes.parts_of_open(self.connection, self.schema, parts)
        for part in range(of_open):
            changes.take_open(self.connection, self.schema, part, of_open)
            self.make_taken()

    def make_taken(self) -> None:
        """Make the conversations that were taken, and put them in place of the old ones."""
        self.make(self.models["conversations"], changes.taken)
        changes.replace(self.connection, self.schema)
        days.find(self.connection, temporary, self.prep)
        newest.replace(self.connection, changes.taken, self.prep)

    def make_aggregates(self) -> None:
        """Make what is made from all conversations."""
        self.make(self.models["aggregates"], self.final)
        self._keep_shared()

    def make_changed(self, *, by_log: bool, is_any: bool, small: str) -> None:
        """Make the conversations that were taken, and what changed of the marts made from all.

        Args:
            by_log: whether the log of changes is whole.
            is_any: whether there are such conversations.
            small: the digest of the small tables.
        """
        small_before, open_before = changes.remembered(self.connection, self.schema)
        is_same = small == small_before
        if by_log:
            leads.find(self.connection, self.final, self.prep)
        if is_any:
            self.make_taken()
            self._make_days()
            self._make_whole("tiledesk__hours", "tiledesk__backlog_daily")
        if not is_same:
            self._make_whole("tiledesk__bots")
        if by_log:
            self._make_leads()
        else:
            self._make_whole(leads.MART)
        if not (by_log and is_same and self._make_own(open_before)):
            self._make_whole(own.MART)
        self._keep_shared()

    def _make_days(self) -> None:
        """Make the marts of days, or only the touched days of them."""
        models = [self._model(name) for name in changes.MARTS_OF_DAYS]
        if not days.narrow(self.connection, self.final, self.prep):
            self.make(models, self.final)
            return
        self.make(models, lambda name: temporary(days.narrowed(name)))
        for model in models:
            days.replace(self.connection, model.name, self.final(model.name))

    def _make_leads(self) -> None:
        leads.narrow(self.connection, self.final)
        self.make([self._model(leads.MART)], leads.narrowed(self.final))
        leads.replace(self.connection, self.final(leads.MART))

    def _make_own(self, open_before: int | None) -> bool:
        """Make the touched months of Tiledesk's own analytics; False if these are too many."""
        open_now = own.first_open(self.connection)
        if open_now is None or open_before is None:
            return False
        first_open = min(open_now, open_before)
        months = own.touched(self.connection, self.prep)
        if not own.narrow(self.connection, months, first_open):
            return False
        self.make([self._model(own.MART)], own.narrowed(self.final))
        own.replace(self.connection, self.final(own.MART), months, first_open)
        return True

    def _make_whole(self, *names: str) -> None:
        self.make([self._model(name) for name in names], self.final)

    def _model(self, name: str) -> compiled.Model:
        return next(model for model in self.models["aggregates"] if model.name == name)

    def _keep_shared(self) -> None:
        for name in changes.KEPT_SHARED:
            self.connection.execute(
                f"CREATE OR REPLACE TABLE {self.prep}.{name} AS FROM {temporary(name)}"
            )


def _make(
    connection: duckdb.DuckDBPyConnection,
    dataset: str,
    loaded: dict[str, set[str]],
    settings: MartSettings,
    done: Transformed,
    *,
    full_refresh: bool,
    messages_at_once: int,
) -> None:
    """Make all models; those of conversations only for the changed ones where that can be."""
    making = _Making(connection, done.schema, settings)
    for schema in (making.marts, making.prep):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    views = _make_views(connection, dataset, loaded)
    making.make(making.models["shared"], temporary)
    mark = changes.fingerprint(connection, dataset, making.variables, views)
    small = changes.of_small(connection)
    is_logged = done.schema == f"{dataset}_marts"
    by_log = is_logged and change_log.is_whole(connection, dataset, loaded)
    if not full_refresh:
        done.conversations = changes.find(
            connection, done.schema, mark, messages_at_once, by_log=by_log
        )
    if done.conversations is None:
        making.make_all(changes.parts(connection, messages_at_once))
        making.make_aggregates()
    else:
        making.make_changed(by_log=by_log, is_any=done.conversations > 0, small=small)
    told = compiled.descriptions()
    for name, table in making.lasting.items():
        if name in told:
            if table in making.made:
                _describe(connection, table, *told[name])
            counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            done.rows[name] = counted[0] if counted else 0
    changes.remember(connection, done.schema, mark, small, own.first_open(connection))
    if is_logged:
        change_log.begin(connection, dataset, loaded)


def _make_views(
    connection: duckdb.DuckDBPyConnection, dataset: str, loaded: dict[str, set[str]]
) -> dict[str, str]:
    """Make the staging views, and the narrow ones; the queries of the narrow ones by name."""
    narrow = {}
    for part in staging.staged_tables():
        source = f"{_name(dataset)}.{_name(part.name)}"
        query = staging.select(part, source, loaded.get(part.name))
        view = f"stg_tiledesk__{part.name}"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {TEMPORARY}.{view} AS {query}")
        if part.name in changes.COLUMNS:
            narrow[changes.narrowed(view)] = changes.narrow(part.name, query)
    for view, query in narrow.items():
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {TEMPORARY}.{view} AS {query}")
    return narrow


def _describe(
    connection: duckdb.DuckDBPyConnection, place: str, about: str, columns: dict[str, str]
) -> None:
    """Give a mart and its columns their descriptions as comments, as dbt does in Postgres."""
    comments = [f"COMMENT ON TABLE {place} IS {_literal(about)}"]
    comments += [
        f"COMMENT ON COLUMN {place}.{_name(name)} IS {_literal(columns[name])}"
        for name, *_ in connection.execute(f"DESCRIBE {place}").fetchall()
        if columns.get(name)
    ]
    connection.execute("; ".join(comments))


def time_zones() -> set[str]:
    """Names of time zones that DuckDB knows."""
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT name FROM pg_timezone_names()").fetchall()
    return {name for (name,) in rows}


def _values(column: str, type: str, values: Sequence[str]) -> str:
    rows = ", ".join(f"(CAST({_literal(value)} AS {type}))" for value in values)
    if not rows:
        return f"SELECT CAST(NULL AS {type}) AS {column} WHERE false"
    return f"SELECT * FROM (VALUES {rows}) AS given({column})"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int, float)):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
