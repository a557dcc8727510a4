"""What is erased together with a conversation or a person: one rule for each table.

A person is a lead. A purge erases conversations, messages, leads and log entries that are marked as
deleted, and leads that were deleted in the dashboard (status 1000). A conversation that Tiledesk
still has stays if its lead is erased; the copies of the lead's data in it are emptied.

The conditions are SQL for DuckDB, Postgres and others. These names stand for queries:

- ``{conversations}`` and ``{leads_gone}``: the ``_id`` of rows that are erased now or were before.
- ``{messages_gone}``: the ``_id`` of messages that were erased before.
- ``{request_ids}``: the request ids of the conversations.
- ``{lead_ids}``: the project and ``lead_id`` of people who have no other lead left.

``{mentions}`` is true for a row that contains one of the request ids in a personal column.
``{mentions_lead}`` is the same for leads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """What is erased of a table.

    Attributes:
        rows: conditions on the rows that are removed, one of which is enough; rows that are marked
            as deleted are removed in any case.
        emptied: conditions on the rows that are kept and whose `columns` are emptied.
        columns: the columns that hold copies of a person's data.
    """

    rows: tuple[str, ...] = ()
    emptied: str = ""
    columns: tuple[str, ...] = ()


OF_A_CONVERSATION = "request_id IN ({request_ids})"
SENT_BY_A_LEAD = "(id_project, sender) IN ({lead_ids})"
# In this order: a rule may use the tables that come later.
RULES: dict[str, Rule] = {
    "messages": Rule(
        (
            "recipient IN ({request_ids})",
            # erased before, and loaded again from what the server kept
            "(_id IN ({messages_gone}) AND recipient NOT IN ({living_request_ids}))",
        ),
        emptied=SENT_BY_A_LEAD,
        columns=("sender_fullname", "attributes", "metadata", "_extra"),
    ),
    "activities": Rule(
        ("(target_type = 'request' AND target_id IN ({conversations}))", "{mentions}"),
        emptied="(target_id IN ({leads_gone}) OR actor_id IN ({leads_gone})"
        " OR related_id IN ({leads_gone}) OR (id_project, actor_id) IN ({lead_ids})"
        " OR (id_project, related_id) IN ({lead_ids}) OR {mentions_lead})",
        columns=(
            "message",
            "actor_name",
            "target_object",
            "related_name",
            "related_object",
            "action_obj",
            "_extra",
        ),
    ),
    "unanswered_questions": Rule((OF_A_CONVERSATION, SENT_BY_A_LEAD)),
    "answered_questions": Rule((OF_A_CONVERSATION,)),
    "events": Rule(("project_user IN ({visitors})", "{mentions}", "{mentions_lead}")),
    # all versions of a visitor
    "project_users": Rule(("(id_project, uuid_user) IN ({lead_ids})",)),
    "requests": Rule(
        emptied="lead IN ({leads_gone})",
        columns=(
            "requester",  # the visitor, whose row is removed
            "contact_phone",
            "contact_email",
            "contact_external_id",
            "location_city",
            "location_region",
            "location_zipcode",
            "location_street_address",
            "location_geometry",
            "source_page",
            "user_agent",
            "snapshot",
            "transcript",
            "attributes",
            "_extra",
        ),
    ),
    "leads": Rule(("status = 1000",)),
}

# Columns of rows that stay, which still hold the opaque ``_id`` of an erased lead.
KEEP_THE_KEY = frozenset(
    {
        ("requests", "lead"),
        ("requests__participants", "participant"),
        ("activities", "target_id"),
        ("activities", "actor_id"),
        ("activities", "related_id"),
        ("activities__involved_user_ids", "user_id"),
        ("messages", "sender"),
        ("messages", "recipient"),
    }
)
