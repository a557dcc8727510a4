"""The project, its members and how they are organized."""

from __future__ import annotations

from collections.abc import Iterator

from ..arrow import Row
from ..tables import ID_PROJECT, VERSION, VISITOR, Column, Table
from .declaration import AS_OF, KEY, SIGNED, STAMPS, SmallTable
from .reader import ProjectReader

VISITORS = ("guest", "user")  # the roles of project users that are no members of the team


def _project_users(reader: ProjectReader, _: str) -> Iterator[list[Row]]:
    yield from reader.whole("project_users", trashed="true")
    for role in VISITORS if reader.visitors else ():
        yield from reader.whole("project_users", trashed="true", role=role)


PROJECTS = SmallTable(
    "projects",
    "The project itself.",
    (
        KEY,
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("status", "bigint", "100 active, 0 deleted."),
        Column(
            "profile", "json", "The plan: name, type, agents, trial and paid days.", personal=True
        ),
        Column("settings", "json", "Settings of routing, e-mail and limits.", personal=True),
        Column("widget", "json", "Settings of the chat widget.", personal=True),
        Column("activeOperatingHours", "bool", "Whether there are opening hours."),
        Column("operatingHours", "json", "Opening hours, with their time zone.", personal=False),
        Column("timeSlots", "json", "Further opening hours, by name.", personal=True),
        Column("channels", "json", "Channels that are set up.", personal=True),
        Column("attributes", "json", "Free-form.", personal=True),
        Column("versions", "bigint", "Version of the project's format."),
        Column("organization", "text", "The organization it belongs to.", personal=True),
        Column("ipFilterEnabled", "bool", "Whether only some addresses are let in."),
        Column("ipFilter", "json", "Addresses that are let in.", personal=True),
        Column("ipFilterDenyEnabled", "bool", "Whether some addresses are kept out."),
        Column("ipFilterDeny", "json", "Addresses that are kept out.", personal=True),
        Column("bannedUsers", "json", "Customers who are kept out.", personal=True),
        Column("trialExpired", "bool", "Whether the trial is over; by the clock."),
        Column("trialDaysLeft", "bigint", "Days of the trial that are left; by the clock."),
        Column("isActiveSubscription", "bool", "Whether the plan is paid for; by the clock."),
        *SIGNED,
    ),
    copies={"id": "_id"},
    is_snapshot=True,
    volatile=(*STAMPS, "trial_expired", "trial_days_left", "is_active_subscription"),
    is_about_customers=False,
    read_rows=lambda reader, _: iter([[reader.document]]),
    is_never_empty=True,
)

PROJECT_USERS = SmallTable(
    "project_users",
    "Members of the team with their accounts, former ones too; visitors by option.",
    (
        Column(
            "_id",
            "text",
            "Key of the membership; `requests.requester` and followers.",
            personal=False,
        ),
        ID_PROJECT,
        Column(
            "id_user._id",
            "text",
            "The user: `messages.sender`, participants, `createdBy`; null for visitors.",
            personal="id",
            name="user_id",
        ),
        Column(
            "uuid_user", "text", "The visitor: `leads.lead_id`.", personal="id", repeats=VISITOR
        ),
        Column(
            "role",
            "text",
            "owner, admin, supervisor, agent, ..., or a role of the project's own.",
            personal=False,
        ),
        Column("roleType", "bigint", "1 member of the team, 2 visitor."),
        Column("status", "text", "active or disabled.", personal=False),
        Column("trashed", "bool", "Whether the member was removed."),
        Column("permissions", "json", "Permissions given to this member alone.", personal=False),
        Column("user_available", "bool", "Whether they take conversations now." + AS_OF),
        Column("profileStatus", "text", "What they say they are doing." + AS_OF, personal=True),
        Column("presence.status", "text", "online or offline." + AS_OF, personal=False),
        Column("presence.changedAt", "timestamp", "When that changed." + AS_OF),
        Column("isBusy", "bool", "Whether they have as many conversations as they may." + AS_OF),
        Column("isAuthenticated", "bool", "Whether they have an account."),
        Column("number_assigned_requests", "bigint", "Conversations they have now." + AS_OF),
        Column("max_assigned_chat", "bigint", "Conversations they may have at a time."),
        Column("last_login_at", "timestamp", "Last sign-in." + AS_OF),
        Column("settings", "json", "The member's own settings.", personal=True),
        Column("attributes", "json", "Free-form.", personal=True),
        Column("tags", "json", "Tags of the member.", personal=True),
        Column("id_user.email", "text", "E-mail.", personal=True, name="email"),
        Column("id_user.firstname", "text", "First name.", personal=True, name="firstname"),
        Column("id_user.lastname", "text", "Last name.", personal=True, name="lastname"),
        Column("id_user.phone", "text", "Phone.", personal=True, name="phone"),
        Column(
            "id_user.description",
            "text",
            "What they say about themselves.",
            personal=True,
            name="description",
        ),
        Column(
            "id_user.public_email",
            "text",
            "E-mail that customers see.",
            personal=True,
            name="public_email",
        ),
        Column(
            "id_user.public_website",
            "text",
            "Website that customers see.",
            personal=True,
            name="public_website",
        ),
        Column(
            "id_user.attributes",
            "json",
            "Free-form, of the account.",
            personal=True,
            name="user_attributes",
        ),
        Column(
            "id_user.status", "bigint", "The account: 100 active, 0 deleted.", name="user_status"
        ),
        Column(
            "id_user.emailverified",
            "bool",
            "Whether the e-mail was confirmed.",
            name="emailverified",
        ),
        Column(
            "id_user.signedInAt",
            "timestamp",
            "Last sign-in of the account." + AS_OF,
            name="signed_in_at",
        ),
        Column(
            "id_user.createdAt",
            "timestamp",
            "When the account was created.",
            name="user_created_at",
        ),
        Column(
            "id_user.updatedAt",
            "timestamp",
            "When the account last changed." + AS_OF,
            name="user_updated_at",
        ),
        Column("id_user.__v", "bigint", "Mongoose's `__v` of the account.", name="user_version"),
        *SIGNED,
    ),
    copies={"id": "_id"},
    is_snapshot=True,
    volatile=(
        *STAMPS,
        "user_available",
        "profile_status",
        "presence_status",
        "presence_changed_at",
        "is_busy",
        "number_assigned_requests",
        "last_login_at",
        "signed_in_at",
        "user_updated_at",
        "user_version",
    ),
    is_about_customers=True,
    read_rows=_project_users,
    is_never_empty=True,
    keeps_history=True,
    is_of_people=True,
)

