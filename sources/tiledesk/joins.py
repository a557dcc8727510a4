"""Declares once which row of another table a column refers to (contract 5)."""

from __future__ import annotations

from dataclasses import dataclass

from .small_tables import ALL_TABLES, HISTORY
from .tables import ACTIVITIES, ID_PROJECT, MESSAGES, PARENT_ID, REQUESTS, Table

AN_ID = "^[0-9a-f]{24}$"
DATASET = "tiledesk"


@dataclass(frozen=True)
class Join:
    """A column that refers to rows of another table.

    Attributes:
        cardinality: the number of rows on each side, in the notation of Mermaid.
        remark: says which rows it applies to.
        prefix: text before the value in the other column.
        where: the rows it applies to, as SQL about `a`; empty: those where the column is not null.
        is_sure: whether each of these rows has a partner. Others may refer to rows that the API
            does not list, or lists no longer.
        by_project: whether the value is only unique within its project.
    """

    table: str
    column: str
    to_table: str
    to_column: str
    cardinality: str = "}o--o|"
    remark: str = ""
    prefix: str = ""
    where: str = ""
    is_sure: bool = True
    by_project: bool = False

    def __str__(self) -> str:
        prefix = f"'{self.prefix}' || " if self.prefix else ""
        return f"{self.table}.{self.column} = {prefix}{self.to_table}.{self.to_column}"

    @property
    def rows(self) -> str:
        """The condition for the rows it applies to, as SQL about `a`."""
        conditions = [f"a.{self.column} IS NOT NULL", self.where]
        if self.table in HISTORY:
            conditions.append("a._dlt_valid_to IS NULL")
        return " AND ".join(filter(None, conditions))

    def sql(self, select: str = "a.*, b.*") -> str:
        """The join as a query for DuckDB and Postgres: `a` is the table, `b` the other table."""
        prefix = f"'{self.prefix}' || " if self.prefix else ""
        lines = [f"SELECT {select}", f"FROM {DATASET}.{self.table} AS a"]
        conditions = [f"a.{self.column} = {prefix}b.{self.to_column}"]
        if self.by_project:
            side = "a"
            if not _has_project(self.table):
                parent = self.table.partition("__")[0]
                lines.append(f"JOIN {DATASET}.{parent} AS p ON p._id = a.{PARENT_ID}")
                side = "p"
            conditions.append(f"{side}.{ID_PROJECT.name} = b.{ID_PROJECT.name}")
        if self.to_table in HISTORY:
            conditions.append("b._dlt_valid_to IS NULL")
        lines.append(f"LEFT JOIN {DATASET}.{self.to_table} AS b ON {' AND '.join(conditions)}")
        lines.append(f"WHERE {self.rows}")
        return "\n".join(lines)


def _has_project(name: str) -> bool:
    parts = {part.name: part for root in ALL_TABLES for part in root.with_lists()}
    return any(column.name == ID_PROJECT.name for column in parts[name].all_columns())


def _user(table: Table, column: str, remark: str = "", where: str = "", sure: bool = True) -> Join:
    part = column.rpartition("/")[0]
    name = f"{table.name}__{part}" if part else table.name
    return Join(
        name,
        column.rpartition("/")[2],
        "project_users",
        "user_id",
        remark=remark,
        where=where,
        is_sure=sure,
        by_project=True,
    )


BY_TABLE = {table.name: table for table in ALL_TABLES}
LEFT_FOR_GOOD = "Members who were removed for good are not listed any more."

