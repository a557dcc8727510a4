"""Removes rows for good that Tiledesk no longer has, for those who must erase.

A purge may be interrupted at any point. The log of purges says whether the storage still has to be
written anew, and the next purge does it, even if there are no rows to remove.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import dlt
import pendulum
from dlt.destinations.sql_client import SqlClientBase

from tiledesk.small_tables import ALL_TABLES
from tiledesk.tables import DELETED_AT, LOADS, PARENT_ID, Table

from .. import state
from ..destinations import Destination
from ..progress import Progress
from ..running import recorded
from ..target import Target
from .destination_rows import PURGES, has_log
from .erasure import KEEP_THE_KEY, RULES

TABLES: dict[str, Table] = {table.name: table for table in ALL_TABLES}
# At most this many ids and addresses are looked for inside texts and in the bytes of the file.
SAMPLE = 50
# A shorter text may be part of another by chance.
SHORTEST = 6


@dataclass
class Purged:
    """What a purge did.

    Attributes:
        rows: how many rows of each table were removed, and of how many columns were emptied.
        is_rewritten: whether the storage was written anew.
        scanned: how many columns were searched for what was removed.
        traces: by column, in how many rows ids or addresses of what was removed are still found.
    """

    rows: dict[str, int] = field(default_factory=dict)
    is_rewritten: bool = False
    scanned: int = 0
    traces: dict[str, int] = field(default_factory=dict)


def marked(pipeline: dlt.Pipeline, kind: Destination) -> dict[str, int]:
    """How many rows of each table a purge would remove or empty."""
    with pipeline.sql_client() as client:
        return {
            name: _number(client, f"SELECT count(*) FROM {place} WHERE {where}")  # noqa: S608
            for name, _, place, where, _ in _erased_rows(pipeline, kind, client)
        }


def purge(target: Target) -> Purged:
    """Remove for good what is marked as deleted, with everything that belongs to it.

    :mod:`.erasure` defines what belongs to it. The transaction that removes a row
    writes its table, ``_id`` and the time to ``_tiledesk_purges``. Then the storage is written
    anew, since a DuckDB file and a Postgres table keep the bytes of removed rows. Last, it is
    searched for what was removed.

    Raises:
        Failure: a load is running, a user's own object is in the way, or the storage could not be
            written anew: the next purge does it.
    """
    target.kind.must_compare()
    target.kind.must_exist()
    progress = Progress()
    record = recorded(target.kind.notes, "purge", progress)
    with target.pipeline(for_queries=True, replaces_rows=True, record=record) as pipeline:
        progress.step("removing rows")
        _make_log(pipeline, target.kind)
        done = Purged(marked(pipeline, target.kind))
        if any(done.rows.values()):
            _forget_rows(pipeline, target)
        with pipeline.sql_client() as client:
            secret = _secrets(pipeline, target.kind, client)
            _remove(pipeline, target.kind, client)
            outstanding = _outstanding(client)
        if not outstanding:
            return done
        keys = [
            *secret,
            *(key for name, key, emptied in outstanding if not emptied and name != "leads"),
        ]
        target.kind.drop_leftovers(pipeline)  # first, so that the new file does not hold it
        progress.step("writing the storage anew")
        is_in_bytes = target.kind.rewrite(
            pipeline, [key for key in secret if len(key) >= SHORTEST][:SAMPLE]
        )
        done.is_rewritten = True
        with pipeline.sql_client() as client:
            done.scanned, done.traces = _traces(target, client, keys)
            if is_in_bytes and not done.traces:
                done.traces["the bytes of the file"] = 1
            log = client.make_qualified_table_name(PURGES)
            client.execute_sql(
                f"UPDATE {log} SET rewritten_at = %s WHERE rewritten_at IS NULL",  # noqa: S608
                pendulum.now("UTC"),
            )
        return done


def _make_log(pipeline: dlt.Pipeline, kind: Destination) -> None:
    text, time = kind.text_type, kind.time_type
    with pipeline.sql_client() as client:
        log = client.make_qualified_table_name(PURGES)
        client.execute_sql(
            f"CREATE TABLE IF NOT EXISTS {log} (table_name {text}, _id {text}, purged_at {time})"
        )
        known = kind.column_names(client, PURGES)
        for column, of_type in (("emptied", text), ("rewritten_at", time)):
            if column not in known:
                client.execute_sql(f"ALTER TABLE {log} ADD COLUMN {column} {of_type}")


def _forget_rows(pipeline: dlt.Pipeline, target: Target) -> None:
    """Remove the digests of rows from the state, and its former versions."""
    with pipeline.sql_client() as client:
        removed = {
            table.name: {key for (key,) in client.execute_sql(query) or ()}
            for _, table, place, where, columns in _erased_rows(pipeline, target.kind, client)
            if not columns and (query := f"SELECT _id FROM {place} WHERE {where}")  # noqa: S608
        }
    if state.forget_rows(pipeline, removed):
        pipeline.normalize()
        target.kind.write(pipeline)
    with pipeline.sql_client() as client:
        target.kind.drop_former_states(client, pipeline.pipeline_name)


def _remove(pipeline: dlt.Pipeline, kind: Destination, client: SqlClientBase[Any]) -> None:
    log = client.make_qualified_table_name(PURGES)
    whole = client.capabilities.supports_transactions
    with client.begin_transaction() if whole else nullcontext():
        _clear_errors(pipeline, kind, client)
        # rows of a conversation are found by the conversation, which is therefore removed last
        for _, table, place, where, columns in _erased_rows(pipeline, kind, client):
            client.execute_sql(
                f"INSERT INTO {log} (table_name, _id, purged_at, emptied)"  # noqa: S608
                f" SELECT '{table.name}', _id, %s, %s FROM {place} WHERE {where}",
                pendulum.now("UTC"),
                ", ".join(columns) or None,
            )
            if columns:
                emptied = ", ".join(f"{column} = NULL" for column in columns)
                client.execute_sql(f"UPDATE {place} SET {emptied} WHERE {where}")  # noqa: S608
                continue
            for part in table.lists:
                if part.name in pipeline.default_schema.tables:
                    client.execute_sql(
                        f"DELETE FROM {client.make_qualified_table_name(part.name)}"  # noqa: S608
                        f" WHERE {PARENT_ID} IN (SELECT _id FROM {place} WHERE {where})"
                    )
            client.execute_sql(f"DELETE FROM {place} WHERE {where}")  # noqa: S608
    with client.with_staging_dataset():  # rows that a killed load left
        for schema, name in kind.tables(client):
            if schema == client.dataset_name and not name.startswith("_dlt"):
                client.execute_sql(f"DELETE FROM {client.make_qualified_table_name(name)}")  # noqa: S608


def _clear_errors(pipeline: dlt.Pipeline, kind: Destination, client: SqlClientBase[Any]) -> None:
    """Clear errors of loads: they may name a conversation that is to be erased."""
    sets = _sets(pipeline, kind, client)
    if LOADS.name in pipeline.default_schema.tables and "request_ids" in sets:
        loads = client.make_qualified_table_name(LOADS.name)
        mentions = _mentions(kind, ("error",), sets)
        client.execute_sql(f"UPDATE {loads} SET error = NULL WHERE {mentions}")  # noqa: S608


def _erased_rows(
    pipeline: dlt.Pipeline, kind: Destination, client: SqlClientBase[Any]
) -> Iterator[tuple[str, Table, str, str, tuple[str, ...]]]:
    """A name, the table, its name in SQL, the condition on its rows, and columns to empty.

    Where there are no columns, rows are removed.
    """
    sets = _sets(pipeline, kind, client)
    known = pipeline.default_schema.tables
    for name, rule in RULES.items():
        if name not in known:
            continue
        table, place = TABLES[name], client.make_qualified_table_name(name)
        existing = known[name].get("columns", {})
        conditions = [f"{DELETED_AT} IS NOT NULL"] if DELETED_AT in existing else []
        personal = [
            column.name
            for column in table.all_columns()
            if column.personal is True and column.name in existing
        ]
        names = {
            **sets,
            "mentions": _mentions(kind, personal, sets),
            "mentions_lead": _mentions(kind, personal, sets, "leads_gone", "_id"),
        }
        conditions += [one for rows in rule.rows if (one := _filled(rows, names))]
        removed = f"({' OR '.join(conditions)})" if conditions else "false"
        if conditions:
            yield name, table, place, removed, ()
        emptied = _filled(rule.emptied, names)
        columns = tuple(column for column in rule.columns if column in existing)
        if emptied and columns:
            is_left = " OR ".join(f"{column} IS NOT NULL" for column in columns)
            where = f"{emptied} AND ({is_left}) AND NOT coalesce({removed}, false)"
            yield f"{name} (emptied)", table, place, where, columns


def _filled(condition: str, sets: dict[str, str]) -> str:
    """A condition with its sets filled in; empty if one of them does not exist."""
    try:
        return condition.format_map(sets)
    except KeyError:
        return ""


def _mentions(
    kind: Destination,
    columns: Sequence[str],
    sets: dict[str, str],
    gone: str = "request_ids",
    key: str = "request_id",
) -> str:
    """The condition that one of the columns names what is erased."""
    if not columns or gone not in sets:
        return "1 = 0"
    text = " || ' ' || ".join(f"coalesce({kind.as_text(column)}, '')" for column in columns)
    is_inside = kind.contains(text, f"gone.{key}")
    return f"EXISTS (SELECT 1 FROM {kind.run_once(sets[gone])} AS gone WHERE {is_inside})"  # noqa: S608 (our own names)


def _sets(pipeline: dlt.Pipeline, kind: Destination, client: SqlClientBase[Any]) -> dict[str, str]:
    """What is erased, as queries, by the names that rules use."""
    known = pipeline.default_schema.tables
    place = client.make_qualified_table_name
    sets: dict[str, str] = {}
    for name, rows, gone in (
        ("requests", "", "conversations"),
        ("leads", RULES["leads"].rows[0], "leads_gone"),
    ):
        if name not in known:
            continue
        has_marks = DELETED_AT in known[name].get("columns", {})
        now = " OR ".join(filter(None, (f"{DELETED_AT} IS NOT NULL" if has_marks else "", rows)))
        now = f"coalesce({now}, false)" if now else "false"
        sets[f"{name} now"] = now
        sets[gone] = f"SELECT _id FROM {place(name)} WHERE {now}"  # noqa: S608
    log = place(PURGES)
    if has_log(kind, client):
        before = f"SELECT _id FROM {log} WHERE emptied IS NULL AND table_name = '{{0}}'"  # noqa: S608
        for name, gone in (("requests", "conversations"), ("leads", "leads_gone")):
            if gone in sets:
                is_back = f"SELECT _id FROM {place(name)}"  # noqa: S608
                sets[gone] += f" UNION {before.format(name)} AND _id NOT IN ({is_back})"
        sets["messages_gone"] = before.format("messages")
    if "conversations" in sets:
        requests, now = place("requests"), sets["requests now"]
        is_one = "request_id IS NOT NULL"
        sets["request_ids"] = f"SELECT request_id FROM {requests} WHERE {is_one} AND {now}"  # noqa: S608
        sets["living_request_ids"] = (
            f"SELECT request_id FROM {requests} WHERE {is_one} AND NOT {now}"  # noqa: S608
        )
    if "leads_gone" in sets:
        people = (
            f"SELECT id_project, lead_id FROM {place('leads')}"  # noqa: S608
            " WHERE lead_id IS NOT NULL AND id_project IS NOT NULL AND"
        )
        now = sets["leads now"]
        sets["lead_ids"] = f"{people} {now} AND (id_project, lead_id) NOT IN ({people} NOT {now})"
        if "project_users" in known:
            # a member who wrote as a customer also has a lead, and stays a member
            sets["lead_ids"] += (
                f" AND lead_id NOT IN (SELECT user_id FROM {place('project_users')}"  # noqa: S608
                " WHERE user_id IS NOT NULL)"
            )
        people_gone = kind.run_once(sets["lead_ids"])
        sets["lead_ids"] = f"SELECT id_project, lead_id FROM {people_gone} AS people"  # noqa: S608
        if "project_users" in known:
            sets["visitors"] = (
                f"SELECT _id FROM {place('project_users')}"  # noqa: S608
                f" WHERE (id_project, uuid_user) IN ({sets['lead_ids']})"
            )
    return sets


def _number(client: SqlClientBase[Any], query: str) -> int:
    found = client.execute_sql(query)
    return int(found[0][0]) if found else 0


# --- the proof ------------------------------------------------------------------------------------


def _secrets(pipeline: dlt.Pipeline, kind: Destination, client: SqlClientBase[Any]) -> list[str]:
    """Request ids, e-mail addresses and phone numbers of what will be removed."""
    sets = _sets(pipeline, kind, client)
    queries = [sets["request_ids"]] if "request_ids" in sets else []
    if "leads now" in sets:
        leads = client.make_qualified_table_name("leads")
        for column in ("email", "phone"):
            is_other = f"SELECT {column} FROM {leads} WHERE {column} IS NOT NULL AND NOT"  # noqa: S608
            query = (
                f"SELECT {column} FROM {leads} WHERE length({column}) > 5 AND {sets['leads now']}"  # noqa: S608
                f" AND {column} NOT IN ({is_other} {sets['leads now']})"
            )
            if column in pipeline.default_schema.tables.get("project_users", {}).get("columns", {}):
                members = client.make_qualified_table_name("project_users")
                query += (
                    f" AND {column} NOT IN (SELECT {column} FROM {members}"  # noqa: S608
                    f" WHERE {column} IS NOT NULL AND user_id IS NOT NULL)"
                )
            queries.append(query)
    found = [key for query in queries for (key,) in client.execute_sql(query) or ()]
    return list(dict.fromkeys(found))


def _outstanding(client: SqlClientBase[Any]) -> list[tuple[str, str, str | None]]:
    """Table, id and emptied columns of the rows purged since the storage was written anew."""
    log = client.make_qualified_table_name(PURGES)
    query = f"SELECT table_name, _id, emptied FROM {log} WHERE rewritten_at IS NULL"  # noqa: S608
    return [(name, key, emptied) for name, key, emptied in client.execute_sql(query) or ()]


def _traces(
    target: Target, client: SqlClientBase[Any], keys: Sequence[str]
) -> tuple[int, dict[str, int]]:
    """Search all text columns for what was removed.

    An id that is the whole value of a column is always found. Inside texts, only the first keys
    are looked for. Conversations that stay still hold the key of their lead.
    """
    kind = target.kind
    tables = set(kind.tables(client))
    log = client.make_qualified_table_name(PURGES)
    erased = f"SELECT _id FROM {log} WHERE rewritten_at IS NULL AND emptied IS NULL"  # noqa: S608
    looked_for = [key for key in keys if len(key) >= SHORTEST][:SAMPLE]
    scanned, found = 0, {}
    for schema, table, column in kind.text_columns(client):
        if (schema, table) not in tables or table == PURGES:
            continue
        if schema != client.dataset_name and not kind.holds_nothing_else:
            continue
        scanned += 1
        place = ".".join(client.escape_column_name(part) for part in (schema, table))
        text = kind.as_text(client.escape_column_name(column))
        which = " AND table_name <> 'leads'" if (table, column) in KEEP_THE_KEY else ""
        conditions = [f"{text} IN ({erased}{which})"]
        conditions += [kind.contains(text, "%s")] * len(looked_for)
        query = f"SELECT count(*) FROM {place} WHERE {' OR '.join(conditions)}"  # noqa: S608
        counted = client.execute_sql(query, *looked_for)
        rows = int(counted[0][0]) if counted else 0
        if rows:
            found[f"{schema}.{table}.{column}"] = rows
    return scanned, found
