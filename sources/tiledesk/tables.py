"""Every table, declared once.

Column names, types, comments, what is personal, the Arrow schema (:mod:`tiledesk.arrow`), the
hints that dlt gets (:mod:`tiledesk.source`) and the written data dictionary are all made from the
declarations below. Fields and their meaning: contract, sections 4 and 5.

Times are UTC with milliseconds. A column is null when the API does not send the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Type = Literal["text", "bigint", "double", "bool", "timestamp", "json"]
Personal = bool | Literal["id"]

EXTRA = "_extra"
ROW_VERSION = "row_version"
DELETED = "_deleted"
DELETED_AT = "_deleted_at"
PARENT_ID = "parent_id"
POSITION = "position"

# Fields that are removed from every row, in whatever object or list they stand, and what they would
# tell (contract 8.38).
SECRETS = {
    "last_ip": "the address that a customer last wrote from",
    "ipAddress": "the address that a customer's place was made of",
    "senderAuthInfo": "who signed a message, with the token",
    "decoded_jwt": "what the token of a signed-in customer says",
    "secret": "what a bot signs with",
    "password": "a password",
    "pass": "the password of the project's mail server",
    "authUrl": "a link that signs a user in",
    "jwtSecret": "what the project signs with",
    "privateKey": "the project's private key",
    "gptkey": "the key of a language model",
    "apikey": "the key of another service",
    "api_key": "the key of another service",
    "headersString": "what a bot sends along to other services, with their keys",
    "globals": "a bot's variables, where the keys of other services are kept",
}


@dataclass(frozen=True)
class Column:
    """A column and where it comes from.

    Attributes:
        source: the field as the API spells it; ``channel.name`` for a field of an object; empty
            for an element of a list of plain values, and for what the connector adds itself.
        type: dlt's data type.
        description: for the data dictionary and the column comment; durations name their unit.
        personal: whether it can tell who somebody is, or what they said; ``"id"`` for one that is
            mostly opaque, and in some channels a phone number or a name. Every column of text or
            JSON says so (:mod:`tiledesk.privacy`).
        repeats: columns, as ``table.column``, whose values stand in this one, too: what privacy
            hides there must not be read here.
        name: the column's name; made from `source` unless given.
        is_copy: whether the value also stays in the JSON column that it is a part of. It is text,
            or the texts of a list joined by commas; null where it is anything else.
    """

    source: str
    type: Type
    description: str
    personal: Personal | None = None
    name: str = ""
    repeats: tuple[str, ...] = ()
    is_copy: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", snake_case(self.source))


@dataclass(frozen=True, eq=False)
class Table:
    """One table of rows with an ``_id``, or one list inside such rows (`parent` is set then).

    Attributes:
        cursor: the column that tells how far the table has been read; empty for a list.
        source: for a list, the field that holds it.
        copies: fields left out because they always repeat another, and which one.
        references: fields with the id of a row, or the row itself if the server joins it.
        joined: fields left out that only are there if the server joins rows (contract 9.2).
        lists: the tables made of this one's lists.
        is_snapshot: whether it is read whole, and all rows of a project are replaced together.
        volatile: columns of a snapshot that change with the time of day or with every conversation:
            another value in them is no new version of the row.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    cursor: str = ""
    source: str = ""
    copies: dict[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    lists: tuple[Table, ...] = ()
    is_snapshot: bool = False
    volatile: tuple[str, ...] = ()

    def all_columns(self) -> tuple[Column, ...]:
        """The columns as they stand in the destination, the connector's own included."""
        if self.is_snapshot:
            if self.source:
                return (ID_PROJECT, *LIST_KEY, *self.columns, EXTRA_COLUMN, DELETED_COLUMN)
            return (*self.columns, EXTRA_COLUMN, ROW_VERSION_COLUMN, DELETED_COLUMN)
        if not self.cursor and not self.source:
            return self.columns  # not of the API: a table of the connector's own
        own = LIST_KEY if self.source else ()
        marks = (DELETED_COLUMN if self.source else DELETED_AT_COLUMN,)
        return (*own, *self.columns, EXTRA_COLUMN, *marks)

    def with_lists(self) -> Iterator[Table]:
        """This table and those of its lists."""
        yield self
        yield from self.lists


EXTRA_COLUMN = Column(
    "",
    "json",
    "What the server sent and no other column can hold: unknown fields, and values of another"
    " type than the column's. Null when there is nothing.",
    personal=True,
    name=EXTRA,
)
ROW_VERSION_COLUMN = Column(
    "",
    "text",
    "Digest of the row without what changes with every conversation or by the clock; where the"
    " table keeps history, another one makes another version.",
    name=ROW_VERSION,
    personal=False,
)
DELETED_COLUMN = Column(
    "",
    "bool",
    "Always null here. Tells the loader that the list has become empty.",
    name=DELETED,
)
DELETED_AT_COLUMN = Column(
    "",
    "timestamp",
    "When it was noticed that the row is no longer in Tiledesk, UTC; null for all others. Only"
    " `tiledesk-dlt reconcile --repair` sets it.",
    name=DELETED_AT,
)
LIST_KEY = (
    Column("", "text", "`_id` of the row that holds the list.", name=PARENT_ID, personal=False),
    Column("", "bigint", "Place in the list, from 0.", name=POSITION),
)


def snake_case(source: str) -> str:
    """``channelOutbound.name`` becomes ``channel_outbound_name``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", source.replace(".", "_")).lower()


def _id(what: str) -> Column:
    return Column("_id", "text", f"Key of the {what}.", personal=False)


def _list(table: str, source: str, description: str, *columns: Column) -> Table:
    return Table(f"{table}__{snake_case(source)}", description, columns, source=source)


def _value(
    name: str, description: str, *, personal: Personal, repeats: tuple[str, ...] = ()
) -> Column:
    return Column("", "text", description, personal=personal, name=name, repeats=repeats)


# What other tables repeat of a person, of a visitor's id and of a conversation's id.
NAMES = ("leads.fullname", "project_users.firstname", "project_users.lastname")
VISITOR = ("leads.lead_id",)
CONVERSATION_ID = ("requests.request_id",)


ID_PROJECT = Column("id_project", "text", "The project.", personal=False)
CREATED_AT = Column("createdAt", "timestamp", "When it was created, by the server's clock.")
UPDATED_AT = Column("updatedAt", "timestamp", "When it last changed, by the server's clock.")
VERSION = Column("__v", "bigint", "Mongoose's `__v`: counts changes of lists.", name="version")
CREATED_BY = Column(
    "createdBy",
    "text",
    "Who created it: a user or lead id, `system`, or text such as `wab-` and a phone number.",
    personal="id",
    repeats=VISITOR,
)

REQUESTS = Table(
    "requests",
    "Conversations, one row each, as they are now.",
    (
        _id("conversation"),
        Column(
            "request_id",
            "text",
            "The conversation's public key, mostly `support-group-...`; `messages.recipient`. For"
            " WhatsApp it ends with the customer's phone number.",
            personal="id",
        ),
        Column("ticket_id", "bigint", "Number of the conversation in its project; may have gaps."),
        ID_PROJECT,
        Column(
            "status",
            "bigint",
            "50 temporary, 100 unassigned, 150 abandoned, 200 assigned, 300 served, 1000 closed."
            " The present one: a reopened conversation is no longer 1000.",
        ),
        Column(
            "preflight",
            "bool",
            "True until the conversation has really started. Leave such rows out of counts.",
        ),
        Column(
            "draft",
            "bool",
            "True for trial conversations of the bot designer. Leave such rows out of counts;"
            " Tiledesk's own analytics count them.",
        ),
        Column(
            "hasBot",
            "bool",
            "Whether a bot takes part now: false once a person has joined. It does not tell whether"
            " a bot ever answered; `messages.sender` does.",
        ),
        Column("requester", "text", "Who asked: `_id` of a project user.", personal="id"),
        Column("lead", "text", "The customer: `leads._id`.", personal="id"),
        Column("department", "text", "`_id` of the department.", personal="id"),
        Column("assignee", "text", "`_id` of a user; hardly used by the server.", personal="id"),
        Column("subject", "text", "Subject, for e-mail and forms.", personal=True),
        Column(
            "first_text",
            "text",
            "First message. Of a conversation that a member opened it is not in `messages`.",
            personal=True,
            repeats=("messages.text",),
        ),
        Column(
            "transcript",
            "text",
            "The whole conversation as text, written at each close; its times are UTC.",
            personal=True,
            repeats=("messages.text", "messages.sender_fullname"),
        ),
        Column("language", "text", "The customer's language.", personal=False),
        Column("sourcePage", "text", "Page the widget was opened on.", personal=True),
        Column("userAgent", "text", "The customer's browser.", personal=True),
        Column("priority", "text", "low, medium, high or urgent.", personal=False),
        Column(
            "workingStatus",
            "text",
            "new, open, pending, or what the project has defined.",
            personal=False,
        ),
        Column(
            "rating",
            "double",
            "The customer's rating, 1 to 5; the last one. When it was given is not kept.",
        ),
        Column("rating_message", "text", "What the customer wrote with the rating.", personal=True),
        Column(
            "waiting_time",
            "bigint",
            "From creation to the first message of any participant, in milliseconds. Bots and"
            " private notes count, too; when the conversation is transferred it becomes null, and"
            " the next message sets it again. It is not the time to a person's first reply: see"
            " first_reply_seconds of the mart tiledesk__conversations.",
        ),
        Column(
            "duration",
            "bigint",
            "From creation to the last close, in milliseconds; kept when the conversation is"
            " reopened. Time between a close and a reopening is in it.",
        ),
        Column(
            "first_response_at",
            "timestamp",
            "When waiting_time was last set: the first message of a bot, a person or a private note"
            " after creation or the last transfer. It is not a person's first reply.",
        ),
        Column(
            "assigned_at",
            "timestamp",
            "Last assignment by routing or by joining, of bots as well; one by a change of the list"
            " of participants does not set it.",
        ),
        Column(
            "closed_at",
            "timestamp",
            "Last close; kept when the conversation is reopened, so it does not tell that a"
            " conversation is closed: status 1000 does.",
        ),
        Column(
            "closed_by",
            "text",
            "Who closed it last: a user or bot id, `leads.lead_id` for the customer, `system`,"
            " `_trigger` or `_bot_unresponsive`; kept when the conversation is reopened.",
            personal="id",
            repeats=VISITOR,
        ),
        Column(
            "channel.name",
            "text",
            "Channel it came through: chat21, whatsapp, email, ...",
            personal=False,
        ),
        Column("channelOutbound.name", "text", "Channel that answers go through.", personal=False),
        Column(
            "contact.phone",
            "text",
            "The customer's phone.",
            personal=True,
            repeats=("leads.phone",),
        ),
        Column(
            "contact.email",
            "text",
            "The customer's e-mail.",
            personal=True,
            repeats=("leads.email",),
        ),
        Column("contact.external_id", "text", "The customer's id elsewhere.", personal="id"),
        Column("location.country", "text", "Country, from the customer's address.", personal=False),
        Column("location.city", "text", "City, from the customer's address.", personal=True),
        Column("location.region", "text", "Region, from the customer's address.", personal=True),
        Column("location.zipcode", "text", "Postal code.", personal=True),
        Column("location.streetAddress", "text", "Street.", personal=True),
        Column("location.geometry", "json", "Coordinates, as GeoJSON.", personal=True),
        Column(
            "attributes",
            "json",
            "Free-form, with the server's own keys such as `last_message`.",
            personal=True,
        ),
        Column(
            "snapshot",
            "json",
            "Lead (kept up to date), requester and department as they were.",
            personal=True,
        ),
        Column("auto_close", "double", "How the conversation closes by itself, by the server."),
        Column("smartAssignment", "bool", "Whether the server may reassign it."),
        CREATED_BY,
        Column(
            "createdAt",
            "timestamp",
            "When it was created, by the server's clock: when the widget was opened, which may be"
            " before the customer's first message.",
        ),
        UPDATED_AT,
        VERSION,
    ),
    cursor="updated_at",
    copies={"id": "_id", "requester_id": "lead"},
    references=("requester", "lead", "department"),
    joined=("participatingAgents", "participatingBots"),
    lists=(
        _list(
            "requests",
            "participants",
            "Who takes part in a conversation now: users and bots. Those who left are not in it,"
            " and a participant need not have written: `messages.sender` tells who did.",
            _value(
                "participant",
                "`_id` of a user, or `bot_` and the `_id` of a bot.",
                personal="id",
                repeats=VISITOR,
            ),
        ),
        _list(
            "requests",
            "participantsAgents",
            "The users among the participants now; not all of them have written.",
            _value("agent", "`_id` of a user.", personal="id"),
        ),
        _list(
            "requests",
            "participantsBots",
            "The bots among the participants now; a bot leaves when a person joins.",
            _value("bot", "`_id` of a bot.", personal="id"),
        ),
        _list(
            "requests",
            "followers",
            "Members who follow a conversation.",
            _value("follower", "`_id` of a project user.", personal="id"),
        ),
        _list(
            "requests",
            "tags",
            "Tags of a conversation.",
            Column(
                "_id",
                "text",
                "Key of this use of the tag; not that of the tag library.",
                personal=False,
            ),
            Column("tag", "text", "The tag.", personal=False),
            Column("color", "text", "Colour, as CSS has it.", personal=False),
            Column("attributes", "json", "Free-form.", personal=True),
        ),
        _list(
            "requests",
            "notes",
            "Internal notes on a conversation.",
            _id("note"),
            Column("text", "text", "The note.", personal=True),
            Column("attributes", "json", "Free-form.", personal=True),
            Column("createdBy", "text", "`_id` of the user who wrote it.", personal="id"),
            CREATED_AT,
            UPDATED_AT,
        ),
    ),
)

MESSAGES = Table(
    "messages",
    "Messages of conversations, and between members, one row each.",
    (
        _id("message"),
        Column(
            "recipient",
            "text",
            "`requests.request_id` of the conversation; a user id for a direct message.",
            personal="id",
            repeats=CONVERSATION_ID,
        ),
        ID_PROJECT,
        Column(
            "sender",
            "text",
            "`leads.lead_id` of a customer, a user's `_id`, `bot_` and a bot's `_id`, or `system`."
            " A member who asks has a user's `_id` and is that conversation's customer.",
            personal="id",
            repeats=VISITOR,
        ),
        Column("senderFullname", "text", "The sender's name.", personal=True, repeats=NAMES),
        Column("recipientFullname", "text", "The recipient's name.", personal=True, repeats=NAMES),
        Column("type", "text", "text, image, frame, file, html, ...", personal=False),
        Column("channel_type", "text", "group or direct.", personal=False),
        Column("channel.name", "text", "Channel: chat21, whatsapp, email, ...", personal=False),
        Column("text", "text", "What was said.", personal=True),
        Column("language", "text", "Language.", personal=False),
        Column(
            "status",
            "bigint",
            "-100 failed, 0 sending, 100 sent, 150 delivered, 200 received, 250 receipt, 300 seen.",
        ),
        Column(
            "attributes",
            "json",
            "Free-form; what tells the kinds of messages apart is in `subtype`, `label_key` and"
            " `label_member_ids`, too.",
            personal=True,
        ),
        Column("metadata", "json", "Free-form, such as a file's address and size.", personal=True),
        Column(
            "attributes.subtype",
            "text",
            "`info` or `info/support` for a message of the server, `private` or `internal` for a"
            " note that the customer does not see; null for what was said.",
            personal=False,
            name="subtype",
            is_copy=True,
        ),
        Column(
            "attributes.messagelabel.key",
            "text",
            "What a message of the server reports: CHAT_CLOSED, CHAT_REOPENED, TOUCHING_OPERATOR"
            " (an agent was assigned), LEAD_UPDATED, ... A second close of a closed conversation"
            " reports CHAT_CLOSED again.",
            personal=False,
            name="label_key",
            is_copy=True,
        ),
        Column(
            "attributes.updateconversationfor",
            "text",
            "Members that TOUCHING_OPERATOR assigned: `project_users.user_id`, joined by commas. No"
            " such message is written for an assignment at creation, or beside a bot.",
            personal="id",
            name="label_member_ids",
            is_copy=True,
        ),
        CREATED_BY,
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
)

LEADS = Table(
    "leads",
    "Customers and visitors, one row each, as they are now; deleted ones have status 1000.",
    (
        _id("lead"),
        Column(
            "lead_id",
            "text",
            "The lead's id elsewhere, such as the visitor's; `messages.sender`.",
            personal="id",
        ),
        ID_PROJECT,
        Column("status", "bigint", "50 temporary, 100 normal, 1000 deleted."),
        Column("fullname", "text", "Name.", personal=True),
        Column("email", "text", "E-mail.", personal=True),
        Column("phone", "text", "Phone.", personal=True),
        Column("company", "text", "Company.", personal=True),
        Column("note", "text", "Note.", personal=True),
        Column("streetAddress", "text", "Street.", personal=True),
        Column("city", "text", "City.", personal=True),
        Column("region", "text", "Region.", personal=True),
        Column("zipcode", "text", "Postal code.", personal=True),
        Column("country", "text", "Country.", personal=False),
        Column("attributes", "json", "Free-form.", personal=True),
        Column("properties", "json", "Free-form, as the project has defined.", personal=True),
        CREATED_BY,
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="updated_at",
    lists=(
        _list(
            "leads",
            "tags",
            "Tags of a lead.",
            _value("tag", "The tag.", personal=False),
        ),
    ),
)

ACTIVITIES = Table(
    "activities",
    "The project's activity log. The server keeps 30 days; what was loaded stays.",
    (
        _id("activity"),
        ID_PROJECT,
        Column("verb", "text", "What happened: REQUEST_CREATE, REQUEST_CLOSE, ...", personal=False),
        Column("message", "text", "The same as an English sentence.", personal=True, repeats=NAMES),
        Column(
            "actor._id", "text", "Key of this entry of an actor.", name="actor_key", personal="id"
        ),
        Column("actor.type", "text", "user, system, bot, ...", personal=False),
        Column(
            "actor.id", "text", "Who did it: `_id` of a user or bot, or `system`.", personal="id"
        ),
        Column("actor.name", "text", "The actor's name.", personal=True, repeats=NAMES),
        Column(
            "target.type", "text", "What it was done to: request, project_user, ...", personal=False
        ),
        Column(
            "target.id",
            "text",
            "`_id` of the target; for a request `requests._id`.",
            personal="id",
        ),
        Column("target.object", "json", "The target as it was then.", personal=True),
        Column("related.role", "text", "Part that a further person had in it.", personal=False),
        Column("related.type", "text", "Kind of the further person.", personal=False),
        Column("related.id", "text", "`_id` of the further person.", personal="id"),
        Column("related.name", "text", "Name of the further person.", personal=True, repeats=NAMES),
        Column("related.object", "json", "The further person as of then.", personal=True),
        Column("actionObj", "json", "What was done, in detail.", personal=True),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
    lists=(
        _list(
            "activities",
            "involvedUserIds",
            "Users an activity concerns.",
            _value("user_id", "`_id` of a user.", personal="id"),
        ),
    ),
)

TABLES = (REQUESTS, MESSAGES, LEADS, ACTIVITIES)

LOADS = Table(
    "_tiledesk_loads",
    "What each load did, one row for each stream of a project, and for each package of a load in"
    " several.",
    (
        Column(
            "",
            "text",
            "Stream or small table.",
            name="resource",
            personal=False,
        ),
        Column("", "text", "The project.", name="id_project", personal=False),
        Column(
            "", "timestamp", "When reading began, by the clock of the machine.", name="started_at"
        ),
        Column(
            "",
            "timestamp",
            "The same by the server's clock, of the first of the loads that this one continues."
            " What changed up to then, less the lookback, is in the table if `outcome` is"
            " `complete`; `reconcile` compares up to there.",
            name="begun_at",
        ),
        Column("", "text", "Field that the window is about.", name="window_field", personal=False),
        Column("", "timestamp", "From when on was read; null: everything.", name="window_start"),
        Column(
            "", "timestamp", "Up to when was read, not included; null: open.", name="window_end"
        ),
        Column("", "timestamp", "How far had been read before.", name="cursor_before"),
        Column(
            "",
            "timestamp",
            "How far has been read, by the server's clock; null while a first load goes on.",
            name="cursor_after",
        ),
        Column("", "bigint", "Rows read. One that was read twice counts once.", name="rows_read"),
        Column(
            "",
            "bigint",
            "Of these, created after `cursor_before`; all where there is none.",
            name="rows_new",
        ),
        Column("", "bigint", "Older ones that changed after it.", name="rows_changed"),
        Column("", "bigint", "Calls made, those tried again included.", name="calls"),
        Column("", "bigint", "Calls tried again after a failure.", name="retries"),
        Column("", "double", "Seconds spent reading, pauses included.", name="seconds"),
        Column(
            "",
            "text",
            "`complete`: read to the end; `goes on`: the rest is for the next load; `skipped`: the"
            " user may not read it, or it was not believed; `failed`.",
            name="outcome",
            personal=False,
        ),
        Column("", "text", "Why it failed, in a sentence.", name="error", personal=False),
        Column("", "text", "Version of the connector.", name="version", personal=False),
        Column(
            "",
            "text",
            "Id of the run: the same for all packages of a load, of all its projects. Null for a"
            " run of the source without the command line.",
            name="run_id",
            personal=False,
        ),
    ),
)
