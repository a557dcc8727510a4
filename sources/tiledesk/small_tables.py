"""The tables beside the four streams: who works in a project, and with what. Declared in one style.

Most are snapshots: read whole, all rows of a project replaced together. Questions of the knowledge
base and events are facts that the server soon forgets: what was loaded stays.
"""

from __future__ import annotations

from .tables import CREATED_AT, CREATED_BY, ID_PROJECT, TABLES, UPDATED_AT, VERSION, Column, Table

KEY = Column("_id", "text", "Key of the row.", personal=False)
# of a visitor it is the visitor's own id, which may be a phone number
MADE_BY = Column(
    "createdBy", "text", "Who created it: `_id` of a user, or `system`.", personal="id"
)
SIGNED = (MADE_BY, CREATED_AT, UPDATED_AT, VERSION)
# A new stamp or count alone is no new version of a row.
STAMPS = ("updated_at", "version")
AS_OF = " Where the table keeps history, as it was when this version was first read."

PROJECTS = Table(
    "projects",
    "The project itself.",
    (
        KEY,
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("status", "bigint", "100 active, 0 deleted."),
        Column(
            "profile", "json", "The plan: name, type, agents, trial and paid days.", personal=False
        ),
        Column("settings", "json", "Settings of routing, e-mail and limits.", personal=True),
        Column("widget", "json", "Settings of the chat widget.", personal=True),
        Column("activeOperatingHours", "bool", "Whether there are opening hours."),
        Column("operatingHours", "json", "Opening hours, with their time zone.", personal=False),
        Column("timeSlots", "json", "Further opening hours, by name.", personal=False),
        Column("channels", "json", "Channels that are set up.", personal=False),
        Column("attributes", "json", "Free-form.", personal=True),
        Column("versions", "bigint", "Version of the project's format."),
        Column("organization", "text", "The organization it belongs to.", personal=False),
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
)

PROJECT_USERS = Table(
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
            personal=False,
            name="user_id",
        ),
        Column("uuid_user", "text", "The visitor: `leads.lead_id`.", personal="id"),
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
        Column("profileStatus", "text", "What they say they are doing." + AS_OF, personal=False),
        Column("presence.status", "text", "online or offline." + AS_OF, personal=False),
        Column("presence.changedAt", "timestamp", "When that changed." + AS_OF),
        Column("isBusy", "bool", "Whether they have as many conversations as they may." + AS_OF),
        Column("isAuthenticated", "bool", "Whether they have an account."),
        Column("number_assigned_requests", "bigint", "Conversations they have now." + AS_OF),
        Column("max_assigned_chat", "bigint", "Conversations they may have at a time."),
        Column("last_login_at", "timestamp", "Last sign-in." + AS_OF),
        Column("settings", "json", "The member's own settings.", personal=True),
        Column("attributes", "json", "Free-form.", personal=True),
        Column("tags", "json", "Tags of the member.", personal=False),
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
)

DEPARTMENTS = Table(
    "departments",
    "Departments, those that customers do not see too.",
    (
        Column("_id", "text", "Key of the department; `requests.department`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("description", "text", "Description.", personal=False),
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
        Column("id_bot", "text", "The bot that answers first: `bots._id`.", personal=False),
        Column("bot_only", "bool", "Whether only the bot answers; of older servers."),
        Column("id_group", "text", "The group that answers: `groups._id`.", personal=False),
        Column("groups", "json", "Groups that answer, with their shares.", personal=False),
        Column("online_msg", "text", "What customers read in opening hours.", personal=False),
        Column("offline_msg", "text", "What customers read outside of them.", personal=False),
        Column("tags", "json", "Tags of the department.", personal=False),
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
                Column("group_id", "text", "`groups._id`.", personal=False),
                Column("percentage", "double", "Share of the conversations, in percent."),
            ),
            source="groups",
            is_snapshot=True,
        ),
    ),
)

GROUPS = Table(
    "groups",
    "Groups of members.",
    (
        Column("_id", "text", "Key of the group; `departments.id_group`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("enabled", "bool", "Whether it is in use."),
        Column("trashed", "bool", "Always false: the server does not list removed ones."),
        Column("members", "json", "`_id` of the users; part of the version.", personal=False),
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
                    personal=False,
                    name="member",
                ),
            ),
            source="members",
            is_snapshot=True,
        ),
    ),
)

