"""What agents work with: tags, prepared answers, fields and searches of leads."""

from __future__ import annotations

from ..tables import ID_PROJECT, Column
from .declaration import KEY, SIGNED, STAMPS, SmallTable

TAGS_PER_PAGE = 40  # fixed by the server (contract 3)
CANNED_PER_PAGE = 1000  # fixed by the server

TAGS = SmallTable(
    "tags",
    "The library of tags. Conversations hold copies: join by the text of the tag.",
    (
        KEY,
        ID_PROJECT,
        Column("tag", "text", "The tag; `requests__tags.tag`.", personal=False),
        Column("color", "text", "Colour, as CSS has it.", personal=False),
        Column("attributes", "json", "Free-form.", personal=True),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: reader.pages("tags", size=TAGS_PER_PAGE),
)

CANNED_RESPONSES = SmallTable(
    "canned_responses",
    "Prepared answers: shared ones, and those of the user who loads.",
    (
        KEY,
        ID_PROJECT,
        Column("title", "text", "Title.", personal=True),
        Column("text", "text", "The answer.", personal=True),
        Column("shared", "bool", "Whether all members may use it."),
        Column("status", "bigint", "100 in use."),
        Column("attributes", "json", "Free-form.", personal=True),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: reader.pages("canned", size=CANNED_PER_PAGE),
)

PROPERTIES = SmallTable(
    "properties",
    "Fields that the project has defined for leads.",
    (
        KEY,
        ID_PROJECT,
        Column("label", "text", "Name that people read.", personal=False),
        Column("name", "text", "Name in `leads.properties`.", personal=False),
        Column("type", "text", "Type.", personal=False),
        Column("status", "bigint", "100 in use."),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: reader.pages("properties"),
)

SEGMENTS = SmallTable(
    "segments",
    "Saved searches for leads.",
    (
        KEY,
        ID_PROJECT,
        Column("name", "text", "Name.", personal=True),
        Column("match", "text", "all or any of the filters.", personal=False),
        Column("filters", "json", "The filters: field, operator, value.", personal=True),
        Column("status", "bigint", "100 in use."),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: reader.pages("segments", "segments"),
    is_of_people=True,
)