DEPARTMENTS = SmallTable(
    "departments",
    "Departments, those that customers do not see too.",
    (
        Column("_id", "text", "Key of the department; `requests.department`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("description", "text", "Description.", personal=True),
        Column(
            "routing",
            "text",
            "assigned: the server picks an agent; pooled: agents do.",
            personal=False,
        ),
        Column(
            "default", "bool", "Whether it is where conversations go by default.", name="is_default"
        ),
        Column("status", "bigint", "1 visible, 0 hidden from customers."),
        Column("id_bot", "text", "The bot that answers first: `bots._id`.", personal="id"),
        Column("bot_only", "bool", "Whether only the bot answers; of older servers."),
        Column("id_group", "text", "The group that answers: `groups._id`.", personal="id"),
        Column(
            "groups",
            "json",
            "Groups that answer, with their shares.",
            personal="id",
            repeats=("departments__groups.group_id",),
        ),
        Column("online_msg", "text", "What customers read in opening hours.", personal=True),
        Column("offline_msg", "text", "What customers read outside of them.", personal=True),
        Column("tags", "json", "Tags of the department.", personal=True),
        Column("hasBot", "bool", "Whether there is a bot."),
        *SIGNED,
    ),
    copies={"id": "_id"},
    is_snapshot=True,
    volatile=STAMPS,
    lists=(
        Table(
            "departments__groups",
            "Groups that share a department, as they are now.",
            (
                Column("_id", "text", "Key of this entry.", personal=False),
                Column(
                    "group_id",
                    "text",
                    "`groups._id`.",
                    personal="id",
                    repeats=("departments.groups",),
                ),
                Column("percentage", "double", "Share of the conversations, in percent."),
            ),
            source="groups",
            is_snapshot=True,
        ),
    ),
    is_about_customers=False,
    read_rows=lambda reader, _: reader.whole("departments/allstatus"),
    is_never_empty=True,
    is_cut_by_plan=True,
    keeps_history=True,
)

GROUPS = SmallTable(
    "groups",
    "Groups of members.",
    (
        Column("_id", "text", "Key of the group; `departments.id_group`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("enabled", "bool", "Whether it is in use."),
        Column("trashed", "bool", "Always false: the server does not list removed ones."),
        Column(
            "members",
            "json",
            "`_id` of the users; part of the version.",
            personal="id",
            repeats=("groups__members.member",),
        ),
        Column("attributes", "json", "Free-form.", personal=True),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    lists=(
        Table(
            "groups__members",
            "Members of a group, as they are now.",
            (
                Column(
                    "",
                    "text",
                    "`_id` of a user: `project_users.user_id`.",
                    personal="id",
                    repeats=("groups.members",),
                    name="member",
                ),
            ),
            source="members",
            is_snapshot=True,
        ),
    ),
    is_about_customers=False,
    read_rows=lambda reader, _: reader.whole("groups"),
    keeps_history=True,
)

PENDING_INVITATIONS = SmallTable(
    "pending_invitations",
    "People who were invited and have no account yet.",
    (
        Column("_id", "text", "Key of the invitation; a target of activities.", personal=False),
        ID_PROJECT,
        Column("email", "text", "E-mail.", personal=True),
        Column("role", "text", "Role they will have.", personal=False),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: reader.whole("pendinginvitations"),
    is_of_people=True,
)

ROLES = SmallTable(
    "roles",
    "Roles of the project's own.",
    (
        KEY,
        ID_PROJECT,
        Column("name", "text", "Name; `project_users.role`.", personal=False),
        Column("permissions", "json", "What they may do.", personal=False),
        VERSION,
    ),
    is_snapshot=True,
    volatile=STAMPS,
    is_about_customers=False,
    read_rows=lambda reader, _: reader.pages("roles"),
)