TAGS = Table(
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
)

BOTS = Table(
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
            "root_id", "text", "Of a published version: the bot it was made from.", personal=False
        ),
        Column("publishedBy", "text", "Of a published version: `_id` of the user.", personal=False),
        Column("publishedAt", "timestamp", "Of a published version: when."),
        Column("release_note", "text", "Of a published version: what is new.", personal=False),
        Column("trashed", "bool", "True for published versions."),
        Column("trashedAt", "timestamp", "When it was removed."),
        Column("modified", "bool", "Whether it was changed since it was published."),
        Column("description", "text", "Description.", personal=False),
        Column("short_description", "text", "The same, shorter.", personal=False),
        Column("title", "text", "Title.", personal=False),
        Column("mainCategory", "text", "Category among templates.", personal=False),
        Column("language", "text", "Language.", personal=False),
        Column("url", "text", "Where it answers.", personal=False),
        Column("webhook_url", "text", "Where it asks.", personal=False),
        Column("webhook_enabled", "bool", "Whether it asks there."),
        Column("intentsEngine", "text", "How it recognizes what is meant.", personal=False),
        Column("public", "bool", "Whether others may copy it."),
        Column("certified", "bool", "Whether it is one of Tiledesk's templates."),
        Column("certifiedTags", "json", "Tags as a template.", personal=False),
        Column("tags", "json", "Tags.", personal=False),
        Column("score", "double", "Rank among templates."),
        Column("trained", "bool", "Whether it has learned its intents."),
        Column("agents_available", "bool", "Whether agents may see it."),
        Column("attributes", "json", "The designer's own, without variables.", personal=True),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
)

