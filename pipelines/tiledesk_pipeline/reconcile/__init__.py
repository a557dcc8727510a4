"""What is in a destination, compared with what the API has now; and put right, if so wished.

What the API deletes for good leaves no trace in it (contract 6), so a load never learns of it; only
a comparison does. It begins with the counts, which cost one call each, and reads ids only where
they differ. One row that is missing and one that is extra cancel each other out in a count; a deep
comparison reads all rows, and of messages all ids and stamps.

Only rows created up to the point that the last load surely reached are compared: the stream's
cursor less the lookback, to the second, by the server's clock. Newer ones are for the next load,
and so are older ones that changed after that point. Small tables are left out: a load reads them
whole, and replaces what it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import dlt

from tiledesk import errors, open_projects, tables
from tiledesk.project import Project
from tiledesk.source import open_privacy

from .. import state
from ..failures import Failure, explain
from ..load import Progress
from ..settings import of_privacy, of_projects
from ..target import DUCKDB_MEMORY_FOR_QUERIES, Target
from .compare import activities, leads, requests
from .found import Compared, Reconciliation
from .here import Here
from .messages import messages
from .names import RequestIds
from .purge import marked
from .repair import repair

__all__ = ["Compared", "Reconciliation", "reconcile"]


def reconcile(
    target: Target,
    *,
    deep: bool = False,
    mend: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Reconciliation:
    """Compare a destination with the API.

    Args:
        deep: read all rows, and the ids of all messages, whatever the counts say.
        mend: load what is missing or stale, and mark what was deleted.
        settings: arguments of :func:`tiledesk.tiledesk_source` that are not to come from dlt's
            configuration.

    Raises:
        Failure: there is nothing to compare, or a load is running.
        TiledeskError: the API cannot be read, or what is here was loaded with other privacy
            settings.
    """
    target.must_exist()
    progress = progress or Progress()
    found = Reconciliation(target, is_repaired=mend)
    with target.pipeline(DUCKDB_MEMORY_FOR_QUERIES) as pipeline:
        if not state.projects(pipeline):
            raise Failure(f"Nothing is loaded into {target} yet: there is nothing to compare.")
        privacy = open_privacy(**of_privacy(settings))
        known = state.resources(pipeline)
        for table in tables.TABLES:
            privacy.mind(table, dict(known.get(table.name, {})))
        projects = open_projects(observer=progress, **of_projects(settings))
        with closing(projects[0].client):
            for project in projects:
                if len(projects) > 1:
                    progress.begin_project(project.id)
                names = RequestIds(project, privacy)
                try:
                    compared = _compare(pipeline, project, target, deep, progress, names)
                    if mend:
                        repair(pipeline, project, target, compared, progress, names, deep=deep)
                except (Failure, *errors.OF_ONE_PROJECT) as error:
                    if len(projects) == 1:
                        raise
                    found.failed[project.id] = explain(error)
                else:
                    found.streams += compared
        found.marked = marked(pipeline)
    found.calls = progress.calls
    return found


def _compare(
    pipeline: dlt.Pipeline,
    project: Project,
    target: Target,
    deep: bool,
    progress: Progress,
    names: RequestIds,
) -> list[Compared]:
    with pipeline.sql_client() as client:
        here = {
            table.name: Here(client, pipeline, project, table, names.privacy)
            for table in tables.TABLES
        }
        if not any(one.up_to or one.count() for one in here.values()):
            raise Failure(
                f"Nothing of project {project.id} is loaded into {target} yet: there is nothing to"
                " compare."
            )
        compared: dict[str, Compared] = {}
        shown_all = state.all_requests_shown(pipeline, project.id)
        steps: dict[str, Callable[[], Compared]] = {
            "requests": lambda: requests(project, here["requests"], deep, shown_all, names),
            "messages": lambda: messages(
                project, here["messages"], deep, compared["requests"], progress.step, names
            ),
            "leads": lambda: leads(project, here["leads"], deep),
            "activities": lambda: activities(project, here["activities"], deep),
        }
        for name, step in steps.items():
            progress.step(f"comparing {name}")
            before = progress.calls
            stream = compared[name] = step()
            stream.project, stream.up_to = project.id, here[name].up_to
            stream.calls = progress.calls - before
    return list(compared.values())
