"""Two years of a made-up support desk, the same for the same size, seed and end."""

from __future__ import annotations

import math
import random
import uuid
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import Any, TypeVar

from .documents import Document, encode, label
from .phrases import (
    BROWSERS,
    FIRST_NAMES,
    LANGUAGE_WEIGHTS,
    LANGUAGES,
    LAST_NAMES,
    PLACES,
    Language,
    Topic,
)
from .small import namespace
from .small_lists import SMALL_LISTS
from .world import SUPER_ADMIN_EMAIL, Person, World, embedded

T = TypeVar("T")
UTC = timezone.utc
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
HISTORY_DAYS = 730
AGENTS = 12
TIE_CLUSTER = 150

HOURS = (1, 1, 1, 1, 1, 2, 4, 10, 28, 40, 44, 42, 34, 33, 40, 42, 38, 32, 24, 18, 16, 14, 8, 3)
WEEKDAYS = (118, 108, 102, 98, 92, 45, 30)
CHANNELS = ("chat21", "whatsapp", "email", "form", "telegram", "voice-twilio")
CHANNEL_WEIGHTS = (52, 22, 12, 5, 5, 4)
DEPARTMENTS = ("Default Department", "Sales", "Billing", "Shipping", "Technical", "Assistant")
TOPIC_DEPARTMENT = {
    "delivery": 3, "refund": 2, "invoice": 2, "login": 4, "product": 4, "order": 1,
}  # fmt: skip
BOTS = ("Ada", "Order tracker", "Night shift")
TAGS = ("vip", "refund", "bug", "delivery", "billing", "account", "order", "complaint", "b2b")
RATINGS = (5, 4, 3, 2, 1)
NONE = -1
FOUNDED = 1_600_000_000_000  # when the example shop opened, in milliseconds since 1970