FAQ = Table(
    "faq",
    "What bots say and do: questions, answers and actions. Loaded by option.",
    (
        Column("_id", "text", "Key of the entry.", personal=False),
        ID_PROJECT,
        Column("id_faq_kb", "text", "The bot: `bots._id`.", personal=False),
        Column(
            "intent_id",
            "text",
            "Key of the intent, the same in all versions of a bot.",
            personal=False,
        ),
        Column("intent_display_name", "text", "Name of the intent.", personal=False),
        Column("question", "text", "What customers ask.", personal=False),
        Column("answer", "text", "What the bot says.", personal=False),
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
)

CANNED_RESPONSES = Table(
    "canned_responses",
    "Prepared answers: shared ones, and those of the user who loads.",
    (
        KEY,
        ID_PROJECT,
        Column("title", "text", "Title.", personal=False),
        Column("text", "text", "The answer.", personal=True),
        Column("shared", "bool", "Whether all members may use it."),
        Column("status", "bigint", "100 in use."),
        Column("attributes", "json", "Free-form.", personal=True),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
)

PROPERTIES = Table(
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
)

SEGMENTS = Table(
    "segments",
    "Saved searches for leads.",
    (
        KEY,
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("match", "text", "all or any of the filters.", personal=False),
        Column("filters", "json", "The filters: field, operator, value.", personal=True),
        Column("status", "bigint", "100 in use."),
        *SIGNED,
    ),
    is_snapshot=True,
    volatile=STAMPS,
)

PENDING_INVITATIONS = Table(
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
)

ROLES = Table(
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
)

KB_NAMESPACES = Table(
    "kb_namespaces",
    "Knowledge bases.",
    (
        Column("_id", "text", "Key of the knowledge base: the API's `id`.", personal=False),
        ID_PROJECT,
        Column("name", "text", "Name.", personal=False),
        Column("default", "bool", "Whether it is the first one.", name="is_default"),
        Column("hybrid", "bool", "Whether it searches by words, too."),
        Column("preview_settings", "json", "Model and settings of its preview.", personal=True),
        Column("engine", "json", "Where its contents are kept.", personal=False),
        Column("embedding", "json", "How its contents are compared.", personal=False),
        CREATED_AT,
        UPDATED_AT,
    ),
    copies={"id": "_id"},
    is_snapshot=True,
    volatile=STAMPS,
)

KB_CONTENTS = Table(
    "kb_contents",
    "Contents of the knowledge bases: pages, files, questions with answers.",
    (
        Column("_id", "text", "Key of the content; a target of activities.", personal=False),
        ID_PROJECT,
        Column("namespace", "text", "The knowledge base: `kb_namespaces._id`.", personal=False),
        Column("name", "text", "Name.", personal=False),
        Column("type", "text", "url, sitemap, text, faq, pdf, docx, ...", personal=False),
        Column("source", "text", "Where it is from.", personal=False),
        Column("url", "text", "The same as an address.", personal=False),
        Column("content", "text", "The text itself; empty for pages.", personal=True),
        Column("status", "bigint", "-1 new, 0 to 2 being read, 300 read, 400 failed."),
        Column("scrape_type", "bigint", "How the page is read."),
        Column("scrape_options", "json", "What of the page is read.", personal=False),
        Column("refresh_rate", "text", "How often it is read again.", personal=False),
        Column("last_refresh", "timestamp", "When it was last read."),
        Column("last_error", "json", "Why it could not be read.", personal=True),
        Column(
            "sitemap_origin_id",
            "text",
            "The sitemap it is from: `kb_contents._id`.",
            personal=False,
        ),
        Column("sitemap_origin", "text", "The same as an address.", personal=False),
        Column("tags", "json", "Tags.", personal=False),
        Column("situated_context", "bool", "Whether parts are put into context."),
        Column("chunk_regex", "text", "Where it is cut into parts.", personal=False),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    is_snapshot=True,
    volatile=(*STAMPS, "last_refresh"),
)

UNANSWERED_QUESTIONS = Table(
    "unanswered_questions",
    "Questions that a knowledge base had no answer to. The server keeps 7 days; what was loaded"
    " stays.",
    (
        Column("_id", "text", "Key of the question.", personal=False),
        ID_PROJECT,
        Column("namespace", "text", "The knowledge base: `kb_namespaces._id`.", personal=False),
        Column("question", "text", "What was asked.", personal=True),
        Column("request_id", "text", "The conversation: `requests.request_id`.", personal="id"),
        Column("sender", "text", "Who asked.", personal="id"),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
)

ANSWERED_QUESTIONS = Table(
    "answered_questions",
    "Questions that a knowledge base has answered. The server keeps 7 days; what was loaded stays.",
    (
        Column("_id", "text", "Key of the question.", personal=False),
        ID_PROJECT,
        Column("namespace", "text", "The knowledge base: `kb_namespaces._id`.", personal=False),
        Column("question", "text", "What was asked.", personal=True),
        Column("answer", "text", "What was answered.", personal=True),
        Column("tokens", "bigint", "Tokens that the answer took."),
        Column("request_id", "text", "The conversation: `requests.request_id`.", personal="id"),
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
)

EVENTS = Table(
    "events",
    "Events of widgets and bots. Loaded by option: the server keeps one hour, so that what happens"
    " between two loads further apart is lost. What was loaded stays.",
    (
        Column("_id", "text", "Key of the event.", personal=False),
        ID_PROJECT,
        Column("name", "text", "What happened, such as `faqbot.answer_not_found`.", personal=False),
        Column("attributes", "json", "Free-form, often with a whole message.", personal=True),
        Column("project_user", "text", "Whose it is: `project_users._id`.", personal=False),
        Column("status", "text", "As the server sets it.", personal=False),
        CREATED_BY,
        CREATED_AT,
        UPDATED_AT,
        VERSION,
    ),
    cursor="created_at",
)

SNAPSHOTS = (
    PROJECTS,
    PROJECT_USERS,
    DEPARTMENTS,
    GROUPS,
    TAGS,
    BOTS,
    FAQ,
    CANNED_RESPONSES,
    PROPERTIES,
    SEGMENTS,
    PENDING_INVITATIONS,
    ROLES,
    KB_NAMESPACES,
    KB_CONTENTS,
)
FACTS = (UNANSWERED_QUESTIONS, ANSWERED_QUESTIONS, EVENTS)
SMALL_TABLES = (*SNAPSHOTS, *FACTS)
ALL_TABLES = (*TABLES, *SMALL_TABLES)
# Loaded only if a setting says so, or if they are named.
OPTIONAL = (FAQ, EVENTS)
# Those that keep every version of a row, unless a setting says otherwise.
HISTORY = (PROJECT_USERS.name, DEPARTMENTS.name, GROUPS.name)
