"""What differs, put right: loaded, or marked as deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dlt
import pendulum
from dlt.destinations.sql_client import SqlClientBase

from tiledesk import tables
from tiledesk.arrow import texts
from tiledesk.project import Project
from tiledesk.reading import Rows
from tiledesk.source import given_rows
from tiledesk.streams.messages import of_conversations
from tiledesk.tables import DELETED_AT

from ..load import Progress
from ..target import Target
from .compare import Comparison
from .found import Compared
from .here import Here, chunks
from .messages import conversation
from .names import RequestIds

# Rows handed to dlt at a time.
ROWS = 1000


def repair(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    compared: Sequence[Compared],
    progress: Progress,
    names: RequestIds,
    *,
    deep: bool,
) -> None:
    """Load what is missing or stale, mark what was deleted, and see whether it is so.

    The rows that were read go into the same tables as a load's; cursors stay where they are.
    Messages are read from their conversations. The messages of a conversation that was deleted are
    marked with it if its list no longer has them: one of the API's two ways to delete leaves them
    (contract 6).
    """
    streams = {stream.resource: stream for stream in compared}
    before = progress.calls
    progress.step("repairing")
    with pipeline.sql_client() as client:
        here = Here(client, pipeline, project, tables.MESSAGES, names.privacy)
        unknown = _add_messages_of_deleted(
            project, here, streams["requests"], streams["messages"], names
        )
    if unknown and not deep:  # a deep comparison has met those that are left
        streams["messages"].is_whole = False
        streams["messages"].say(
            f"What is left of {unknown} deleted conversations was not asked for: their ids here are"
            " pseudonyms."
        )
    loaded = _load(pipeline, project, target, streams, progress, names)
    streams["messages"].calls += progress.calls - before
    with pipeline.sql_client() as client:
        for table in tables.TABLES:
            stream = streams[table.name]
            here = Here(client, pipeline, project, table, names.privacy)
            _mark(client, table.name, stream.extra, project.client.server_time)
            read = {*stream.missing, *stream.stale}
            rows = [row for key, row in stream.in_hand.items() if key in read]
            wrong = here.differing(rows) if rows else set()
            wrong |= {key for (key,) in here.twice()}
            stream.mended = (here.known(read & loaded) - wrong) | (
                set(stream.extra) - here.known(stream.extra)
            )
            stream.in_hand.clear()


def _load(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    streams: dict[str, Compared],
    progress: Progress,
    names: RequestIds,
) -> set[str]:
    """Load the missing and stale rows; the ids of those that were still to be had."""
    loaded: set[str] = set()
    sizes = dict.fromkeys(streams, 0)
    schema = pipeline.default_schema

    def measured(name: str, batches: Iterator[Rows]) -> Iterator[Rows]:
        for rows in batches:
            sizes[name] += sum(memoryview(raw).nbytes for row in rows for raw in row.values())
            yield rows

    rows = {
        name: measured(name, _rows(pipeline, project, stream, loaded, names))
        for name, stream in streams.items()
        if stream.missing
        or stream.stale
        # an older version's table has no column to mark rows in, and gets it so
        or (stream.extra and DELETED_AT not in schema.get_table_columns(name))
    }
    if rows:
        pipeline.extract(given_rows(rows, progress, names.privacy))
        pipeline.normalize()
        target.write(pipeline, max(sizes.values()))
    return loaded


def _rows(
    pipeline: dlt.Pipeline,
    project: Project,
    stream: Compared,
    loaded: set[str],
    names: RequestIds,
) -> Iterator[Rows]:
    """The missing and stale rows: those in hand, and messages from their conversations.

    A conversation that lacks one message may lack more: what else of it is missing or stale is
    loaded, too.
    """
    wanted = {*stream.missing, *stream.stale}
    given = [key for key in stream.in_hand if key in wanted]
    for start in range(0, len(given) or 1, ROWS):
        yield tuple(stream.in_hand[key] for key in given[start : start + ROWS])
    loaded.update(given)
    wanted.difference_update(given)
    if not wanted:
        return
    with pipeline.sql_client() as client:
        here = Here(client, pipeline, project, tables.MESSAGES, names.privacy)
        asked = {names.there(stream.conversations[key]) for key in wanted}
        if None in asked:
            stream.say("Some are in conversations whose ids here the API does not know.")
        for page in of_conversations(project, sorted(filter(None, asked))):
            more = Compared(stream.resource, 0)
            Comparison(here, more).look_at(page.rows)
            keys = ({*more.missing, *more.stale} | wanted) - loaded
            stream.missing += more.missing
            stream.stale += more.stale
            ids = [key or "" for key in texts(page.rows, "_id")]
            yield tuple(row for row, key in zip(page.rows, ids, strict=True) if key in keys)
            loaded.update(keys.intersection(ids))
    stream.missing, stream.stale = sorted(set(stream.missing)), sorted(set(stream.stale))


def _add_messages_of_deleted(
    project: Project, here: Here, requests: Compared, messages: Compared, names: RequestIds
) -> int:
    """Find the messages that went with their conversation, by asking for what is left of it.

    Returns how many conversations could not be asked for, since their ids here are pseudonyms.
    """
    extra = set(messages.extra)
    unknown = 0
    for some in chunks(requests.extra):
        places = ", ".join(["%s"] * len(some))
        rows = here.rows(
            "SELECT m._id, m.recipient FROM {messages} AS m JOIN {requests} AS r"  # noqa: S608
            f" ON r.request_id = m.recipient WHERE {here.live('m.')} AND r._id IN ({places})",
            *some,
        )
        of: dict[str, set[str]] = {}
        for key, recipient in rows:
            of.setdefault(recipient, set()).add(key)
        for name, keys in of.items():
            if keys <= extra:
                continue
            recipient = names.there(name)
            if recipient is None:
                unknown += 1
                continue
            left = {key for key in texts(conversation(project, recipient), "_id") if key}
            extra |= keys - left
    messages.extra = sorted(extra)
    return unknown


def _mark(
    client: SqlClientBase[Any], name: str, ids: list[str], now: pendulum.DateTime | None
) -> None:
    table = client.make_qualified_table_name(name)
    for some in chunks(ids):
        client.execute_sql(
            f"UPDATE {table} SET {DELETED_AT} = %s WHERE _id IN"  # noqa: S608 (our own names)
            f" ({', '.join(['%s'] * len(some))})",
            now or pendulum.now("UTC"),
            *some,
        )
