"""Repairs what differs: loads rows, or marks them as deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dlt
import pendulum
from dlt.destinations.sql_client import SqlClientBase

from tiledesk import tables
from tiledesk.arrow import Rows, texts
from tiledesk.project import Project
from tiledesk.source import rows_source
from tiledesk.streams.messages import of_conversations
from tiledesk.tables import DELETED_AT
from tiledesk.typed import undecoded

from ..destinations import Destination
from ..progress import Progress
from ..target import Target
from .compare import Comparison
from .destination_rows import DestinationRows, chunks
from .messages import conversation
from .pseudonyms import RequestIds
from .result import TableResult

# Rows handed to dlt at a time.
ROWS = 1000


def repair_rows(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    compared: Sequence[TableResult],
    progress: Progress,
    request_ids: RequestIds,
    *,
    deep: bool,
) -> None:
    """Load what is missing or stale, mark what was deleted, and check the result.

    The rows go into the same tables as those of a load; cursors do not move.
    Messages are read from their conversations. The messages of a conversation that was deleted are
    marked with it if its list no longer has them: one of the API's two ways to delete leaves them
    (contract 6).
    """
    streams = {stream.resource: stream for stream in compared}
    before = progress.calls
    progress.step("repairing")
    with pipeline.sql_client() as client:
        stored = DestinationRows(
            target.kind, client, pipeline, project, tables.MESSAGES, request_ids.privacy
        )
        unknown = _add_messages_of_deleted(
            project, stored, streams["requests"], streams["messages"], request_ids
        )
    if unknown and not deep:  # a deep comparison has read those that are left
        streams["messages"].is_complete = False
        streams["messages"].add_remark(
            f"What is left of {unknown} deleted conversations was not asked for: their ids here are"
            " pseudonyms."
        )
    loaded = _load(pipeline, project, target, streams, progress, request_ids)
    streams["messages"].calls += progress.calls - before
    with pipeline.sql_client() as client:
        for table in tables.TABLES:
            stream = streams[table.name]
            stored = DestinationRows(
                target.kind, client, pipeline, project, table, request_ids.privacy
            )
            _mark(target.kind, client, table.name, stream.extra, project.client.server_time)
            read = {*stream.missing, *stream.stale}
            rows = [row for key, row in stream.read_rows.items() if key in read]
            wrong = stored.differing(rows) if rows else set()
            wrong |= {key for (key,) in stored.duplicates()}
            stream.repaired = (stored.known(read & loaded) - wrong) | (
                set(stream.extra) - stored.known(stream.extra)
            )
            stream.read_rows.clear()


def _load(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    streams: dict[str, TableResult],
    progress: Progress,
    request_ids: RequestIds,
) -> set[str]:
    """Load the missing and stale rows; returns the ids of those that the API still has."""
    loaded: set[str] = set()
    sizes = dict.fromkeys(streams, 0)
    schema = pipeline.default_schema

    def measured(name: str, batches: Iterator[Rows]) -> Iterator[Rows]:
        for rows in batches:
            sizes[name] += sum(
                memoryview(raw).nbytes for row in rows for raw in undecoded(row).values()
            )
            yield rows

    rows = {
        name: measured(name, _rows(pipeline, project, target, stream, loaded, request_ids))
        for name, stream in streams.items()
        if stream.missing
        or stream.stale
        # a table of an earlier version gets the column that marks rows
        or (stream.extra and DELETED_AT not in schema.get_table_columns(name))
    }
    if rows:
        pipeline.extract(rows_source(rows, progress, request_ids.privacy))
        pipeline.normalize()
        target.kind.write(pipeline, max(sizes.values()))
    return loaded


def _rows(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    stream: TableResult,
    loaded: set[str],
    request_ids: RequestIds,
) -> Iterator[Rows]:
    """The missing and stale rows: those already read, and messages from their conversations.

    A conversation that lacks one message may lack more, so all of its missing and stale messages
    are loaded.
    """
    wanted = {*stream.missing, *stream.stale}
    already_read = [key for key in stream.read_rows if key in wanted]
    for start in range(0, len(already_read) or 1, ROWS):
        yield tuple(stream.read_rows[key] for key in already_read[start : start + ROWS])
    loaded.update(already_read)
    wanted.difference_update(already_read)
    if not wanted:
        return
    with pipeline.sql_client() as client:
        stored = DestinationRows(
            target.kind, client, pipeline, project, tables.MESSAGES, request_ids.privacy
        )
        asked = {request_ids.in_api(stream.conversations[key]) for key in wanted}
        if None in asked:
            stream.add_remark("Some are in conversations whose ids here the API does not know.")
        for page in of_conversations(project, sorted(filter(None, asked))):
            more = TableResult(stream.resource, 0)
            Comparison(stored, more).look_at(page.rows)
            keys = ({*more.missing, *more.stale} | wanted) - loaded
            stream.missing += more.missing
            stream.stale += more.stale
            ids = [key or "" for key in texts(page.rows, "_id")]
            yield tuple(row for row, key in zip(page.rows, ids, strict=True) if key in keys)
            loaded.update(keys.intersection(ids))
    stream.missing, stream.stale = sorted(set(stream.missing)), sorted(set(stream.stale))


def _add_messages_of_deleted(
    project: Project,
    stored: DestinationRows,
    requests: TableResult,
    messages: TableResult,
    request_ids: RequestIds,
) -> int:
    """Find messages that were deleted with their conversation, by reading what is left of it.

    Returns how many conversations could not be read, since only their pseudonyms are stored.
    """
    extra = set(messages.extra)
    unknown = 0
    for some in chunks(requests.extra):
        places = ", ".join(["%s"] * len(some))
        rows = stored.rows(
            "SELECT m._id, m.recipient FROM {messages} AS m JOIN {requests} AS r"  # noqa: S608
            f" ON r.request_id = m.recipient WHERE {stored.live('m.')} AND r._id IN ({places})",
            *some,
        )
        of: dict[str, set[str]] = {}
        for key, recipient in rows:
            of.setdefault(recipient, set()).add(key)
        for name, keys in of.items():
            if keys <= extra:
                continue
            recipient = request_ids.in_api(name)
            if recipient is None:
                unknown += 1
                continue
            left = {key for key in texts(conversation(project, recipient), "_id") if key}
            extra |= keys - left
    messages.extra = sorted(extra)
    return unknown


def _mark(
    kind: Destination,
    client: SqlClientBase[Any],
    name: str,
    ids: list[str],
    now: pendulum.DateTime | None,
) -> None:
    table = client.make_qualified_table_name(name)
    for some in chunks(ids):
        with kind.marking(client, name, some):
            client.execute_sql(
                f"UPDATE {table} SET {DELETED_AT} = %s WHERE _id IN"  # noqa: S608 (our own names)
                f" ({', '.join(['%s'] * len(some))})",
                now or pendulum.now("UTC"),
                *some,
            )