JOINS = (
    Join(
        "messages",
        "recipient",
        "requests",
        "request_id",
        where="a.recipient LIKE 'support-group-%'",
        remark="Direct messages have a user id instead, messages to a group the group's id.",
    ),
    Join(
        "messages",
        "sender",
        "leads",
        "lead_id",
        is_sure=False,
        by_project=True,
        remark="Customers' messages only; members, bots and the server have no lead. Nothing keeps"
        " two leads from having the same `lead_id`.",
    ),
    _user(MESSAGES, "sender", "Members' messages only. " + LEFT_FOR_GOOD, f"a.sender ~ '{AN_ID}'"),
    Join(
        "messages",
        "sender",
        "bots",
        "_id",
        prefix="bot_",
        where="a.sender LIKE 'bot!_%' ESCAPE '!'",
        remark="Bots' messages only.",
    ),
    Join("requests", "lead", "leads", "_id", is_sure=False, remark="Where there still is a lead."),
    Join("requests", "department", "departments", "_id"),
    Join(
        "requests",
        "requester",
        "project_users",
        "_id",
        is_sure=False,
        remark="Members who asked; visitors only with the setting `visitors`.",
    ),
    _user(REQUESTS, "participants/participant", "Members only.", f"a.participant ~ '{AN_ID}'"),
    Join(
        "requests__participants",
        "participant",
        "bots",
        "_id",
        prefix="bot_",
        where="a.participant LIKE 'bot!_%' ESCAPE '!'",
        remark="Bots only.",
    ),
    _user(REQUESTS, "participants_agents/agent"),
    Join("requests__participants_bots", "bot", "bots", "_id"),
    Join("requests__followers", "follower", "project_users", "_id"),
    Join(
        "requests__tags",
        "tag",
        "tags",
        "tag",
        by_project=True,
        is_sure=False,
        remark="Tags that are in the library.",
    ),
    _user(REQUESTS, "notes/created_by"),
    Join(
        "activities",
        "target_id",
        "requests",
        "_id",
        where="a.target_type = 'request'",
        is_sure=False,
        remark="Where `target_type` is `request`. It is `_id`, not `request_id`.",
    ),
    Join(
        "activities",
        "target_id",
        "project_users",
        "_id",
        where="a.target_type = 'project_user'",
        remark="Where `target_type` is `project_user`.",
    ),
    Join(
        "activities",
        "target_id",
        "bots",
        "_id",
        where="a.target_type = 'faq_kb'",
        is_sure=False,
        remark="Where `target_type` is `faq_kb`.",
    ),
    _user(ACTIVITIES, "actor_id", "Where `actor_type` is `user`.", "a.actor_type = 'user'", False),
    _user(
        ACTIVITIES,
        "involved_user_ids/user_id",
        "Members; customers, bots and `system` are in the list, too.",
        sure=False,
    ),
    Join("departments", "id_group", "groups", "_id"),
    Join("departments__groups", "group_id", "groups", "_id"),
    Join("departments", "id_bot", "bots", "_id"),
    _user(BY_TABLE["groups"], "members/member"),
    Join("bots", "root_id", "bots", "_id", remark="Of a published version: what it was made from."),
    _user(BY_TABLE["bots"], "published_by"),
    Join("faq", "id_faq_kb", "bots", "_id"),
    Join("kb_contents", "namespace", "kb_namespaces", "_id", by_project=True),
    Join("unanswered_questions", "namespace", "kb_namespaces", "_id", by_project=True),
    Join("answered_questions", "namespace", "kb_namespaces", "_id", by_project=True),
    Join("unanswered_questions", "request_id", "requests", "request_id", is_sure=False),
    Join("answered_questions", "request_id", "requests", "request_id", is_sure=False),
    Join("events", "project_user", "project_users", "_id", is_sure=False),
    Join(
        "project_users",
        "uuid_user",
        "leads",
        "lead_id",
        by_project=True,
        is_sure=False,
        remark="Visitors only, with the setting `visitors`.",
    ),
    *(
        Join(part.name, PARENT_ID, root.name, "_id", "}o--||")
        for root in ALL_TABLES
        for part in root.lists
    ),
)

# The sender of a message: one of the four that `messages.sender` can refer to.
SENDERS = f"""SELECT m._id,
       CASE WHEN m.sender = 'system' THEN 'system' WHEN b._id IS NOT NULL THEN 'bot'
            WHEN u._id IS NOT NULL THEN 'member' WHEN l._id IS NOT NULL THEN 'customer'
       END AS kind,
       coalesce(b.name, u.firstname || ' ' || u.lastname, l.fullname) AS name
FROM {DATASET}.messages AS m
LEFT JOIN {DATASET}.bots AS b ON m.sender = 'bot_' || b._id
LEFT JOIN {DATASET}.project_users AS u
  ON u.user_id = m.sender AND u.id_project = m.id_project AND u._dlt_valid_to IS NULL
LEFT JOIN (
  SELECT lead_id, id_project, min(_id) AS _id, min(fullname) AS fullname
  FROM {DATASET}.leads GROUP BY lead_id, id_project
) AS l ON l.lead_id = m.sender AND l.id_project = m.id_project"""  # noqa: S608 (our own names)
