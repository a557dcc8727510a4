"""Bots, and what they say and do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from .. import errors
from ..arrow import Row, read_page, texts
from ..tables import ID_PROJECT, Column
from ..typed import RawRow, undecoded
from .declaration import SIGNED, STAMPS, SmallTable
from .reader import ADMIN, ProjectReader

FAQ_LIMIT = 100_000  # of one bot at once: they come in no order that could be paged through
ID = re.compile("[0-9a-f]{24}")


def _bots(reader: ProjectReader, _: str) -> Iterator[list[Row]]:
    yield reader.bots
    if reader.rank < ADMIN:
        return
    for key, address in zip(texts(reader.bots, "_id"), texts(reader.bots, "url"), strict=True):
        # the address ends with the id of the last published version; before, with the bot's own id
        fork = (address or "").rpartition("/")[2]
        if key and fork != key and ID.fullmatch(fork):
            yield _published(reader, key, fork)


def _published(reader: ProjectReader, bot: str, newest: str) -> list[Row]:
    """The published versions of a bot; an older server gives only the newest."""
    try:
        forks = reader.rows_of(f"bots/{bot}/published")
    except errors.NoSuchPath:
        try:
            forks = read_page(b"[" + reader.project.get(f"bots/{newest}") + b"]").rows
        except errors.Rejected:  # it was deleted
            return []
    rows = map(undecoded, forks)
    return [{**row, **_id_alone(row, "publishedBy")} for row in rows]


def _id_alone(row: RawRow, field: str) -> RawRow:
    """The field with the ``_id`` of the object that the server has put there."""
    with suppress(msgspec.ValidationError):
        return {field: msgspec.json.decode(row[field], type=RawRow)["_id"]} if field in row else {}
    return {}


def _faq(reader: ProjectReader, _: str) -> Iterator[list[Row]]:
    for key in texts(reader.bots, "_id"):
        yield from reader.whole("faq", id_faq_kb=key or "", limit=FAQ_LIMIT)


BOTS = SmallTable(
    "bots",
    "Bots, and the published versions of them that conversations refer to.",
    (
        Column("_id", "text", "Key of the bot; participants have it after `bot_`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("slug", "text", "Name as addresses have it.", personal=False),
        Column("type", "text", "tilebot, internal, external, identity, ...", personal=False),
        Column("subtype", "text", "chatbot, voice, webhook, copilot, ...", personal=False),
        Column(
            "root_id", "text", "Of a published version: the bot it was made from.", personal="id"
        ),
        Column("publishedBy", "text", "Of a published version: `_id` of the user.", personal="id"),
        Column("publishedAt", "timestamp", "Of a published version: when."),
        Column("release_note", "text", "Of a published version: what is new.", personal=True),
        Column("trashed", "bool", "True for published versions."),
        Column("trashedAt", "timestamp", "When it was removed."),
        Column("modified", "bool", "Whether it was changed since it was published."),
        Column("description", "text", "Description.", personal=True),
        Column("short_description", "text", "The same, shorter.", personal=True),
        Column("title", "text", "Title.", personal=True),
        Column("mainCategory", "text", "Category among templates.", personal=False),
        Column("language", "text", "Language.", personal=False),
        Column("url", "text", "Where it answers.", personal=True),
        Column("webhook_url", "text", "Where it asks.", personal=True),
        Column("webhook_enabled", "bool", "Whether it asks there."),
        Column("intentsEngine", "text", "How it recognizes what is meant.", personal=False),
        Column("public", "bool", "Whether others may copy it."),
        Column("certified", "bool", "Whether it is one of Tiledesk's templates."),
        Column("certifiedTags", "json", "Tags as a template.", personal=True),
        Column("tags", "json", "Tags.", personal=True),
        Column("score", "double", "Rank among templates."),
        Column("trained", "bool", "Whether it has learned its intents."),
        Column("agents_available", "bool", "Whether agents may see it."),
        Column("attributes", "json", "The designer's own, without variables.", personal=True),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=_bots,
    is_cut_for_agents=True,
)

FAQ = SmallTable(
    "faq",
    "What bots say and do: questions, answers and actions. Loaded by option.",
    (
        Column("_id", "text", "Key of the entry.", personal=False),
        ID_PROJECT,
        Column("id_faq_kb", "text", "The bot: `bots._id`.", personal="id"),
        Column(
            "intent_id",
            "text",
            "Key of the intent, the same in all versions of a bot.",
            personal="id",
        ),
        Column("intent_display_name", "text", "Name of the intent.", personal=False),
        Column("question", "text", "What customers ask.", personal=True),
        Column("answer", "text", "What the bot says.", personal=True),
        Column("reply", "json", "What the bot says, as a message.", personal=True),
        Column("actions", "json", "What the bot does.", personal=True),
        Column("form", "json", "What the bot asks for.", personal=True),
        Column("enabled", "bool", "Whether it is in use."),
        Column("webhook_enabled", "bool", "Whether the bot asks another service."),
        Column("topic", "text", "Topic.", personal=False),
        Column("status", "text", "live, ...", personal=False),
        Column("language", "text", "Language.", personal=False),
        Column("agents_available", "bool", "Whether agents may see it."),
        Column("trashed", "bool", "Whether it was removed."),
        Column("trashedAt", "timestamp", "When it was removed."),
        Column("attributes", "json", "The designer's own.", personal=True),
        *SIGNED,
    ),
    copies={"faq_kb": "id_faq_kb", "id": "_id"},
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=_faq,
    is_cut_for_agents=True,
    is_optional=True,
)
