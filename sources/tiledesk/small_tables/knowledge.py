"""Knowledge bases, their contents, and the questions they were asked."""

from __future__ import annotations

from collections.abc import Iterator

from ..arrow import Row, texts
from ..tables import CONVERSATION_ID, CREATED_AT, ID_PROJECT, UPDATED_AT, VERSION, VISITOR, Column
from .declaration import STAMPS, TEXT, SmallTable
from .reader import ProjectReader


def _contents(reader: ProjectReader, _: str) -> Iterator[list[Row]]:
    for key in texts(reader.namespaces, "_id"):
        yield from reader.pages("kb", "kbs", sort="sortField", namespace=key or "")


def _questions(reader: ProjectReader, path: str, since: str) -> Iterator[list[Row]]:
    for key in texts(reader.namespaces, "_id"):
        yield from reader.pages(f"{path}/{key}", "questions", sort="sortField", since=since)


KB_NAMESPACES = SmallTable(
    "kb_namespaces",
    "Knowledge bases.",
    (
        Column("_id", "text", "Key of the knowledge base: the API's `id`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("default", "bool", "Whether it is the first one.", name="is_default"),
        Column("hybrid", "bool", "Whether it searches by words, too."),
        Column("preview_settings", "json", "Model and settings of its preview.", personal=True),
        Column("engine", "json", "Where its contents are kept.", personal=True),
        Column("embedding", "json", "How its contents are compared.", personal=True),
        CREATED_AT,
        UPDATED_AT,
    ),
    copies={"id": "_id"},
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: iter([reader.namespaces]),
)

KB_CONTENTS = SmallTable(
    "kb_contents",
    "Contents of the knowledge bases: pages, files, questions with answers.",
    (
        Column("_id", "text", "Key of the content; a target of activities.", personal=False),
        ID_PROJECT,
        Column("namespace", "text", "The knowledge base: `kb_namespaces._id`.", personal="id"),
        Column("name", "text", "Name.", personal=True),
        Column("type", "text", "url, sitemap, text, faq, pdf, docx, ...", personal=False),
        Column("source", "text", "Where it is from.", personal=True),
        Column("url", "text", "The same as an address.", personal=True),
        Column("content", "text", "The text itself; empty for pages.", personal=True),
        Column("status", "bigint", "-1 new, 0 to 2 being read, 300 read, 400 failed."),
        Column("scrape_type", "bigint", "How the page is read."),
        Column("scrape_options", "json", "What of the page is read.", personal=True),
        Column("refresh_rate", "text", "How often it is read again.", personal=False),
        Column("last_refresh", "timestamp", "When it was last read."),
        Column("last_error", "json", "Why it could not be read.", personal=True),
        Column(
            "sitemap_origin_id",
            "text",
            "The sitemap it is from: `kb_contents._id`.",
            personal="id",
        ),
        Column("sitemap_origin", "text", "The same as an address.", personal=True),
        Column("tags", "json", "Tags.", personal=True),
        Column("situated_context", "bool", "Whether parts are put into context."),
        Column("chunk_regex", "text", "Where it is cut into parts.", personal=True),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    is_snapshot=True,
    volatile=(*STAMPS, "last_refresh"),
    is_about_customers=False,
    read_rows=_contents,
)

UNANSWERED_QUESTIONS = SmallTable(
    "unanswered_questions",
    "Questions that a knowledge base had no answer to. The server keeps 7 days; what was loaded"
    " stays.",
    (
        Column("_id", "text", "Key of the question.", personal=False),
        ID_PROJECT,
        Column("namespace", "text", "The knowledge base: `kb_namespaces._id`.", personal="id"),
        Column("question", "text", "What was asked.", personal=True, repeats=TEXT),
        Column(
            "request_id",
            "text",
            "The conversation: `requests.request_id`.",
            personal="id",
            repeats=CONVERSATION_ID,
        ),
        Column("sender", "text", "Who asked.", personal="id", repeats=VISITOR),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
    is_about_customers=True,
    read_rows=lambda reader, since: _questions(reader, "kb/unanswered", since),
    is_of_people=True,
)

ANSWERED_QUESTIONS = SmallTable(
    "answered_questions",
    "Questions that a knowledge base has answered. The server keeps 7 days; what was loaded stays.",
    (
        Column("_id", "text", "Key of the question.", personal=False),
        ID_PROJECT,
        Column("namespace", "text", "The knowledge base: `kb_namespaces._id`.", personal="id"),
        Column("question", "text", "What was asked.", personal=True, repeats=TEXT),
        Column("answer", "text", "What was answered.", personal=True, repeats=TEXT),
        Column("tokens", "bigint", "Tokens that the answer took."),
        Column(
            "request_id",
            "text",
            "The conversation: `requests.request_id`.",
            personal="id",
            repeats=CONVERSATION_ID,
        ),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
    is_about_customers=True,
    read_rows=lambda reader, since: _questions(reader, "kb/answered", since),
    is_of_people=True,
)
