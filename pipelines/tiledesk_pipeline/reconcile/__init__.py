"""Compares a destination with the API, and repairs it on request.

What the API deletes for good leaves no trace (contract 6), so a load cannot see it; only a
comparison can. It begins with the counts, which cost one call each, and reads ids only where they
differ. In a count, a missing row and an extra row cancel each other out. A deep comparison reads
all rows, and the ids and stamps of all messages.

Only rows that the last complete load has certainly read are compared: those created up to the
server's time when it began, less the lookback, to the second. The next load reads newer rows, and
older ones that changed after that point. Small tables are left out: a load reads them
whole, and replaces what it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import dlt

from tiledesk import errors, open_projects, tables
from tiledesk.project import Project
from tiledesk.source import STREAMS, open_privacy

from .. import copies, state
from ..failures import Failure, explain, find_tiledesk_error
from ..progress import Progress
from ..running import recorded
from ..target import Target
from .compare import grown, leads, requests
from .destination_rows import DestinationRows
from .messages import messages
from .pseudonyms import RequestIds
from .purge import marked
from .repair import repair_rows
from .result import Reconciliation, TableResult

__all__ = ["Reconciliation", "TableResult", "reconcile"]


class NothingLoaded(Failure):
    """Nothing of the project is loaded."""


def reconcile(
    target: Target,
    *,
    deep: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Reconciliation:
    """Compare a destination with the API.

    Args:
        deep: read all rows, and the ids of all messages, even if the counts are equal.
        repair: load what is missing or stale, and mark what was deleted.
        settings: arguments of :func:`tiledesk.tiledesk_source`; the others come from dlt's
            configuration.

    Raises:
        Failure: there is nothing to compare, or a load is running.
        TiledeskError: the API cannot be read, or the destination was loaded with other privacy
            settings.
    """
    target.kind.must_compare()
    target.kind.must_exist()
    progress = progress or Progress()
    found = Reconciliation(target, is_repaired=repair)
    record = recorded(target.kind.notes, "reconcile", progress)
    with target.pipeline(for_queries=True, replaces_rows=repair, record=record) as pipeline:
        if not state.projects(pipeline):
            raise Failure(f"Nothing is loaded into {target} yet: there is nothing to compare.")
        privacy = open_privacy(**settings)
        known = state.resources(pipeline)
        for table in tables.TABLES:
            privacy.require_same_policy(table, dict(known.get(table.name, {})))
        projects = open_projects(observer=progress, **settings)
        with closing(projects[0].client):
            if repair:
                copies.fill(pipeline, target, progress)
            for project in projects:
                if len(projects) > 1:
                    progress.begin_project(project.id)
                request_ids = RequestIds(project, privacy)
                try:
                    compared = _compare(pipeline, project, target, deep, progress, request_ids)
                    if repair:
                        repair_rows(
                            pipeline, project, target, compared, progress, request_ids, deep=deep
                        )
                except Exception as error:
                    if len(projects) == 1 or not _is_of_one_project(error):
                        raise
                    found.failed[project.id] = explain(error)
                    pipeline.drop().sync_destination()  # without an unfinished repair
                else:
                    found.streams += compared
        found.marked = marked(pipeline, target.kind)
    found.calls = progress.calls
    return found


def _is_of_one_project(error: Exception) -> bool:
    """Whether other projects may still succeed; dlt wraps an error of reading in its own."""
    if isinstance(error, NothingLoaded):
        return True
    return isinstance(find_tiledesk_error(error), errors.OF_ONE_PROJECT)


def _compare(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    deep: bool,
    progress: Progress,
    request_ids: RequestIds,
) -> list[TableResult]:
    with pipeline.sql_client() as client:
        stored = {
            table.name: DestinationRows(
                target.kind, client, pipeline, project, table, request_ids.privacy
            )
            for table in tables.TABLES
        }
        if not any(one.up_to or one.count() for one in stored.values()):
            raise NothingLoaded(
                f"Nothing of project {project.id} is loaded into {target} yet: there is nothing to"
                " compare."
            )
        compared: dict[str, TableResult] = {}
        shown_all = state.all_requests_shown(pipeline, project.id)
        steps: dict[str, Callable[[], TableResult]] = {
            "requests": lambda: requests(project, stored["requests"], deep, shown_all, request_ids),
            "messages": lambda: messages(
                project, stored["messages"], deep, compared["requests"], progress.step, request_ids
            ),
            "leads": lambda: leads(project, stored["leads"], deep),
        }
        for name, stream in STREAMS.items():
            progress.step(f"comparing {name}")
            before = progress.calls
            if name in steps:
                result = steps[name]()
            else:
                result = grown(stream.endpoint, project, stored[name], deep)
            compared[name] = result
            result.project, result.up_to = project.id, stored[name].up_to
            result.calls = progress.calls - before
    return list(compared.values())
