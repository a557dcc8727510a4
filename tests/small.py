"""What the API answers to what the small tables should hold, asked in the plainest way."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import httpx

from conftest import Account
from tiledesk.tables import Table
from truth import as_stored

# Where the API answers what a table holds, and below which key; elsewhere the path is the name.
PATHS = {
    "departments": ("departments/allstatus", ""),
    "canned_responses": ("canned", ""),
    "pending_invitations": ("pendinginvitations", ""),
    "segments": ("segments", "segments"),
    "events": ("events", "events"),
}


def pages(api: httpx.Client, path: str, key: str = "", **params: Any) -> list[dict[str, Any]]:
    """All rows of a list, each once."""
    rows: dict[str, dict[str, Any]] = {}
    for page in range(100):
        answer = api.get(path, params={**params, "page": page}).raise_for_status().json()
        found = answer[key] if key else answer
        new = [row for row in found if row["_id"] not in rows]
        rows.update((row["_id"], row) for row in found)
        if not new:
            break
    return list(rows.values())


def answers(account: Account, table: Table) -> list[dict[str, Any]]:
    """The API's own answer to what a table should hold."""
    project = account.project_id
    with closing(account.api()) as api:

        def get(path: str, **params: Any) -> Any:
            return api.get(f"/{project}/{path}", params=params or None).raise_for_status().json()

        if table.name == "projects":
            found = api.get(f"/projects/{project}").raise_for_status().json()
            return [{**found, "id_project": found["_id"]}]
        if table.name == "project_users":
            visitors = get("project_users", role=["guest", "user"], trashed="true")
            return [*get("project_users", trashed="true"), *visitors]
        if table.name == "bots":
            return every_bot(api, project)
        if table.name == "faq":
            bots = [bot["_id"] for bot in get("bots", all="true")]
            return [row for bot in bots for row in get("faq", id_faq_kb=bot)]
        spaces = get("kb/namespace/all") if table.name.startswith(("kb", "un", "an")) else []
        if table.name == "kb_namespaces":
            return [{**space, "_id": space["id"]} for space in spaces]
        if table.name == "kb_contents":
            return [row for n in spaces for row in get("kb", namespace=n["id"], limit=9999)["kbs"]]
        if table.name in ("unanswered_questions", "answered_questions"):
            path = "kb/" + table.name.partition("_")[0]
            found = [get(f"{path}/{n['id']}", limit=9999)["questions"] for n in spaces]
            return [row for rows in found for row in rows]
        path, key = PATHS.get(table.name, (table.name, ""))
        return pages(api, f"/{project}/{path}", key)


def every_bot(api: httpx.Client, project: str) -> list[dict[str, Any]]:
    """Those that are listed, and all that was published of them, asked for one by one."""
    bots = api.get(f"/{project}/bots", params={"all": "true"}).raise_for_status().json()
    forks = [
        {**fork, "publishedBy": (fork.get("publishedBy") or {}).get("_id")}
        for bot in bots
        for fork in api.get(f"/{project}/bots/{bot['_id']}/published").raise_for_status().json()
    ]
    return [*bots, *forks]


def stored(account: Account, table: Table) -> dict[str, dict[str, Any]]:
    return {row["_id"]: as_stored(table, row) for row in answers(account, table)}