def generate(
    requests: int = 500,
    seed: int = 7,
    until: datetime | None = None,
    *,
    messages_per_request: float = 9.0,
    leads_per_request: float = 0.6,
    activities_per_request: float = 2.0,
) -> World:
    """A project with that many conversations, the last ones just before `until` (None: now).

    The means per request steer the other sizes.  Equal arguments give equal documents.  From
    300 requests on, 150 of each kind share one millisecond, as after a bulk job.
    """
    end = (until or datetime.now(UTC)).astimezone(UTC)
    desk = _Desk(random.Random(seed), int(end.timestamp() * 1000))
    desk.hire()
    desk.meet(round(requests * leads_per_request), bulk=requests >= 2 * TIE_CLUSTER)
    desk.work(requests, messages_per_request, activities_per_request)
    desk.send_direct_messages(max(3, requests // 100))
    desk.switch_availability(round(requests * activities_per_request / 20))
    desk.add_second_project()
    desk.add_small_lists()
    return desk.world


@dataclass
class _Agent:
    person: Person
    member: str
    speed: float
    kindness: float
    visitor: _Visitor | None = None


@dataclass
class _Visitor:
    lead: Document
    member: Document
    language: Language
    place: tuple[str, str, str, float, float]
    channel: str
    requests: list[str] = field(default_factory=list)
    in_campaign: bool = False


class _Desk:
    """Makes one world; times are milliseconds since 1970, UTC."""

    def __init__(self, rng: random.Random, end: int) -> None:
        self.rng = rng
        self.end = end
        self.begin = end - HISTORY_DAYS * DAY
        self._process = f"{rng.getrandbits(40):010x}"
        self._serial = rng.getrandbits(20)
        # does not depend on the date: a world made on another day is the same project
        self.project = self.new_id(FOUNDED)
        self.world = World(self.project)
        self.agents: list[_Agent] = []
        self.visitors: list[_Visitor] = []
        self.departments: list[Document] = []
        self.teams: list[tuple[_Agent, ...]] = []
        self.bots: list[Document] = []
        self.owner = ""
        self._weights: dict[Sequence[float], list[float]] = {}
        self._day_begins: list[int] = []
        self._day_weights: list[float] = []

    # --- ids, times, chances

    def new_id(self, at: int) -> str:
        self._serial = (self._serial + 1) & 0xFFFFFF
        return f"{at // 1000:08x}{self._process}{self._serial:06x}"

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def pick(self, choices: Sequence[T], weights: Sequence[float]) -> T:
        total = self._weights.get(weights)
        if total is None:
            total = self._weights[weights] = list(accumulate(weights))
        return choices[bisect(total, self.rng.random() * total[-1], 0, len(choices) - 1)]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def random_moment(self) -> int:
        """A moment of the history: more on weekdays and by day, and more in later months."""
        if not self._day_begins:
            first = self.begin - self.begin % DAY
            self._day_begins = list(range(first, self.end, DAY))
            growth = [0.4 + 1.2 * i / len(self._day_begins) for i in range(len(self._day_begins))]
            weekday = [WEEKDAYS[(d // DAY + 3) % 7] for d in self._day_begins]
            self._day_weights = list(
                accumulate(g * w for g, w in zip(growth, weekday, strict=True))
            )
        while True:
            place = self.rng.random() * self._day_weights[-1]
            day = self._day_begins[bisect(self._day_weights, place)]
            hour = self.pick(range(24), HOURS)
            moment = day + hour * HOUR + self.rng.randrange(HOUR)
            if self.begin <= moment < self.end - MINUTE:
                return moment

    def busyness(self, at: int) -> float:
        """How much of its work the desk leaves for later: from 0.1 to 1.9, over eleven weeks."""
        return 1 + 0.9 * math.sin(2 * math.pi * at / (77 * DAY))

    def timeline(self, count: int) -> list[int]:
        """Sorted moments; one in twelve is the same millisecond as the one before."""
        moments = sorted(self.random_moment() for _ in range(count))
        for i in range(1, count):
            if self.chance(1 / 12):
                moments[i] = moments[i - 1]
        return moments

    # --- people and departments

    def hire(self) -> None:
        world, project, start = self.world, self.project, self.begin - 30 * DAY
        self.owner = self._enlist("owner", "Olga", "Owner", start).id
        world.insert("projects", _project(project, "Example Shop", self.owner, start))
        self._join(self.owner, "owner", start)
        admin = self._enlist("admin", "Ada", "Admin", start)
        self._join(admin.id, "admin", start + HOUR)
        for i in range(AGENTS):
            name = "agent" if i == 0 else f"agent{i + 1}"
            person = self._enlist(name, FIRST_NAMES[i], LAST_NAMES[i], start)
            member = self._join(person.id, "agent", start + (2 + i) * HOUR)
            speed = self.rng.lognormvariate(0, 0.35)
            agent = _Agent(person, member, speed, self.rng.uniform(-0.4, 0.4))
            self.agents.append(agent)
        supervisor = self._enlist("supervisor", "Sven", "Supervisor", start)
        self._join(supervisor.id, "supervisor", start + DAY)
        late = self._enlist("late_agent", "Lia", "Late", self.end - HOUR)
        self._join(late.id, "agent", self.end - HOUR, available=False)
        self._enlist("outsider", "Oscar", "Outsider", start)
        self._enlist("superadmin", "Super", "Admin", start, SUPER_ADMIN_EMAIL)
        gone = self._enlist("gone", "Greta", "Gone", start)
        left = self._join(gone.id, "agent", start + DAY, trashed=True)
        self._note_leaving(left, start + 50 * DAY)
        for i, name in enumerate(BOTS):
            self._build_bot(name, start + (20 + i) * HOUR)
        for i, name in enumerate(DEPARTMENTS):
            self._open_department(i, name, start + (30 + i) * HOUR)
        for i, tag in enumerate(TAGS):
            at = start + (40 + i) * HOUR
            color = f"#{self.rng.getrandbits(24):06x}"
            document = {"_id": self.new_id(at), "tag": tag, "color": color}
            world.insert("tags", {**document, **self._signed(at)})

    def _signed(self, at: int) -> Document:
        stamp = iso(at)
        return {
            "id_project": self.project,
            "createdBy": self.owner,
            "createdAt": stamp,
            "updatedAt": stamp,
            "__v": 0,
        }

    def _enlist(self, name: str, first: str, last: str, at: int, email: str = "") -> Person:
        _id = self.new_id(at)
        address = email or f"{name.replace('_', '.')}@example.com"
        person = Person(_id, address, f"Pw-{name}-0", first, last)
        self.world.enlist(name, person)
        document = {
            "status": 100,
            "_id": _id,
            "email": address,
            "firstname": first,
            "lastname": last,
            "emailverified": False,
            "phone": f"+39000{len(self.world.users):07d}",
            "createdAt": iso(at),
            "updatedAt": iso(at),
            "__v": 0,
        }
        self.world.insert("users", document)
        return person

    def _join(
        self, user: str, role: str, at: int, *, available: bool = True, trashed: bool = False
    ) -> str:
        _id = self.new_id(at)
        document: Document = {
            "user_available": available,
            "number_assigned_requests": 0,
            "last_login_at": iso(at),
            "permissions": [],
            "status": "disabled" if trashed else "active",
            "trashed": trashed,
            "_id": _id,
            "id_project": self.project,
            "id_user": user,
            "role": role,
            "roleType": 1,
            "createdBy": self.owner,
            "tags": [],
            "createdAt": iso(at),
            "updatedAt": iso(at),
            "__v": 0,
            "isAuthenticated": True,
            "id": _id,
            "isBusy": False,
        }
        self.world.insert("project_users", document)
        if role != "owner":
            self._note_invitation(document, at)
        return _id

    def _note_invitation(self, member: Document, at: int) -> None:
        user = self.world.user_documents[member["id_user"]]
        action = {
            "email": user["email"],
            "role": member["role"],
            "user_available": member["user_available"],
            "inviteType": "registered",
        }
        said = (
            f"invited {user['firstname']} {user['lastname']} ({user['email']}) "
            f"to take on the role of {member['role']}"
        )
        target = self._member_target(member)
        self._record("PROJECT_USER_INVITE", at, self.owner, action, target, said, user["_id"])

    def _note_leaving(self, member_id: str, at: int) -> None:
        member = self.world.project_users[member_id]
        user = self.world.user_documents[member["id_user"]]
        action = {"deleteType": "soft", "role": member["role"], "email": user["email"]}
        said = f"removed {user['firstname']} {user['lastname']} from the project"
        target = self._member_target(member)
        self._record("PROJECT_USER_DELETE", at, self.owner, action, target, said, user["_id"])

    def _member_target(self, member: Document) -> Document:
        user = self.world.user_documents[member["id_user"]]
        known = {k: user[k] for k in ("_id", "email", "firstname", "lastname")}
        whole = {**member, "id_user": known}
        return {"type": "project_user", "id": member["_id"], "object": whole}

    def _record(
        self,
        verb: str,
        at: int,
        actor: str,
        action: Document,
        target: Document,
        said: str = "",
        *involved: str,
    ) -> None:
        """An activity of the team; `said` is what the actor did, in words."""
        user = self.world.user_documents[actor]
        name = f"{user['firstname']} {user['lastname']}"
        activity: Document = {
            "_id": self.new_id(at),
            "id_project": self.project,
            "actor": {"_id": self.new_id(at), "type": "user", "id": actor, "name": name},
            "verb": verb,
            "actionObj": action,
            "target": target,
            "createdAt": iso(at + 5),
            "updatedAt": iso(at + 5),
            "involvedUserIds": list(dict.fromkeys([actor, *involved])),
            "__v": 0,
        }
        if said:
            activity["message"] = f"{name} {said}"
        self.world.activities.put(activity)

    def switch_availability(self, count: int) -> None:
        """Agents switch their availability; now and then the admin does it for them."""
        admin = self.world.users["admin"].id
        for i, at in enumerate(self.timeline(count)):
            agent = self.rng.choice(self.agents)
            there = self.chance(0.5)
            status = "active" if there else "unavailable"
            if i % 5:
                self.world.change("project_users", agent.member, profileStatus="active")
            target = self._member_target(self.world.project_users[agent.member])
            action: Document = {"user_available": there}
            if i % 5:
                action |= {"newStatus": status, "updateType": "self", "source": "api"}
                said = f"changed availability status to {status}"
                verb = "PROJECT_USER_AVAILABILITY_SELF"
                self._record(verb, at, agent.person.id, action, target, said)
            else:
                word = "available" if there else "unavailable"
                action |= {"newStatus": word, "updateType": "admin", "source": "api"}
                verb = "PROJECT_USER_UPDATE"
                self._record(verb, at, admin, action, target, "", agent.person.id)

    def add_second_project(self) -> None:
        """A second project of the owner, whose rows must never show up in the first."""
        at = self.begin
        self.world.other_project_id = other = self.new_id(at)
        self.world.insert("projects", _project(other, "Elsewhere", self.owner, at))
        own = self._join(self.owner, "owner", at)
        self.world.change("project_users", own, id_project=other)
        lead = next(iter(self.world.leads.values()))
        self.world.insert("leads", {**lead, "_id": self.new_id(at), "id_project": other})

    def add_small_lists(self) -> None:
        """A few rows of each small list, from the last hours of the history.

        It draws no random number, so the documents made before are the same as without it.
        """
        world, at = self.world, self.end - 2 * HOUR
        room = world.project_id
        # newer ids than those before, so that the order is the same in every run
        self._serial = 0

        def put(kind: str, *more: Document) -> list[Document]:
            rows = []
            for i, fields in enumerate(more):
                row = {
                    "_id": self.new_id(at + i * SECOND),
                    **fields,
                    **self._signed(at + i * SECOND),
                }
                if "namespace" in fields:
                    del row["createdBy"]
                world.insert(kind, row)
                rows.append(row)
            return rows

        root = self.bots[0]
        (fork,) = put(
            "bots",
            {
                **{k: v for k, v in root.items() if k not in ("_id", "slug")},
                "trashed": True,
                "root_id": root["_id"],
                "release_note": "first version",
                "publishedBy": self.owner,
                "publishedAt": iso(at),
            },
        )
        address = f"http://localhost:3000/modules/tilebot/ext/{fork['_id']}"
        world.change("bots", root["_id"], url=address, modified=False)
        put("bots", {**_bot("Bot", "identity", "An identity bot"), "agents_available": False})
        for bot in (root, self.bots[1], fork):
            for name in ("start", "defaultFallback", "opening hours"):
                put("faq", _intent(bot["_id"], name))
        for one in SMALL_LISTS:
            if one.is_signed:
                put(one.name, *one.rows)
                continue
            for row in one.rows:
                document = {"_id": self.new_id(at), **row, "id_project": room, "__v": 0}
                world.insert(one.name, document)
        stamp = iso(at)
        world.insert("kb_namespaces", namespace(room, self.new_id(at), stamp))
        manuals = self.new_id(at)
        world.insert(
            "kb_namespaces",
            namespace(room, self.new_id(at), stamp, key=manuals, name="Manuals"),
        )
        put(
            "kb_contents",
            *(
                {"name": f"Page {i}", "type": "url", "source": f"https://shop.example.com/{i}",
                 "url": f"https://shop.example.com/{i}", "content": "", "namespace": room,
                 "status": 300, "scrape_type": 2, "refresh_rate": "never"}
                for i in range(5)
            ),
            {"name": "Opening hours", "type": "faq", "source": "Opening hours",
             "content": "Opening hours\nFrom nine to five.", "namespace": manuals, "status": 300},
        )  # fmt: skip
        talks = [world.requests[key]["request_id"] for key in list(world.requests)[-3:]]
        questions = [
            {"namespace": room, "question": f"What about {i}?", "request_id": talk}
            for i, talk in enumerate(talks)
        ]
        put("unanswered_questions", *questions)
        put(
            "answered_questions",
            *({**asked, "answer": "Everything.", "tokens": 42} for asked in questions[:2]),
        )
        member = next(iter(world.project_users))
        event = {"name": "widget.open", "status": "stardard", "project_user": member}
        put("events", *(event for _ in range(50)))
        shares = [
            {"_id": self.new_id(at), "group_id": group, "percentage": 50}
            for group in list(world.groups)[:2]
        ]
        world.change("departments", self.departments[0]["_id"], groups=shares)

    def _build_bot(self, name: str, at: int) -> None:
        bot: Document = {
            "_id": self.new_id(at),
            **_bot(name, "internal", f"{name} answers first"),
            "id_project": self.project,
            "createdBy": self.owner,
            "agents_available": False,
            "createdAt": iso(at),
            "updatedAt": iso(at),
            "__v": 0,
        }
        self.bots.append(bot)
        self.world.insert("bots", bot)
        self._record(
            "FAQ_KB_CREATE",
            at,
            self.owner,
            {"name": name, "type": "internal"},
            {"type": "faq_kb", "id": bot["_id"], "object": {**bot, "secret": self.uuid()}},
            f"created chatbot {name}",
        )

    def _open_department(self, i: int, name: str, at: int) -> None:
        team = tuple(self.agents if i in (0, 5) else self.agents[(i - 1) * 3 : i * 3 + 1])
        group = self.new_id(at)
        if i:
            document = {
                "members": [a.person.id for a in team],
                "enabled": True,
                "_id": group,
                "name": f"{name} team",
                "trashed": False,
            }
            self.world.insert("groups", {**document, **self._signed(at)})
        _id = self.new_id(at)
        has_bot = name == "Assistant"
        department: Document = {
            "routing": "pooled" if name == "Billing" else "assigned",
            "default": i == 0,
            "status": 1,
            "_id": _id,
            "name": name,
            **({"id_group": group} if i else {}),
            "groups": [],
            "id_project": self.project,
            "createdBy": self.owner,
            "tags": [],
            **({"id_bot": self.bots[0]["_id"]} if has_bot else {}),
            "createdAt": iso(at),
            "updatedAt": iso(at),
            "__v": 0,
            "hasBot": has_bot,
            "id": _id,
        }
        self.departments.append(department)
        self.teams.append(team)
        self.world.insert("departments", department)

    # --- leads

    def meet(self, count: int, *, bulk: bool) -> None:
        count = max(count, 3)
        begin = (count - TIE_CLUSTER) // 3
        imported = range(begin, begin + TIE_CLUSTER) if bulk else range(0)
        moments = _with_tie(self.timeline(count - len(imported)), imported)
        for i, at in enumerate(moments):
            self._meet_one(i, at, imported=i in imported)

    def _meet_one(self, i: int, at: int, *, imported: bool) -> None:
        rng = self.rng
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        language = self.pick(LANGUAGES, LANGUAGE_WEIGHTS)
        channel = self.pick(CHANNELS, CHANNEL_WEIGHTS)
        phone = f"+39000555{i % 10_000_000:07d}"
        lead_id = self.uuid()
        if channel == "whatsapp":
            lead_id = f"wab-{phone[1:]}"
        elif channel == "voice-twilio":
            lead_id = f"voice-twilio-{phone[1:]}"
        edited = at + round(rng.expovariate(1 / (20 * DAY))) if self.chance(0.25) else at
        edited = min(edited, self.end - MINUTE)
        name = f"{first} {last}"
        lead: Document = {
            "tags": [rng.choice(TAGS)] if self.chance(0.1) else [],
            "status": self.pick((100, 1000, 50), (90, 8, 2)),
            "_id": self.new_id(at),
            "lead_id": lead_id,
            "fullname": name,
            "email": f"{first}.{last}.{i}@example.org".lower().replace(" ", "").replace("'", ""),
            "phone": phone if channel in ("whatsapp", "voice-twilio") or self.chance(0.2) else None,
        }
        if self.chance(0.15):
            del lead["email"]
        if self.chance(0.6):
            plan = rng.choice(("free", "pro", "business"))
            lead["attributes"] = {"plan": plan, "visits": rng.randrange(80)}
        elif self.chance(0.2):
            lead["attributes"] = None
        stamp = iso(at)
        updated = stamp if imported else iso(edited)
        lead |= {
            "id_project": self.project,
            "createdBy": self.owner if imported else "system",
            "createdAt": stamp,
            "updatedAt": updated,
            "__v": 0,
        }
        if edited != at and self.chance(0.5):
            lead["company"] = f"{last} Example Ltd"
        self.world.leads.put(lead)
        member = self._visitor_member(lead_id, at)
        self.visitors.append(_Visitor(lead, member, language, rng.choice(PLACES), channel))

    def _visitor_member(self, lead_id: str, at: int) -> Document:
        _id = self.new_id(at)
        stamp = iso(at)
        member: Document = {
            "user_available": True,
            "number_assigned_requests": 0,
            "last_login_at": stamp,
            "permissions": [],
            "status": "active",
            "trashed": False,
            "_id": _id,
            "id_project": self.project,
            "uuid_user": lead_id,
            "role": "guest",
            "roleType": 2,
            "createdBy": lead_id,
            "tags": [],
            "createdAt": stamp,
            "updatedAt": stamp,
            "__v": 0,
            "isAuthenticated": False,
            "id": _id,
        }
        self.world.project_users.put({**member, "isBusy": False})
        return member

    # --- conversations

    def work(self, count: int, messages: float, activities: float) -> None:
        campaign = range(0)
        if count >= 2 * TIE_CLUSTER:
            begin = int((count - TIE_CLUSTER) * 0.7)
            campaign = range(begin, begin + TIE_CLUSTER)
        moments = _with_tie(self.timeline(count - len(campaign)), campaign)
        ordinary = max(1, count - len(campaign))
        mean = max(2.0, (count * messages - 2 * len(campaign)) / ordinary)
        for i, at in enumerate(moments):
            visitor = self._requester(i, count)
            talk = _Conversation(self, visitor, at, i + 1, mean, activities)
            if i in campaign:
                talk.join_bulk_job()
            else:
                talk.happen()
        self._edit_some_leads()

    def _requester(self, i: int, count: int) -> _Visitor:
        """Mostly a visitor who is new at that time; some customers write again.

        Now and then an agent opens a conversation, and is then its requester.
        """
        if self.chance(0.03):
            return self._as_visitor(self.rng.choice(self.agents))
        if self.chance(0.1):
            return self.visitors[int(len(self.visitors) * self.rng.random() ** 3)]
        place = i / max(1, count) + self.rng.gauss(0, 0.02)
        return self.visitors[min(len(self.visitors) - 1, max(0, int(place * len(self.visitors))))]

    def _as_visitor(self, agent: _Agent) -> _Visitor:
        if agent.visitor is None:
            person = agent.person
            stamp = iso(self.begin)
            lead: Document = {
                "tags": [],
                "status": 100,
                "_id": self.new_id(self.begin),
                "lead_id": person.id,
                "fullname": person.fullname,
                "email": person.email,
                "phone": None,
                "id_project": self.project,
                "createdBy": "system",
                "createdAt": stamp,
                "updatedAt": stamp,
                "__v": 0,
            }
            self.world.leads.put(lead)
            member = self.world.project_users[agent.member]
            member.pop("isBusy")
            agent.visitor = _Visitor(lead, member, LANGUAGES[0], PLACES[0], "chat21")
        return agent.visitor

    def _edit_some_leads(self) -> None:
        """An edited lead re-stamps all its requests with one millisecond."""
        for visitor in self.visitors:
            lead = visitor.lead
            if len(visitor.requests) < 2 or visitor.in_campaign or not self.chance(0.15):
                continue
            last = max(str(self.world.requests[i]["updatedAt"]) for i in visitor.requests)
            at = to_ms(last) + round(self.rng.expovariate(1 / (5 * DAY)))
            if at >= self.end - 4:
                continue
            lead["updatedAt"] = iso(at)
            self.world.leads.put(lead)
            copy = {**lead, "createdAt": iso(at + 3), "updatedAt": iso(at + 3)}
            for _id in visitor.requests:
                request = self.world.requests[_id]
                request["snapshot"]["lead"] = copy
                request["updatedAt"] = iso(at + 3)
                self.world.requests.put(request)

    def send_direct_messages(self, count: int) -> None:
        """Direct messages between colleagues, outside any conversation."""
        for at in self.timeline(count):
            one, other = self.rng.sample(self.agents, 2)
            stamp = iso(at)
            message: Document = {
                "senderFullname": one.person.fullname,
                "type": "text",
                "channel_type": "direct",
                "status": 0,
                "_id": self.new_id(at),
                "sender": one.person.id,
                "recipient": other.person.id,
                "recipientFullname": other.person.fullname,
                "text": self.rng.choice(("Can you take the next one?", "Pausa caffè? ☕", "brb")),
                "id_project": self.project,
                "createdBy": one.person.id,
                "channel": {"name": "chat21"},
                "createdAt": stamp,
                "updatedAt": stamp,
                "__v": 0,
            }
            self.world.messages.put(message)


class _Conversation:
    """One request from its first message to its rating."""

    def __init__(
        self,
        desk: _Desk,
        visitor: _Visitor,
        at: int,
        ticket: int,
        mean_messages: float,
        activities: float,
    ) -> None:
        self.desk, self.visitor, self.at, self.ticket = desk, visitor, at, ticket
        self.rng = desk.rng
        self.mean = mean_messages
        self.activities = activities
        self.language = visitor.language
        self.topic: Topic = self.rng.choice(self.language.topics)
        self._id = desk.new_id(at)
        self.request_id = f"support-group-{desk.project}-{self.rng.getrandbits(128):032x}"
        self.now = at
        self.touched = at
        self.answered = NONE
        self.agent: _Agent | None = None
        self.before: _Agent | None = None
        self.bot: Document | None = None
        self.messages: list[Document] = []
        self.lines: list[str] = []
        self.last_message: Document | None = None
        self.closings: list[tuple[int, Person | None]] = []
        self.filled = {
            "order": f"EX-{self.rng.randrange(10_000, 99_999)}",
            "name": str(visitor.lead["fullname"]).split(" ")[0],
            "agent": "",
        }
        self.channel = {"name": visitor.channel}

    # --- what happens

    def happen(self) -> None:
        rng, desk = self.rng, self.desk
        department = TOPIC_DEPARTMENT.get(self.topic.name, 0)
        bot_first = desk.chance(0.3)
        if bot_first:
            department = 5
            self.bot = desk.bots[0] if desk.chance(0.7) else rng.choice(desk.bots)
        fate = desk.pick(
            ("served", "temporary", "abandoned", "preflight", "draft"), (91, 2.5, 3, 3, 0.5)
        )
        team = desk.teams[department]
        opening = rng.choice(self.topic.openings)
        self.say_visitor(opening, first=True)
        if bot_first:
            self.talk_to_bot()
        only_bot = bot_first and desk.chance(0.25)
        if fate in ("served", "draft") and not only_bot:
            self.agent = rng.choice([one for one in team if one.visitor is not self.visitor])
            self.filled["agent"] = self.agent.person.firstname
            is_pooled = desk.departments[department]["routing"] == "pooled"
            self.talk_to_agent(joins=is_pooled and not bot_first)
        request = self.document(department, fate, team)
        created = self.as_created(request)
        if fate == "served" and desk.chance(0.995):
            self.come_to_an_end(request)
        elif fate in ("temporary", "abandoned") and desk.chance(0.85):
            self.now += rng.randrange(2 * DAY, 10 * DAY)
            self.close(request, desk.world.users["admin"])
        self.keep(request, created)

    def join_bulk_job(self) -> None:
        """Make it one of many requests that a bulk job opened and changed in one millisecond."""
        self.bot = self.desk.bots[-1]
        self.visitor.in_campaign = True
        self.activities = NONE
        self.channel = {"name": "whatsapp"}
        self.topic = self.language.topics[0]
        self._add(self.at, f"bot_{self.bot['_id']}", self.bot["name"], self.language.bot_hello)
        self.touched = self.at + 40
        request = self.document(5, "served", self.desk.teams[5])
        created = self.as_created(request)
        self.now = self.at + 2 * DAY
        self.close(request, None)
        self.keep(request, created)

    def pause(self, minutes: float, spread: float = 0.8) -> None:
        self.now += round(minutes * MINUTE * self.rng.lognormvariate(-(spread**2) / 2, spread)) + 1

    def office_delay(self) -> None:
        """An answer at night sometimes comes the next morning."""
        hour = self.now // HOUR % 24
        if not 7 <= hour < 20 and self.desk.chance(0.7):
            morning = self.now - self.now % DAY + (8 if hour < 7 else 32) * HOUR
            self.now = morning + self.rng.randrange(HOUR)

    def talk_to_bot(self) -> None:
        assert self.bot is not None  # noqa: S101
        sender, name = f"bot_{self.bot['_id']}", self.bot["name"]
        self.now += self.rng.randrange(400, 1500)
        self._add(self.now, sender, name, self.language.bot_hello, bot=True)
        self.pause(0.6)
        self.say_visitor(self.rng.choice(self.language.want_human))
        self.now += self.rng.randrange(400, 1500)
        self._add(self.now, sender, name, self.language.bot_handover, bot=True)

    def talk_to_agent(self, *, joins: bool) -> None:
        """An agent serves it; the server writes a message only of one who joins a waiting one."""
        assert self.agent is not None  # noqa: S101
        words, rng = self.language, self.rng
        if joins:
            self._assigned(self.agent)
        slow = {"email": 40.0, "form": 40.0, "whatsapp": 6.0}.get(self.channel["name"], 3.0)
        self.office_delay()
        self.pause(slow * self.agent.speed, 1.0)
        self.say_agent(rng.choice(words.hello))
        left = max(0, round(rng.gauss(self.mean - 4.8, 3)) - len(self.messages) // 3)
        if left:
            self.say_agent(rng.choice(words.ask), 0.3)
            self.say_visitor(rng.choice(self.topic.details), 1.5)
            self.say_agent(rng.choice(words.checking), 0.7)
        turn = 0
        while turn < left - 3:
            if turn % 2:
                self.say_agent(rng.choice(words.explain), 1.2)
            else:
                self.say_visitor(rng.choice((*words.waiting, *words.follow_up)), 2.5)
            turn += 1
        if self.desk.chance(0.08):
            self.hand_over()
        self.say_agent(rng.choice(self.topic.solutions), 3)
        if self.desk.chance(0.7):
            self.say_visitor(rng.choice(words.thanks), 2)
            if self.desk.chance(0.5):
                self.say_agent(rng.choice(words.goodbye), 0.5)

    def hand_over(self) -> None:
        """Another agent takes the conversation over."""
        agents = (one for one in self.desk.agents if one.visitor is not self.visitor)
        others = [one for one in agents if one is not self.agent]
        self.before, self.agent = self.agent, self.rng.choice(others)
        self.pause(1)
        self.touched = self.now
        self._assigned(self.agent)

    def say_visitor(self, text: str, minutes: float = 0, *, first: bool = False) -> None:
        if minutes:
            self.pause(minutes)
        lead = self.visitor.lead
        more: Document = {}
        if first:
            more["attributes"] = {
                "client": self.rng.choice(BROWSERS),
                "sourcePage": f"https://shop.example/help/{self.topic.name}",
                "order": self.filled["order"],
            }
            more["language"] = self.language.code
        elif self.desk.chance(0.04):
            src = f"https://files.example/{self.desk.uuid()}.png"
            more["type"] = "image"
            more["metadata"] = {"src": src, "width": 640, "height": 480}
        self._add(self.now, lead["lead_id"], lead["fullname"], text, human=True, **more)

    def say_agent(self, text: str, minutes: float = 0) -> None:
        assert self.agent is not None  # noqa: S101
        if minutes:
            self.pause(minutes * self.agent.speed)
        person = self.agent.person
        self._add(self.now, person.id, person.fullname, text, human=True)
        if self.answered == NONE:
            self.answered = self.now

    def _assigned(self, agent: _Agent) -> None:
        text = "A new support request has been assigned to you: "
        if self.language.code == "it":
            text = "Una nuova richiesta di supporto è stata assegnata a te: "
        attributes = {
            "subtype": "info",
            "updateconversation": True,
            "updateconversationfor": [agent.person.id],
            "forcenotification": True,
            "messagelabel": {"key": "TOUCHING_OPERATOR"},
        }
        self._system(text + self.messages[0]["text"][:30], attributes)

    def _system(self, text: str, attributes: Document) -> None:
        self.now += self.rng.randrange(6, 40)
        self._add(
            self.now, "system", "Bot", text, attributes=attributes, metadata=self.language.code
        )

    def _add(
        self,
        at: int,
        sender: str,
        name: str,
        text: str,
        *,
        human: bool = False,
        bot: bool = False,
        type: str = "text",
        attributes: Any = None,
        metadata: Any = None,
        language: str | None = None,
    ) -> None:
        if at >= self.desk.end:
            return
        if len(self.messages) > 1 and self.desk.chance(0.03):
            at = self.now = to_ms(self.messages[-1]["createdAt"])
        stamp = iso(at)
        text = text.format_map(self.filled)
        message: Document = {
            "senderFullname": name,
            "type": type,
            "channel_type": "group",
            "status": 0,
            "_id": self.desk.new_id(at),
            "sender": sender,
            "recipient": self.request_id,
            "text": text,
            "id_project": self.desk.project,
            "createdBy": sender,
        }
        if bot:
            attributes = {"_answerid": self.desk.uuid(), "intentName": "welcome"}
        if metadata is not None:
            message["metadata"] = metadata
        if attributes is not None:
            message["attributes"] = attributes
        if language is not None:
            message["language"] = language
        message["channel"] = self.channel
        message["createdAt"] = stamp
        message["updatedAt"] = stamp
        message["__v"] = 0
        self.messages.append(message)
        self.lines.append(f"{stamp[8:10]}/{stamp[5:7]}/{stamp[:4]}, {stamp[11:19]} {name}: {text}")
        if human and len(self.messages) > 1:
            self.last_message = message
            self.touched = at + self.rng.randrange(2, 10)

    # --- what is left of it

    def document(self, department: int, fate: str, team: tuple[_Agent, ...]) -> Document:
        desk, rng, visitor = self.desk, self.rng, self.visitor
        lead, place = visitor.lead, visitor.place
        house = desk.departments[department]
        agent = self.agent
        participants = [agent.person.id] if agent else []
        bots = [self.bot["_id"]] if self.bot and not agent else []
        participants += [f"bot_{b}" for b in bots]
        status = 200 if participants else 100
        status = {"temporary": 50, "abandoned": 150}.get(fate, status)
        attributes: Document = {"order": self.filled["order"], "plan": rng.choice(("free", "pro"))}
        if self.last_message is not None:
            attributes["last_message"] = self.last_message
        channel = self.channel
        request: Document = {
            "status": status,
            "preflight": fate == "preflight",
            "hasBot": bool(bots),
            "participants": participants,
            "priority": desk.pick(("medium", "low", "high", "urgent"), (80, 8, 9, 3)),
            "followers": [rng.choice(team).member] if desk.chance(0.05) else [],
            "participantsAgents": [agent.person.id] if agent else [],
            "participantsBots": bots,
            "_id": self._id,
            "request_id": self.request_id,
            "requester": visitor.member["_id"],
            "lead": lead["_id"],
            "first_text": self.messages[0]["text"],
            "department": house["_id"],
        }
        if fate == "draft":
            request["draft"] = True
        if channel["name"] == "email":
            request["subject"] = f"{self.topic.name.title()} {self.filled['order']}"
        if channel["name"] == "chat21":
            request["sourcePage"] = f"https://shop.example/help/{self.topic.name}"
            request["userAgent"] = rng.choice(BROWSERS)
            if desk.chance(0.3):
                request["subject"] = None
        request["language"] = self.language.code
        if participants:
            request["assigned_at"] = iso(self.at + rng.randrange(8, 40))
        stamp = iso(self.at)
        request |= {
            "attributes": attributes,
            "id_project": desk.project,
            "createdBy": lead["lead_id"],
            "channel": channel,
            "tags": self.tags(),
            "notes": self.notes(),
            "createdAt": stamp,
            "snapshot": {
                "department": house,
                "availableAgentsCount": len(team),
                "requester": visitor.member,
                "lead": {**lead, "updatedAt": lead["createdAt"]},
            },
        }
        contact = {k: lead[k] for k in ("phone", "email") if lead.get(k)}
        if contact:
            request["contact"] = contact
        if channel["name"] == "chat21" and desk.chance(0.5):
            request["location"] = {
                "country": place[0],
                "region": place[2],
                "city": place[1],
                "geometry": {"type": "Point", "coordinates": [place[3], place[4]]},
                "ipAddress": f"203.0.113.{rng.randrange(1, 255)}",
            }
        request |= {
            "channelOutbound": channel,
            "smartAssignment": True,
            **(
                {"workingStatus": rng.choice(("new", "pending", "open"))}
                if desk.chance(0.05)
                else {}
            ),
            "updatedAt": iso(min(self.touched, desk.end - 1)),
            "ticket_id": self.ticket,
            "__v": 0,
        }
        if self.answered != NONE and self.answered < desk.end:
            request["first_response_at"] = iso(self.answered)
            request["waiting_time"] = self.answered - self.at
        return request

    def tags(self) -> list[Document]:
        if not self.desk.chance(0.3):
            return []
        names = dict.fromkeys((self.topic.tag, self.rng.choice(TAGS)))
        return [{"_id": self.desk.new_id(self.now), "tag": t, "color": "#43b1f2"} for t in names]

    def notes(self) -> list[Document]:
        if self.agent is None or not self.desk.chance(0.12):
            return []
        at = iso(min(self.touched, self.desk.end))
        note = {
            "_id": self.desk.new_id(self.now),
            "text": self.rng.choice(self.language.note),
            "createdBy": self.agent.person.id,
            "updatedAt": at,
            "createdAt": at,
        }
        return [note]

    def come_to_an_end(self, request: Document) -> None:
        """Close what was served: soon, or after days if it waits for something; reopen a few."""
        desk = self.desk
        if self.agent is None:
            self.now += 2 * DAY + self.rng.randrange(HOUR)
        elif desk.chance(0.3 * desk.busyness(self.at)):
            self.pause(7 * DAY / MINUTE, 1.0)
            self.office_delay()
        else:
            self.pause(12, 1.2)
        self.close(request, self.agent.person if self.agent else None)
        if request["status"] != 1000:
            return
        if self.agent and desk.chance(0.28):
            self.rate(request)
        if desk.chance(0.04) and self.now + 3 * HOUR < desk.end:
            self.reopen(request)

    def reopen(self, request: Document) -> None:
        self.pause(90, 0.5)
        request["status"] = 200
        self.touched = self.now
        self._system("Chat reopened", label("CHAT_REOPENED", update=True))
        if self.agent and self.desk.chance(0.9):
            self.office_delay()
            self.say_agent(self.rng.choice(self.topic.solutions), 20)
            self.pause(30)
            self.close(request, self.agent.person)
        request["updatedAt"] = iso(min(self.touched, self.desk.end - 1))

    def close(self, request: Document, by: Person | None) -> None:
        """Close it now; nobody closes what a bot answered alone, or a bulk job opened."""
        desk = self.desk
        if self.now >= desk.end:
            return
        closed = self.now
        request |= {
            "status": 1000,
            "transcript": "\r\n".join(self.lines),
            "duration": closed - self.at,
            "closed_by": by.id if by else "_bot_unresponsive",
            "closed_at": iso(closed),
        }
        self.closings.append((closed, by))
        if self.visitor.in_campaign:
            self.touched = closed + 5
            self._add(
                closed + 40,
                "system",
                "Bot",
                "Chat closed",
                attributes=label("CHAT_CLOSED", update=False),
                metadata=self.language.code,
            )
        else:
            self.touched = closed + self.rng.randrange(1, 6)
            self._system("Chat closed", label("CHAT_CLOSED", update=False))
        request["updatedAt"] = iso(min(self.touched, desk.end - 1))

    def rate(self, request: Document) -> None:
        assert self.agent is not None  # noqa: S101
        waited = request.get("waiting_time", 0) / HOUR
        mood = self.agent.kindness - min(2.0, waited)
        weights = (56, 22, 9, 5, 8) if mood > -0.6 else (24, 22, 18, 14, 22)
        rating = self.desk.pick(RATINGS, weights)
        request["rating"] = rating
        if self.desk.chance(0.4):
            words = self.language.praise if rating > 3 else self.language.blame
            request["rating_message"] = self.rng.choice(words)
        self.touched += self.rng.randrange(5 * SECOND, 30 * MINUTE)
        request["updatedAt"] = iso(min(self.touched, self.desk.end - 1))

    def as_created(self, request: Document) -> Document:
        """The request as it was when it began."""
        later = ("first_response_at", "waiting_time", "location")
        created = {k: v for k, v in request.items() if k not in later}
        attributes = {k: v for k, v in request["attributes"].items() if k != "last_message"}
        return embedded(created) | {
            "tags": [],
            "notes": [],
            "followers": [],
            "attributes": attributes,
            "updatedAt": created["createdAt"],
            "snapshot": {**embedded(request)["snapshot"], "agents": []},
        }

    def keep(self, request: Document, created: Document) -> None:
        desk = self.desk
        lead = self.visitor.lead
        bare = encode(embedded(request))
        request |= {"requester_id": lead["_id"], "id": self._id}
        desk.world.insert("requests", request)
        for message in self.messages:
            desk.world.messages.put(message)
        team = desk.teams[[d["_id"] for d in desk.departments].index(request["department"])]
        desk.world.onlookers[self._id] = frozenset(a.person.id for a in team)
        self.visitor.requests.append(self._id)
        if request["preflight"]:
            return
        people = request["participantsAgents"]
        share = 10.0 if self.activities == NONE else self.activities / 2
        who = {"type": "user", "id": lead["_id"], "name": lead["fullname"]}
        before = encode(created)
        if desk.chance(0.85 * share):
            at = self.at + 40 if len(self.messages) > 1 else self.at
            self.note("REQUEST_CREATE", at, who, before, [lead["_id"], *people])
        if self.agent and desk.chance(0.4 * share):
            self.note_assignment(before, (self.before or self.agent).person.id)
        if self.before and self.agent and desk.chance(share):
            self.note_handover(bare, self.before.person, self.agent.person)
        for at, by in self.closings:
            if desk.chance(share):
                key = by.id if by else "_bot_unresponsive"
                who = {
                    "type": "user" if by else "system",
                    "id": key,
                    "name": by.fullname if by else "System",
                }
                involved = list(dict.fromkeys([key, *people]))
                self.note("REQUEST_CLOSE", at + 12, who, bare, involved)

    def note_assignment(self, whole: bytes, agent: str) -> None:
        action: Document = {
            "assigneeId": agent,
            "assigneeType": "user",
            "assignmentType": "auto",
            "source": "create",
            "previousAssigneeId": None,
            "removedParticipants": [],
        }
        self.note(
            "REQUEST_ASSIGNED_AUTO",
            self.at + 45,
            {"type": "system", "id": "system", "name": "System"},
            whole,
            [agent],
            action=encode(action),
            related={"role": "assignee", "type": "user", "id": agent},
            message=f"System automatically assigned conversation {self.request_id} "
            f"to {agent} (source: create)",
        )

    def note_handover(self, whole: bytes, before: Person, after: Person) -> None:
        action: Document = {
            "assigneeId": after.id,
            "assigneeType": "user",
            "assignmentType": "manual_reassign",
            "source": "api",
            "previousAssigneeId": before.id,
            "removedParticipants": [before.id],
        }
        self.note(
            "REQUEST_ASSIGNED_MANUAL",
            min(self.touched, self.desk.end - 1),
            {"type": "user", "id": before.id, "name": before.fullname},
            whole,
            [before.id, after.id],
            action=encode(action),
            related={"role": "assignee", "type": "user", "id": after.id},
            message=f"{before.fullname} manually assigned conversation {self.request_id} "
            f"to {after.id} (source: api) (replaced {before.id})",
        )

    def note(
        self,
        verb: str,
        at: int,
        actor: Document,
        whole: bytes,
        involved: list[str],
        action: bytes | None = None,
        related: Document | None = None,
        message: str | None = None,
    ) -> None:
        """An activity; its bytes share those of the request it embeds once or twice."""
        desk = self.desk
        stamp = iso(at)
        head: Document = {
            "_id": desk.new_id(at),
            "id_project": desk.project,
            "actor": {"_id": desk.new_id(at), **actor},
            "verb": verb,
        }
        tail: Document = {"related": related} if related else {}
        tail |= {"createdAt": stamp, "updatedAt": stamp, "involvedUserIds": involved, "__v": 0}
        if message:
            tail["message"] = message
        body = (
            encode(head)[:-1] + b',"actionObj":',
            whole if action is None else action,
            b',"target":{"type":"request","id":"%s","object":' % self._id.encode(),
            whole,
            b"}," + encode(tail)[1:],
        )
        desk.world.activities.put({**head, **tail}, body)


def _project(_id: str, name: str, owner: str, at: int) -> Document:
    return {
        "status": 100,
        "ipFilterEnabled": False,
        "ipFilter": [],
        "ipFilterDenyEnabled": False,
        "ipFilterDeny": [],
        "_id": _id,
        "name": name,
        "activeOperatingHours": False,
        "createdBy": owner,
        "profile": {"trialDays": 14, "name": "Sandbox", "agents": 0, "type": "free"},
        "versions": 20115,
        "channels": [{"name": "chat21"}],
        "bannedUsers": [],
        "createdAt": iso(at),
        "updatedAt": iso(at),
        "__v": 0,
        "trialExpired": False,  # trials are off on servers of one's own
        "trialDaysLeft": -14,
        "isActiveSubscription": False,
        "id": _id,
    }


def _bot(name: str, type: str, description: str) -> Document:
    return {
        "webhook_enabled": False,
        "type": type,
        "language": "en",
        "public": False,
        "certified": False,
        "intentsEngine": "none",
        "tags": [],
        "score": 0,
        "trained": True,
        "certifiedTags": [],
        "name": name,
        "slug": name.lower().replace(" ", "-"),
        "description": description,
        "trashed": False,
    }


def _intent(bot: str, name: str) -> Document:
    return {
        "id_faq_kb": bot,
        "intent_id": f"{name.replace(' ', '-')}-1",
        "intent_display_name": name,
        "question": f"\\{name}",
        "webhook_enabled": False,
        "enabled": True,
        "topic": "default",
        "status": "live",
        "language": "en",
        "agents_available": False,
        "actions": [
            {
                "_tdActionType": "webrequestv2",
                "url": "https://shop.example.com/hours",
                "headersString": {"Authorization": "Bearer not-for-anyone"},
            }
        ],
    }


def _with_tie(moments: list[int], tie: range) -> list[int]:
    """The moments and, in their order, one that comes as many times as `tie` has places."""
    if not tie:
        return moments
    return [*moments[: tie.start], *[moments[tie.start]] * len(tie), *moments[tie.start :]]


def iso(at: int) -> str:
    """Milliseconds since 1970 as the API writes them."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def to_ms(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
