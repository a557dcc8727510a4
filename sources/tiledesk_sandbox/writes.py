"""Sign-in, and the endpoints that change data.

Each function stamps ``updatedAt`` where the server does and nowhere else. Messages that the server
writes itself come a few milliseconds after the change that caused them, and do not change the stamp
of the conversation.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

from .documents import Document, encode, label
from .reads import ERROR, NOT_FOUND, find_request, populated
from .routing import ANY_MEMBER, PUBLIC, Context, route
from .wire import Answer, NeverAnsweredError, answer, refuse
from .world import ISSUER, REMOVED, SUPER_ADMIN_EMAIL, World, embedded

# Milliseconds between a change and the message or activity that the server writes about it.
LATE_MS = 8

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")

_ASSIGNED = {
    "it": "Una nuova richiesta di supporto è stata assegnata a te: ",
    "en": "A new support request has been assigned to you: ",
}


# --- sign-in


def _json(c: Context) -> Any:
    try:
        return c.call.json()
    except ValueError:
        raise refuse(500, ERROR) from None


def _object(c: Context) -> Document:
    body = _json(c)
    return body if isinstance(body, dict) else {}


def _invalid(body: Document, *names: str) -> Document:
    errors = []
    for name in names:
        value = {"value": body[name]} if name in body else {}
        errors.append({**value, "msg": "Invalid value", "param": name, "location": "body"})
    return {"errors": errors}


@route("POST", "/auth/signin", PUBLIC)
def sign_in(c: Context) -> Answer:
    body = _object(c)
    email, password = body.get("email"), body.get("password")
    bad = []
    if not (isinstance(email, str) and _EMAIL.fullmatch(email)):
        bad.append("email")
    if password in (None, ""):
        bad.append("password")
    if bad:
        raise refuse(422, _invalid(body, *bad))
    person = c.world.person(str(email))
    if person is None or person.password != password:
        why = "User not found." if person is None else "Wrong password."
        raise refuse(401, {"success": False, "msg": f"Authentication failed. {why}"})
    user: Document = {
        "_id": person.id,
        "email": person.email,
        "firstname": person.firstname,
        "lastname": person.lastname,
        "emailverified": False,
    }
    token = c.world.token({**user, **_claims(c.world, "user")})
    more = {"role": "admin"} if person.email == SUPER_ADMIN_EMAIL else {}
    return answer({"success": True, "token": token, "user": user, **more})


def _claims(world: World, subject: str) -> Document:
    return {
        "iat": int(world.clock().timestamp()),
        "aud": ISSUER,
        "iss": ISSUER,
        "sub": subject,
        "jti": str(uuid.uuid4()),
    }


@route("POST", "/auth/signinAnonymously", PUBLIC)
def sign_in_anonymously(c: Context) -> Answer:
    body = _object(c)
    project = body.get("id_project")
    if not isinstance(project, str) or project not in c.world.projects:
        raise refuse(422, _invalid(body, "id_project"))
    visitor = str(uuid.uuid4())
    user: Document = {"_id": visitor, "firstname": body.get("firstname") or f"guest#{visitor[:4]}"}
    user |= {k: body[k] for k in ("email", "attributes") if k in body}
    user |= {"id": visitor, "fullName": f"{user['firstname']} "}
    token = c.world.token({**user, **_claims(c.world, "guest")})
    c.world.insert("project_users", guest_member(c.world, project, visitor))
    return answer({"success": True, "token": token, "user": user})


def guest_member(world: World, project: str, visitor: str) -> Document:
    """The membership that an anonymous sign-in gives a visitor."""
    now, _id = world.now(), world.new_id()
    return {
        "user_available": True,
        "number_assigned_requests": 0,
        "last_login_at": now,
        "permissions": [],
        "status": "active",
        "trashed": False,
        "_id": _id,
        "id_project": project,
        "uuid_user": visitor,
        "role": "guest",
        "roleType": 2,
        "createdBy": visitor,
        "tags": [],
        "createdAt": now,
        "updatedAt": now,
        "__v": 0,
        "isAuthenticated": False,
        "id": _id,
        "isBusy": False,
    }


# --- small parts


def _request(c: Context, status: int, *, error: str = "", msg: str = "") -> Document:
    """The request that the path names. For an unknown one, raises the error text of the route."""
    row = find_request(c)
    if row is None:
        raise refuse(status, {"success": False, **({"msg": msg} if msg else {"error": error})})
    return c.world.requests[row.id]


def _touch(world: World, request: Document, **fields: Any) -> Document:
    """Write those fields and a new `updatedAt`; returns the request."""
    world.change("requests", request["_id"], updatedAt=world.now(), **fields)
    return world.requests[request["_id"]]


def _send(world: World, request: Document) -> Answer:
    return answer(populated(world, world.requests[request["_id"]]))


def make_message(
    world: World,
    project: str,
    sender: str,
    fullname: str,
    recipient: str,
    text: Any,
    created_by: str,
    **more: Any,
) -> Document:
    """A new message that is not inserted. Fields that are None are omitted."""
    now = more.pop("now", None) or world.now()
    message: Document = {
        "senderFullname": fullname,
        "type": more.pop("type", None) or "text",
        "channel_type": more.pop("channel_type", "group"),
        "status": more.pop("status", None) or 0,
        "_id": world.new_id(),
        "sender": sender,
        "recipient": recipient,
        "recipientFullname": more.pop("recipientFullname", None),
        "text": text,
        "id_project": project,
        "createdBy": created_by,
        "metadata": more.pop("metadata", None),
        "attributes": more.pop("attributes", None),
        "language": more.pop("language", None),
        "channel": more.pop("channel", None) or {"name": "chat21"},
    }
    message = {k: v for k, v in message.items() if v is not None}
    return {**message, "createdAt": now, "updatedAt": now, "__v": 0}


def _say(world: World, request: Document, text: str, attributes: Document) -> None:
    """Add a message of the server, a few milliseconds after the change that caused it."""
    message = make_message(
        world,
        request["id_project"],
        "system",
        "Bot",
        request["request_id"],
        text,
        "system",
        metadata=request.get("language"),
        attributes=attributes,
        now=world.now(LATE_MS),
    )
    world.insert("messages", message)


def record(
    world: World, verb: str, actor: Document, request: Document, involved: list[str], **more: Any
) -> None:
    """Add an activity about a request, a few milliseconds after the change that caused it."""
    now = world.now(LATE_MS)
    whole = embedded(request)
    activity: Document = {
        "_id": world.new_id(),
        "id_project": request["id_project"],
        "actor": {"_id": world.new_id(), **actor},
        "verb": verb,
        "actionObj": more.pop("action", whole),
        "target": {"type": "request", "id": request["_id"], "object": whole},
    }
    if "related" in more:
        activity["related"] = more.pop("related")
    activity |= {
        "createdAt": now,
        "updatedAt": now,
        "involvedUserIds": list(dict.fromkeys(involved)),
        "__v": 0,
    }
    world.insert("activities", {**activity, **more})


# --- messages and the conversations they open


@route("POST", "/{project}/requests/{request_id}/messages", ANY_MEMBER, super_admin=True)
def post_message(c: Context) -> Answer:
    body, world, who = _object(c), c.world, c.who
    row = find_request(c)
    kind = body.get("type")
    if row is None and not body.get("text") and kind in (None, "text"):
        raise refuse(422, {"errors": ["text field is required"]})
    created = None
    if row is None:
        created = _open_request(c, body, c.parts["request_id"])
    request = created or world.requests[row.id]  # type: ignore[union-attr]
    message = make_message(
        world,
        c.project,
        body.get("sender") or who.id,
        body.get("senderFullname") or who.fullname,
        c.parts["request_id"],
        body.get("text"),
        who.id,
        type=kind,
        status=body.get("status"),
        metadata=body.get("metadata"),
        attributes=body.get("attributes"),
        language=body.get("language") or (request.get("language") if created else None),
        channel=body.get("channel"),
    )
    world.insert("messages", message)
    if created is None:
        noted = {"last_message": message} if c.behaviour.notes_last_message else {}
        _note_message(world, request, message, body.get("sender"), noted)
    return answer({**message, "request": populated(world, world.requests[request["_id"]])})


def _note_message(
    world: World, request: Document, message: Document, sender: str | None, noted: Document
) -> None:
    attributes = request.get("attributes")
    attributes = {**(attributes if isinstance(attributes, dict) else {}), **noted}
    answered: Document = {}
    lead = world.leads.get(request.get("lead") or "") or {}
    if request.get("preflight") and message["sender"] == lead.get("lead_id"):
        # the conversation begins with the next message of the visitor
        answered = {"preflight": False, "first_text": message.get("text")}
    if sender in (request.get("participants") or ()) and not request.get("waiting_time"):
        now = world.clock()
        asked = datetime.fromisoformat(request["createdAt"].replace("Z", "+00:00"))
        waited = int((now - asked).total_seconds() * 1000)
        answered |= {"first_response_at": world.now(), "waiting_time": waited}
    if not noted and not answered:
        return
    world.change(
        "requests",
        request["_id"],
        **answered,
        attributes=attributes,
        updatedAt=world.now(3),
    )
    if "preflight" in answered:
        _record_creation(world, world.requests[request["_id"]])


@route("POST", "/{project}/requests", ANY_MEMBER)
def post_request(c: Context) -> Answer:
    body = _object(c)
    request_id = body.get("request_id") or f"support-group-{c.project}-{uuid.uuid4().hex}"
    request = _open_request(c, body, request_id)
    return _send(c.world, request)


def _lead_of(c: Context, sender: str, body: Document) -> Document:
    """The lead of the writer; created when first seen."""
    world, who = c.world, c.who
    for row in world.leads.in_group(sender):
        if row.project == c.project:
            return world.leads[row.id]
    now = world.now()
    lead: Document = {
        "tags": [],
        "status": 100,
        "_id": world.new_id(),
        "lead_id": sender,
        "fullname": body.get("senderFullname") or who.fullname,
        "email": body.get("email") or who.email,
        "phone": None,
        "attributes": body.get("attributes"),
        "id_project": c.project,
        "createdBy": "system",
        "createdAt": now,
        "updatedAt": now,
        "__v": 0,
    }
    lead = {k: v for k, v in lead.items() if v is not None or k == "phone"}
    world.insert("leads", lead)
    return lead


def _open_request(c: Context, body: Document, request_id: str) -> Document:
    world, who = c.world, c.who
    now = world.now()
    sender = str(body.get("sender") or who.id)
    lead = _lead_of(c, sender, body)
    requester = c.member or {}
    for row in world.project_users.in_group(sender):
        if row.project == c.project:
            requester = world.project_users[row.id]
    department = _department(c, body.get("departmentid"))
    bot = department.get("id_bot")
    agents = _agents(world, c.project, department)
    taken = [f"bot_{bot}"] if bot else agents[:1]
    if isinstance(body.get("participants"), list):
        taken = body["participants"]
    if department.get("routing") == "pooled" and not bot:
        taken = []
    people = [p for p in taken if not p.startswith("bot_")]
    bots = [p.removeprefix("bot_") for p in taken if p.startswith("bot_")]
    _id = world.new_id()
    request: Document = {
        "status": body.get("request_status") or (200 if taken else 100),
        "preflight": bool(body.get("preflight")),
        "hasBot": bool(bots),
        "participants": taken,
        "priority": body.get("priority") or "medium",
        "followers": body.get("followers") or [],
        "participantsAgents": people,
        "participantsBots": bots,
        "_id": _id,
        "request_id": request_id,
        "requester": requester.get("_id"),
        "lead": lead["_id"],
        "first_text": body.get("text") or body.get("first_text"),
        "subject": body.get("subject"),
        "department": department["_id"],
        "sourcePage": body.get("sourcePage"),
        "language": body.get("language"),
        "userAgent": body.get("userAgent"),
        "assigned_at": now if taken else None,
        "attributes": body.get("attributes"),
    }
    request = {k: v for k, v in request.items() if v is not None or (k == "subject" and k in body)}
    contact = {k: lead[k] for k in ("phone", "email") if lead.get(k)}
    member = {k: v for k, v in requester.items() if k != "isBusy"}
    request |= {
        "id_project": c.project,
        "createdBy": who.id,
        "channel": body.get("channel") or {"name": "chat21"},
        "tags": [],
        "notes": [],
        "createdAt": now,
        "snapshot": {
            "department": department,
            "availableAgentsCount": len(agents),
            "requester": member,
            "lead": lead,
        },
        **({"contact": contact} if contact else {}),
        **({"location": body["location"]} if body.get("location") else {}),
        "channelOutbound": body.get("channel") or {"name": "chat21"},
        "smartAssignment": True,
        "updatedAt": now,
        "ticket_id": world.next_ticket(c.project),
        "__v": 0,
        "requester_id": lead["_id"],
        "id": _id,
    }
    world.insert("requests", request)
    world.onlookers[_id] = frozenset(_agents(world, c.project, department, available=False))
    if not request["preflight"]:
        _record_creation(world, request)
    return request


def _record_creation(world: World, request: Document) -> None:
    lead = request["snapshot"]["lead"]
    people = request["participantsAgents"]
    actor = {"type": "user", "id": lead["_id"], "name": lead.get("fullname")}
    record(world, "REQUEST_CREATE", actor, request, [lead["_id"], *people])
    for agent in people:
        _record_assignment(world, request, agent)


def _record_assignment(world: World, request: Document, agent: str) -> None:
    record(
        world,
        "REQUEST_ASSIGNED_AUTO",
        {"type": "system", "id": "system", "name": "System"},
        request,
        [agent],
        action={
            "assigneeId": agent,
            "assigneeType": "user",
            "assignmentType": "auto",
            "source": "create",
            "previousAssigneeId": None,
            "removedParticipants": [],
        },
        related={"role": "assignee", "type": "user", "id": agent},
        message=f"System automatically assigned conversation {request['request_id']} "
        f"to {agent} (source: create)",
    )


def _department(c: Context, wanted: Any) -> Document:
    departments = c.world.departments
    found = [departments[r.id] for r in departments.rows() if r.project == c.project]
    for department in found:
        if department["_id"] == wanted:
            return department
    return next((d for d in found if d.get("default")), found[0])


def _agents(
    world: World, project: str, department: Document, *, available: bool = True
) -> list[str]:
    """Users of that department: all, or only those who can take a conversation now."""
    group = world.groups.get(department.get("id_group") or "")
    agents = []
    for row in world.project_users.rows():
        if row.project != project or "id_user" not in row.facets:
            continue
        member = world.project_users[row.id]
        user = member["id_user"]
        if (
            (member.get("user_available") or not available)
            and member.get("status") == "active"
            and not member.get("trashed")
            and (group is None or user in group["members"])
        ):
            agents.append(user)
    return agents


@route("POST", "/{project}/messages", "guest")
def post_direct_message(c: Context) -> Answer:
    body, who = _object(c), c.who
    missing = [n for n in ("recipient", "recipientFullname", "text") if not body.get(n)]
    if missing:
        raise refuse(422, _invalid(body, *missing))
    message = make_message(
        c.world,
        c.project,
        body.get("sender") or who.id,
        body.get("senderFullname") or who.fullname,
        body["recipient"],
        body["text"],
        who.id,
        channel_type="direct",
        recipientFullname=body["recipientFullname"],
        type=body.get("type"),
        metadata=body.get("metadata"),
        attributes=body.get("attributes"),
        language=body.get("language"),
        channel=body.get("channel"),
    )
    c.world.insert("messages", message)
    return answer(message)


# --- the life of a conversation


@route("PUT", "/{project}/requests/{request_id}/close")
def close(c: Context) -> Answer:
    world, who = c.world, c.who
    request = _request(c, 500, error="Error closing request")
    if c.role == "agent" and who.id not in (request.get("participants") or ()):
        why = "You must be among the participants to close a conversation."
        raise refuse(403, {"success": False, "error": why})
    if request.get("status") != 1000:
        closed_at = world.now()
        begun = datetime.fromisoformat(request["createdAt"].replace("Z", "+00:00"))
        request = _touch(
            world,
            request,
            status=1000,
            transcript=transcript(world, request),
            duration=int((world.clock() - begun).total_seconds() * 1000),
            closed_by=_object(c).get("closed_by") or who.id,
            closed_at=closed_at,
        )
    _say(world, request, "Chat closed", label("CHAT_CLOSED", update=False))
    actor = {"type": "user", "id": who.id, "name": who.fullname}
    record(world, "REQUEST_CLOSE", actor, request, [who.id, *request["participantsAgents"]])
    return _send(world, request)


def transcript(world: World, request: Document) -> str:
    """The conversation as text, with UTC dates as the server writes them."""
    rows = world.messages.in_group(request["request_id"])
    lines = []
    for row in sorted(rows, key=lambda r: str(r.created)):
        message = world.messages[row.id]
        about = (message.get("attributes") or {}).get("messagelabel") or {}
        if about.get("key") in ("CHAT_CLOSED", "CHAT_REOPENED", "LEAD_UPDATED"):
            continue
        sent = datetime.fromisoformat(message["createdAt"].replace("Z", "+00:00"))
        who, text = message.get("senderFullname"), message.get("text", "")
        lines.append(f"{sent:%d/%m/%Y, %H:%M:%S} {who}: {text}")
    return "\r\n".join(lines)


@route("PUT", "/{project}/requests/{request_id}/reopen")
def reopen(c: Context) -> Answer:
    request = _request(c, 500, error="Error reopening request")
    if request.get("status") == 1000:
        status = 200 if request.get("participants") else 100
        request = _touch(c.world, request, status=status)
        _say(c.world, request, "Chat reopened", label("CHAT_REOPENED", update=True))
    return _send(c.world, request)


@route("PUT", "/{project}/requests/{request_id}/tag")
def put_tags(c: Context) -> Answer:
    unknown = f"Request not found with request id {c.parts['request_id']}"
    request = _request(c, 404, error=unknown)
    tags = list(request.get("tags") or ())
    for tag in _json(c) or ():
        if isinstance(tag, dict) and tag.get("tag") not in [t.get("tag") for t in tags]:
            tags.append({"_id": c.world.new_id(), **tag})
    return _send(c.world, _touch(c.world, request, tags=tags))


@route("POST", "/{project}/requests/{request_id}/notes")
def post_note(c: Context) -> Answer:
    body, now = _object(c), c.world.now()
    if not body.get("text"):
        value = "null" if body.get("text", "") is None else body.get("text", "undefined")
        why = f"Field 'text' is required. Received value: {value}"
        raise refuse(400, {"success": False, "error": why})
    if find_request(c) is None:
        return answer(None)
    request = _request(c, 404, error="")
    note = {
        "_id": c.world.new_id(),
        "text": body["text"],
        "createdBy": c.who.id,
        "updatedAt": now,
        "createdAt": now,
    }
    return _send(c.world, _touch(c.world, request, notes=[*(request.get("notes") or ()), note]))


@route("DELETE", "/{project}/requests/{request_id}/notes/{note_id}")
def delete_note(c: Context) -> Answer:
    request = _request(c, 404, msg="Request not found")
    notes = [n for n in request.get("notes") or () if n.get("_id") != c.parts["note_id"]]
    return _send(c.world, _touch(c.world, request, notes=notes))


@route("PUT", "/{project}/requests/{request_id}/participants")
def put_participants(c: Context) -> Answer:
    members = _json(c)
    if not isinstance(members, list):
        raise NeverAnsweredError
    return _assign(c, _request(c, 500, error="Error setting participants"), members)


@route("POST", "/{project}/requests/{request_id}/participants")
def post_participant(c: Context) -> Answer:
    request = _request(c, 500, error="Error adding participant")
    member = str(_object(c).get("member"))
    before = list(request.get("participants") or ())
    return _assign(c, request, before if member in before else [*before, member])


def _assign(c: Context, request: Document, members: list[str]) -> Answer:
    world, who = c.world, c.who
    before = list(request.get("participants") or ())
    if members == before:
        return _send(world, request)
    people = [m for m in members if not m.startswith("bot_")]
    bots = [m.removeprefix("bot_") for m in members if m.startswith("bot_")]
    request = _touch(
        world,
        request,
        participants=members,
        participantsAgents=people,
        participantsBots=bots,
        hasBot=bool(bots),
        waiting_time=REMOVED,
        status=request["status"] if request["status"] == 1000 else (200 if members else 100),
        __v=request.get("__v", 0) + 1,
    )
    removed = [m for m in before if m not in members]
    for agent in [p for p in people if p not in before]:
        text = _ASSIGNED.get(request.get("language") or "en", _ASSIGNED["en"])
        attributes = {
            "subtype": "info",
            "updateconversation": True,
            "updateconversationfor": [agent],
            "forcenotification": True,
            "messagelabel": {"key": "TOUCHING_OPERATOR"},
        }
        _say(world, request, f"{text}{str(request.get('first_text'))[:30]}", attributes)
        previous = removed[0] if removed else None
        replaced = f" (replaced {previous})" if previous else ""
        action = {
            "assigneeId": agent,
            "assigneeType": "user",
            "assignmentType": "manual_reassign" if removed else "manual_assign",
            "source": "api",
            "previousAssigneeId": previous,
            "removedParticipants": removed,
        }
        record(
            world,
            "REQUEST_ASSIGNED_MANUAL",
            {"type": "user", "id": who.id, "name": who.fullname},
            request,
            [who.id, agent],
            action=action,
            related={"role": "assignee", "type": "user", "id": agent},
            message=f"{who.fullname} manually assigned conversation {request['request_id']} "
            f"to {agent} (source: api){replaced}",
        )
    return _send(world, request)


@route("POST", "/{project}/requests/{request_id}/followers")
def post_follower(c: Context) -> Answer:
    request = _request(c, 500, error="Error adding follower")
    followers = list(request.get("followers") or ())
    member = _object(c).get("member")
    if member not in followers:
        version = request.get("__v", 0) + 1
        request = _touch(c.world, request, followers=[*followers, member], __v=version)
    return _send(c.world, request)


_PATCHABLE = (
    "lead", "status", "subject", "priority", "language", "sourcePage", "first_text", "tags",
    "notes", "rating", "rating_message", "smartAssignment", "workingStatus", "attributes",
)  # fmt: skip


@route("PATCH", "/{project}/requests/{request_id}")
def patch_request(c: Context) -> Answer:
    request = _request(c, 404, msg="Request not found")
    fields = {k: v for k, v in _object(c).items() if k in _PATCHABLE and v is not None}
    return _send(c.world, _touch(c.world, request, **fields))


@route("PATCH", "/{project}/requests/{request_id}/rating", ANY_MEMBER)
def rate(c: Context) -> Answer:
    request = _request(c, 404, msg="Request not found")
    body = _object(c)
    fields = {k: body[k] for k in ("rating", "rating_message") if body.get(k)}
    return _send(c.world, _touch(c.world, request, **fields))


@route("DELETE", "/{project}/requests/{request_id}")
def delete_request(c: Context) -> Answer:
    row = find_request(c)
    if c.role != "owner":
        raise refuse(403, {"success": False, "msg": "Unauthorized."})
    if row is None:
        raise refuse(404, NOT_FOUND)
    request = c.world.requests[row.id]
    for message in c.world.messages.in_group(c.parts["request_id"]):
        if message.project == c.project:
            c.world.remove("messages", message.id)
    c.world.remove("requests", row.id)
    return Answer(200, encode(request))


# --- tags of the library


@route("POST", "/{project}/tags")
def post_tag(c: Context) -> Answer:
    body, now = _object(c), c.world.now()
    tag = {"_id": c.world.new_id(), "tag": body.get("tag"), "color": body.get("color")}
    signed = {"createdBy": c.who.id, "createdAt": now, "updatedAt": now, "__v": 0}
    tag = {k: v for k, v in tag.items() if v is not None} | {"id_project": c.project, **signed}
    c.world.insert("tags", tag)
    return answer(tag)


# --- leads

_LEAD_FIELDS = (
    "lead_id", "fullname", "email", "phone", "company", "note", "streetAddress", "city",
    "region", "zipcode", "country", "attributes", "tags", "status", "properties",
)  # fmt: skip


@route("POST", "/{project}/leads")
def post_lead(c: Context) -> Answer:
    world, body = c.world, _object(c)
    now = world.now()
    lead: Document = {
        "tags": [],
        "status": 100,
        "_id": world.new_id(),
        "lead_id": body.get("lead_id") or str(uuid.uuid4()),
        **{k: body[k] for k in ("fullname", "email") if k in body},
        "phone": body.get("phone"),
        **{k: body[k] for k in _LEAD_FIELDS[4:12] if k in body},
        "id_project": c.project,
        "createdBy": c.who.id,
        "createdAt": now,
        "updatedAt": now,
        "__v": 0,
    }
    world.insert("leads", lead)
    return answer(lead)


def _lead(c: Context) -> Document:
    """The lead that the path names. An unknown id creates a lead without a project."""
    lead_id = c.parts["lead_id"]
    if lead_id not in c.world.leads:
        now = c.world.now()
        ghost = {"tags": [], "status": 100, "_id": lead_id, "updatedAt": now, "__v": 0}
        c.world.insert("leads", {**ghost, "createdAt": now})
    return c.world.leads[lead_id]


def _spread(world: World, lead: Document) -> None:
    """Copy an edited lead into all its requests, all in one millisecond."""
    now = world.now(3)
    # the copy has the time of copying as its stamps, because of the database layer of the server
    copy = {**lead, "createdAt": now, "updatedAt": now}
    for _id in sorted(world.requests_of_lead.get(lead["_id"], ())):
        if _id in world.requests:
            snapshot = {**(world.requests[_id].get("snapshot") or {}), "lead": copy}
            world.change("requests", _id, snapshot=snapshot, updatedAt=now)


@route("PUT", "/{project}/leads/{lead_id}")
def put_lead(c: Context) -> Answer:
    world, before = c.world, _lead(c)
    fields = {k: v for k, v in _object(c).items() if k in _LEAD_FIELDS}
    world.change("leads", before["_id"], updatedAt=world.now(), **fields)
    lead = world.leads[before["_id"]]
    _spread(world, lead)
    if any(lead.get(k) != before.get(k) for k in ("fullname", "email")):
        _announce(world, lead)
    return answer(lead)


def _announce(world: World, lead: Document) -> None:
    """Tell the newest chat of the lead that its name or address changed."""
    requests = [
        world.requests[i]
        for i in world.requests_of_lead.get(lead["_id"], ())
        if i in world.requests
    ]
    chats = [r for r in requests if (r.get("channel") or {}).get("name") == "chat21"]
    if chats:
        attributes = {
            **label("LEAD_UPDATED", update=False),
            "updateUserEmail": lead.get("email"),
            "updateUserFullname": lead.get("fullname"),
        }
        _say(world, max(chats, key=lambda r: str(r["createdAt"])), "Lead updated", attributes)


@route("PUT", "/{project}/leads/{lead_id}/tag")
def tag_lead(c: Context) -> Answer:
    world, before = c.world, _lead(c)
    tags = list(dict.fromkeys([*before.get("tags", ()), *(_json(c) or ())]))
    world.change("leads", before["_id"], updatedAt=world.now(), tags=tags)
    lead = world.leads[before["_id"]]
    _spread(world, lead)
    return answer(lead)


@route("DELETE", "/{project}/leads/{lead_id}")
def delete_lead(c: Context) -> Answer:
    lead = _lead(c)
    c.world.change("leads", lead["_id"], status=1000, updatedAt=c.world.now())
    return answer(c.world.leads[lead["_id"]])


@route("DELETE", "/{project}/leads/{lead_id}/physical", "owner")
def delete_lead_for_good(c: Context) -> Answer:
    found = int(c.parts["lead_id"] in c.world.leads)
    if found:
        c.world.remove("leads", c.parts["lead_id"])
    return answer({"n": found, "ok": 1, "deletedCount": found})
