"""Events of widgets and bots."""

from __future__ import annotations

from ..tables import CREATED_AT, CREATED_BY, ID_PROJECT, UPDATED_AT, VERSION, Column
from .declaration import SmallTable

EVENTS_PER_PAGE = 40  # fixed by the server (contract 3)

EVENTS = SmallTable(
    "events",
    "Events of widgets and bots. Loaded by option: the server keeps one hour, so that what happens"
    " between two loads further apart is lost. What was loaded stays.",
    (
        Column("_id", "text", "Key of the event.", personal=False),
        ID_PROJECT,
        Column("name", "text", "What happened, such as `faqbot.answer_not_found`.", personal=False),
        Column("attributes", "json", "Free-form, often with a whole message.", personal=True),
        Column("project_user", "text", "Whose it is: `project_users._id`.", personal="id"),
        Column("status", "text", "As the server sets it.", personal=False),
        CREATED_BY,
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
    is_about_customers=True,
    read_rows=lambda reader, since: reader.pages(
        "events", "events", size=EVENTS_PER_PAGE, since=since
    ),
    is_of_people=True,
    is_optional=True,
    is_read_by_every_load=True,
)
