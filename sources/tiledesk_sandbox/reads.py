"""The endpoints that a connector reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from . import dates
from .documents import Collection, Document, Predicate, Row, Window, encode, shuffle_key, sort_key
from .routing import ANY_MEMBER, PUBLIC, SIGNED_IN, Context, route
from .wire import (
    Answer,
    NeverAnsweredError,
    RefusedError,
    answer,
    envelope,
    listing,
    read_integer,
    read_number,
    refuse,
)
from .world import World

_DIRECTIONS = {"1": 1, "asc": 1, "ascending": 1, "-1": -1, "desc": -1, "descending": -1}
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}

ERROR = {"err": "error"}
NOT_FOUND = {"success": False, "msg": "Object not found."}


# --- requests


def _database_error(error: Document) -> RefusedError:
    return refuse(500, {"success": False, "msg": "Error getting requests.", "err": error})


def _cast_error(kind: str, value: object, path: str) -> RefusedError:
    shown = f'"{value}"'
    message = f"Cast to {kind} failed for value {shown} (type string) at path {path!r} "
    return _database_error(
        {
            "stringValue": shown,
            "valueType": "string",
            "kind": kind,
            "value": value,
            "path": path,
            "reason": {},
            "name": "CastError",
            "message": message.replace("'", '"') + 'for model "request"',
        }
    )


BAD_VALUE = {"ok": 0, "code": 2, "codeName": "BadValue", "name": "MongoError"}
BAD_FIELD = {"ok": 0, "code": 16410, "codeName": "Location16410", "name": "MongoError"}


@route("GET", "/{project}/requests", super_admin=True)
def list_requests(c: Context) -> Answer:
    query = c.call.query
    # a call of a super admin or bot fails because they have no membership
    if c.member is None and c.who.kind != "subscription" and c.behaviour.has_permissions:
        raise refuse(500, ERROR)
    limit: int | None = 40
    if query.get("limit"):
        limit = read_integer(query["limit"])
    if limit is not None and limit > 100:
        limit = 40
    filters = _request_filters(c)
    window = _request_window(c)
    if _is_cut(c) and (window is None or window.field != "createdAt"):
        filters.append(("since", dates.stamp(c.world.clock() - timedelta(days=14))[:10]))
    direction = str(query.get("direction") or "-1").lower()
    if direction not in _DIRECTIONS:
        raise refuse(500, ERROR)
    skip = int((read_number(query.get("page")) or 0) * (limit or 0))
    if skip < 0:
        raise _database_error(BAD_VALUE)
    sort = query.get("sort") or "createdAt"
    if not isinstance(sort, str):
        sort = ""
    if sort.startswith("$"):
        raise _database_error(BAD_FIELD)
    page = c.world.requests.page(
        c.project,
        sort=sort,
        descending=_DIRECTIONS[direction] < 0,
        skip=skip,
        limit=abs(limit or 0),
        keep=_keep_requests(c.world, filters) if filters else None,
        keep_name=tuple(filters),
        window=window,
        shuffle=c.shuffle,
    )
    total = 0 if query.get("no_count") == "true" and c.behaviour.counts_on_demand else page.total
    bare = query.get("no_populate")
    if c.behaviour.joins_on_demand and (bare == "true" or read_number(bare) == 1):
        rows = listing(page.rows)
    else:
        rows = listing([encode(populated(c.world, c.world.requests[r.id])) for r in page.rows])
    return envelope("requests", limit, total, rows)


Filter = tuple[str, Any]


def _request_filters(c: Context) -> list[Filter]:
    """The filters of the query as (kind, value) pairs, which also name the cached order."""
    query = c.call.query
    filters: list[Filter] = []
    status = query.get("status")
    if isinstance(status, list):
        raise refuse(500, ERROR)
    if not status:
        filters.append(("open", None))
    elif not c.behaviour.lists_statuses and status != "all":
        if read_number(status) is None:
            raise _cast_error("number", status, "status")
        filters.append(("status", (read_number(status),)))
    elif status != "all":
        wanted = [read_integer(part) for part in status.split(",")]
        numbers = tuple(n for n in wanted if n is not None)
        if numbers:
            filters.append(("status", numbers))
    if query.get("preflight") != "true" or not c.behaviour.shows_preflight:
        filters.append(("preflight", False))
    if query.get("draft") == "false":
        filters.append(("draft", False))
    for name, field in (("dept_id", "department"), ("lead", "lead")):
        if value := query.get(name):
            if not isinstance(value, str) or not _OBJECT_ID.fullmatch(value):
                raise _cast_error("ObjectId", value, field)
            filters.append((field, value))
    for name, field in (("hasbot", "hasBot"), ("smartAssignment", "smartAssignment")):
        if value := query.get(name):
            if value not in _TRUE | _FALSE:
                raise _cast_error("Boolean", value, field)
            filters.append((field, value in _TRUE))
    if ticket := query.get("ticket_id"):
        number = read_number(ticket)
        if number is None:
            raise _cast_error("Number", ticket, "ticket_id")
        filters.append(("ticket_id", number))
    for name, field in (
        ("participant", "participants"),
        ("tags", "tags"),
        ("channel", "channel"),
        ("requester_email", "snapshot.lead.email"),
        ("snap_lead_email", "snapshot.lead.email"),
        ("snap_lead_lead_id", "snapshot.lead.lead_id"),
        ("priority", "priority"),
    ):
        if value := c.call.one(name):
            filters.append((field, value))
    allowed = c.world.permissions(c.member) if c.member else set()
    everything = "request_read_all" in allowed or (not allowed and c.role in ("owner", "admin"))
    if not everything and (c.member or c.who.kind != "subscription"):
        wide = "request_read_group" in allowed or (not allowed and c.role == "agent")
        wide = wide or not c.behaviour.has_permissions
        filters.append(("visible widely" if wide else "visible", c.who.id))
    return filters


def _keep_requests(world: World, filters: Sequence[Filter]) -> Predicate:
    tests = [_test(world, kind, value) for kind, value in filters]
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(test(row) for test in tests)


def _test(world: World, kind: str, value: Any) -> Predicate:
    value_of = world.requests._value
    if kind == "open":
        return lambda row: _is_open(row.facets.get("status"))
    if kind == "status":
        return lambda row: row.facets.get("status") in value
    if kind == "preflight":
        return lambda row: row.facets.get("preflight") is False
    if kind == "draft":
        return lambda row: row.facets.get("draft") in (False, None)
    if kind == "since":
        return lambda row: str(row.created) >= value
    if kind == "participants":
        return lambda row: value in (row.facets.get("participants") or ())
    if kind == "tags":
        return lambda row: any(tag.get("tag") == value for tag in row.facets.get("tags") or ())
    if kind == "channel":
        return lambda row: _channel_is((row.facets.get("channel") or {}).get("name"), value)
    if kind == "visible":
        return lambda row: value in (row.facets.get("participants") or ())
    if kind == "visible widely":
        onlookers = world.onlookers
        return lambda row: (
            value in (row.facets.get("participants") or ()) or value in onlookers.get(row.id, ())
        )
    return lambda row: bool(value_of(row, kind) == value)


def _is_open(status: Any) -> bool:
    return isinstance(status, (int, float)) and status < 1000 and status not in (50, 150)


def _channel_is(name: Any, wanted: str) -> bool:
    if wanted in ("offline", "online"):
        return (name in ("email", "form")) == (wanted == "offline")
    return bool(name == wanted)


def _request_window(c: Context) -> Window | None:
    query = c.call.query
    start, end = query.get("start_date"), query.get("end_date")
    if not c.behaviour.supports_time_filters:
        return _days(c, start, end)
    if not start and not end:
        start, end = query.get("start_date_time"), query.get("end_date_time")
    if not start and not end:
        return None
    zone = query.get("timezone") or "Europe/Rome"
    try:
        if not isinstance(zone, str):
            raise dates.BadDateError(f"The timezone must be a string: {','.join(zone)}")
        first, last, inclusive = dates.window(start, end, zone)
    except dates.BadDateError as error:
        raise refuse(500, {"success": False, "error": str(error)}) from None
    return Window(str(query.get("filterRangeField") or "createdAt"), first, last, inclusive)


def _days(c: Context, start: object, end: object) -> Window | None:
    if not start:
        return None
    try:
        first, last, inclusive = dates.days(start, end)
    except dates.BadDateError:
        raise refuse(500, ERROR) from None
    field = "createdAt" if last else str(c.call.query.get("filterRangeField") or "createdAt")
    return Window(field, first, last, inclusive)


def _is_cut(c: Context) -> bool:
    """Whether the plan has expired, so that the list ends 14 days ago."""
    if c.behaviour.shows_history or c.call.query.get("status") not in ("all", "1000"):
        return False
    project = c.world.projects[c.project]
    kind = (project.get("profile") or {}).get("type")
    return (kind == "free" and project.get("trialExpired") is True) or (
        kind == "payment" and project.get("isActiveSubscription") is False
    )


def populated(world: World, request: Document) -> Document:
    """The request with its references joined, as the API sends it by default."""
    if isinstance(request.get("lead"), str):
        request["lead"] = world.leads.get(request["lead"])
    if isinstance(request.get("department"), str):
        request["department"] = world.departments.get(request["department"])
    if isinstance(request.get("requester"), str):
        request["requester"] = _requester(world, request["requester"])
    last = request.pop("id", None)
    request["requester_id"] = (request.get("lead") or {}).get("_id")
    request["participatingAgents"] = _found(
        world.user_documents, request.get("participantsAgents") or ()
    )
    request["participatingBots"] = _found(world.bots, request.get("participantsBots") or ())
    request["id"] = last
    return request


def _found(collection: Collection, ids: Sequence[str]) -> list[Document]:
    return [collection[i] for i in ids if i in collection]


def with_user(world: World, member: Document | None) -> Document | None:
    """A project_user with the document of the user in `id_user`; visitors have none."""
    if member is not None and "id_user" in member:
        member["id_user"] = world.user_documents.get(member["id_user"])
    return member


def _requester(world: World, _id: str) -> Document | None:
    member = with_user(world, world.project_users.get(_id))
    return member and {k: v for k, v in member.items() if k != "isBusy"}


def find_request(c: Context) -> Row | None:
    for row in c.world.requests.in_group(c.parts["request_id"]):
        if row.project == c.project:
            return row
    return None


@route("GET", "/{project}/requests/count", super_admin=True)
def count_requests(c: Context) -> Answer:
    requests, query = c.world.requests, c.call.query

    def total(name: str, status: int, has_bot: bool | None = None) -> int:
        def keep(row: Row) -> bool:
            facets = row.facets
            return (
                facets.get("status") == status
                and facets.get("preflight") is False
                and facets.get("draft") in (False, None)
                and (has_bot is None or bool(facets.get("hasBot")) is has_bot)
            )

        return requests.count(c.project, keep, name)

    if query.get("conversation_quota") == "true":
        return answer(_quota(c))
    if query.get("merge_assigned"):
        return answer({"unassigned": total("u", 100), "assigned": total("m", 200)})
    return answer(
        {
            "unassigned": total("u", 100),
            "assigned": total("a", 200, False),
            "bot_assigned": total("b", 200, True),
        }
    )


def _quota(c: Context) -> Document:
    """Conversations begun in the current billing month of the project."""
    today = c.world.clock()
    day = datetime.fromisoformat(c.world.projects[c.project]["createdAt"][:10]).day
    year, month = today.year, today.month
    if today.day < day:
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    start = datetime(year, month, min(day, 28), tzinfo=dates.UTC)
    first = dates.stamp(start)
    rows = [
        r.facets.get("status")
        for r in c.world.requests.rows()
        if r.project == c.project and str(r.created) >= first
    ]
    closed = sum(1 for status in rows if status == 1000)
    after = start.replace(year=year + month // 12, month=month % 12 + 1)
    return {
        "open": len(rows) - closed,
        "closed": closed,
        "slot": {"startDate": f"{start:%d/%m/%Y}", "endDate": f"{after:%d/%m/%Y}"},
    }


@route("GET", "/{project}/requests/{request_id}", super_admin=True)
def get_request(c: Context) -> Answer:
    row = find_request(c)
    if row is None:
        raise refuse(404, NOT_FOUND)
    return answer(populated(c.world, c.world.requests[row.id]))


@route("GET", "/{project}/requests/{request_id}/messages", ANY_MEMBER, super_admin=True)
def conversation(c: Context) -> Answer:
    rows = [r for r in c.world.messages.in_group(c.parts["request_id"]) if r.project == c.project]
    if c.shuffle:
        rows.sort(key=lambda r: shuffle_key(r.id, "conversation"))
    rows.sort(key=lambda r: sort_key(r.created))
    return Answer(200, listing(rows))


# --- messages


@route("GET", "/{project}/messages", "owner")
def list_messages(c: Context) -> Answer:
    limit: int | None = 10
    if c.call.query.get("limit"):
        limit = read_integer(c.call.query["limit"])
    if limit is not None and limit > 50:
        limit = 10
    skip = _skip_or_hang(c, limit)
    page = c.world.messages.page(
        c.project, descending=True, skip=skip, limit=abs(limit or 0), shuffle=c.shuffle
    )
    return Answer(200, listing(page.rows))


def _skip_or_hang(c: Context, limit: int | None) -> int:
    skip = int((read_number(c.call.query.get("page")) or 0) * (limit or 0))
    if skip < 0:
        raise NeverAnsweredError
    return skip


@route("GET", "/{project}/messages/csv", "owner")
def messages_csv(c: Context) -> Answer:
    """Every message in order of insertion. The columns are those of the first; the last line has no
    line end.
    """
    lines: list[str] = []
    columns: list[str] = []
    for row in c.world.messages.rows():
        if row.project == c.project:
            message = c.world.messages[row.id]
            if not columns:
                left_out = ("attributes", "metadata", "channel")
                columns = [name for name in message if name not in left_out]
                lines.append(",".join(columns))
            lines.append(",".join(_cell(name, message.get(name)) for name in columns))
    body = "\n".join(lines).encode(errors="replace")
    name = {"content-disposition": "attachment; filename=export.csv"}
    return Answer(200, body, "text/csv", name)


def _cell(field: str, value: Any) -> str:
    if field in ("createdAt", "updatedAt"):
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return f"{moment:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)"
    text = "" if value is None else str(value).replace("\0", "")
    if any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


# --- leads


def _order_or_hang(c: Context) -> tuple[str, bool]:
    sort = c.call.query.get("sort") or "createdAt"
    direction = str(c.call.query.get("direction") or "-1").lower()
    if direction not in _DIRECTIONS or (isinstance(sort, str) and sort.startswith("$")):
        raise NeverAnsweredError
    return (sort if isinstance(sort, str) else ""), _DIRECTIONS[direction] < 0


@route("GET", "/{project}/leads", super_admin=True)
def list_leads(c: Context) -> Answer:
    query = c.call.query
    limit: int | None = 40
    if query.get("limit"):
        limit = read_integer(query["limit"])
    status: float | None = 100
    if query.get("status"):
        status = read_number(query["status"])
        if status is None:
            raise NeverAnsweredError
    if segment := query.get("segment"):
        if not _OBJECT_ID.fullmatch(str(segment)):
            raise NeverAnsweredError
        raise refuse(404, {"success": False, "msg": "Error segment not found"})
    sort, descending = _order_or_hang(c)
    skip = _skip_or_hang(c, limit)
    email, tag = c.call.one("email"), c.call.one("tags")
    with_email, with_name = bool(query.get("with_email")), bool(query.get("with_fullname"))

    def keep(row: Row) -> bool:
        facets = row.facets
        return (
            facets.get("status") == status
            and (email is None or facets.get("email") == email)
            and (tag is None or tag in (facets.get("tags") or ()))
            and not (with_email and facets.get("email") is None)
            and not (with_name and facets.get("fullname") is None)
        )

    page = c.world.leads.page(
        c.project,
        sort=sort,
        descending=descending,
        skip=skip,
        limit=abs(limit or 0),
        keep=keep,
        keep_name=(status, email, tag, with_email, with_name),
        shuffle=c.shuffle,
    )
    return envelope("leads", limit, page.total, listing(page.rows))


@route("GET", "/{project}/leads/{lead_id}", super_admin=True)
def get_lead(c: Context) -> Answer:
    lead_id = c.parts["lead_id"]
    if not _OBJECT_ID.fullmatch(lead_id):
        raise refuse(500, {"success": False, "msg": "Error getting object."})
    lead = c.world.leads.row(lead_id)
    if lead is None:
        raise refuse(404, NOT_FOUND)
    return Answer(200, lead.bytes)


# --- activities

ACTIVITIES_ERROR = {"success": False, "msg": "Error getting activities."}


@route("GET", "/{project}/activities", "admin")
def list_activities(c: Context) -> Answer:
    query = c.call.query
    chart = query.get("chart") in ("true", "1") and c.behaviour.limits_activities
    cap = 1000 if chart else 100
    asked = (read_integer(query.get("limit")) or 0) if c.behaviour.limits_activities else 0
    limit = min(asked, cap) if asked > 0 else 40
    if c.behaviour.limits_activities:
        skip = (read_integer(query.get("page")) or 0) * limit
    else:
        skip = int((read_number(query.get("page")) or 0) * limit)
    direction = read_integer(query.get("direction")) or -1
    sort = query.get("sort") or "createdAt"
    if skip < 0 or direction not in (1, -1) or str(sort).startswith("$"):
        raise refuse(500, ACTIVITIES_ERROR)
    verbs = c.call.one("activities")
    agent = c.call.one("agent_id")
    wanted = None if verbs is None else frozenset(verbs.split(","))

    def keep(row: Row) -> bool:
        return (wanted is None or row.facets.get("verb") in wanted) and (
            agent is None or agent in (row.facets.get("involvedUserIds") or ())
        )

    page = c.world.activities.page(
        c.project,
        sort=sort if isinstance(sort, str) else "",
        descending=direction < 0,
        skip=skip,
        limit=limit,
        keep=keep if wanted or agent else None,
        keep_name=(wanted, agent),
        window=_activity_window(c),
        shuffle=c.shuffle,
    )
    more: dict[str, Any] = {"chart": True} if chart else {}
    if chart and asked > cap:
        more["limitWarning"] = (
            f"Limit exceeded the maximum allowed value of {cap}. "
            f"Only the first {cap} matching activities are returned."
        )
    return envelope("activities", limit, page.total, listing(page.rows), **more)


def _activity_window(c: Context) -> Window | None:
    """Whole days in the zone of the server, here UTC. An end without a start is ignored."""
    start, end = c.call.query.get("start_date"), c.call.query.get("end_date")
    if not start:
        return None
    stamps: list[str | None] = []
    for text in (start, end):
        moment = dates.read(text, "D/M/Y") if isinstance(text, str) and text else None
        if text and moment is None:
            raise refuse(500, ACTIVITIES_ERROR)
        stamps.append(f"{moment:%Y-%m-%d}" if moment else None)
    first, last = stamps
    return Window(
        "createdAt",
        f"{first}T00:00:00.000Z",
        f"{last}T23:59:59.999Z" if last else None,
        inclusive=True,
    )


# --- the small ones


@route("GET", "/projects", SIGNED_IN)
def list_projects(c: Context) -> Answer:
    found = []
    for row in c.world.project_users.in_group(c.who.id):
        member = c.world.project_users[row.id]
        if member.get("status") == "active":
            member["id_project"] = c.world.projects.get(member["id_project"])
            member.pop("isBusy", None)
            found.append(member)
    return answer(found)


@route("GET", "/projects/{project_id}", super_admin=True, bots=False)
def get_project(c: Context) -> Answer:
    project = c.world.projects.row(c.parts["project_id"])
    if project is None:
        raise refuse(500, ERROR)
    return Answer(200, project.bytes)


def _each(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@route("GET", "/{project}/project_users", super_admin=True)
def list_project_users(c: Context) -> Answer:
    role, trashed = c.call.query.get("role"), c.call.query.get("trashed") not in (None, "", "false")
    found = []
    for row in c.world.project_users.rows():
        if row.project != c.project:
            continue
        known = row.facets
        right_kind = known.get("role") in _each(role) if role else known.get("roleType") == 1
        if right_kind and (trashed or not known.get("trashed")):
            found.append(with_user(c.world, c.world.project_users[row.id]))
    return answer(found)


@route("GET", "/{project}/project_users/me", super_admin=True, bots=False)
def my_membership(c: Context) -> Answer:
    if c.member is None:
        raise refuse(500, ERROR)
    granted = c.world.role_permissions.get(c.role)
    me = {**c.member, **({} if granted is None else {"rolePermissions": granted})}
    if not c.behaviour.has_permissions:
        me = {k: v for k, v in me.items() if k not in ("permissions", "rolePermissions")}
    return answer([me])


def _all_of(c: Context, collection: Collection) -> list[Document]:
    return [collection[r.id] for r in collection.rows() if r.project == c.project]


@route("GET", "/{project}/departments", PUBLIC)
def visible_departments(c: Context) -> Answer:
    return answer([d for d in _all_of(c, c.world.departments) if d.get("status") == 1])


@route("GET", "/{project}/departments/allstatus", super_admin=True)
def all_departments(c: Context) -> Answer:
    found = [d for d in _all_of(c, c.world.departments) if d.get("status", -1) >= 0]
    if _plan_has_expired(c.world.projects[c.project]):
        found = [d for d in found if d.get("default")]
    return answer(found)


def _plan_has_expired(project: Document) -> bool:
    plan = project["profile"]["type"]
    return (plan == "free" and project["trialExpired"] is True) or (
        plan == "payment" and project["isActiveSubscription"] is False
    )


@route("GET", "/{project}/groups", super_admin=True)
def list_groups(c: Context) -> Answer:
    return answer([g for g in _all_of(c, c.world.groups) if g.get("trashed") is False])


_BOT_FIELDS_AGENTS_MISS = (
    "webhook_enabled", "intentsEngine", "score", "url", "attributes", "trained",
    "certifiedTags", "createdBy", "createdAt", "updatedAt", "__v",
)  # fmt: skip


def list_bots(c: Context) -> Answer:
    bots = [b for b in _all_of(c, c.world.bots) if not b.get("trashed")]
    if c.call.query.get("all") != "true":
        bots = [b for b in bots if b.get("type") != "identity"]
    if c.role == "agent":
        bots = [b for b in bots if b.get("agents_available") in (None, True)]
        bots = [{k: v for k, v in b.items() if k not in _BOT_FIELDS_AGENTS_MISS} for b in bots]
    return answer(bots)


route("GET", "/{project}/faq_kb", super_admin=True)(list_bots)
route("GET", "/{project}/bots", super_admin=True)(list_bots)


@route("GET", "/", PUBLIC)
def front_page(c: Context) -> Answer:
    greeting = b"Hello from Tiledesk server. It's UP. This is a sandbox of made-up data."
    return Answer(200, greeting, "text/html; charset=utf-8")
