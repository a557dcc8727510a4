"""The small lists around a support desk: what bots say, prepared answers, knowledge, events."""

from __future__ import annotations

from collections.abc import Callable

from .documents import Collection, Document, Page, Predicate, decode
from .reads import _order_or_hang, _skip_or_hang
from .routing import Context, route
from .small_lists import SMALL_LISTS, SmallList
from .wire import Answer, answer, envelope, listing, read_integer, refuse


def _limit(c: Context, otherwise: int = 40) -> int:
    asked = c.call.query.get("limit")
    return abs(read_integer(asked) or 0) if asked else otherwise


def _has(field: str, *values: object) -> Predicate:
    return lambda row: decode(row.body).get(field) in values


# --- bots


@route("GET", "/{project}/bots/{bot}/published", "admin", super_admin=True)
def published_bots(c: Context) -> Answer:
    """The newest first, each with the user who published it."""
    forks = [
        fork
        for fork in c.world.bots.values()
        if fork.get("root_id") == c.parts["bot"] and fork["id_project"] == c.project
    ]
    forks.sort(key=lambda fork: str(fork.get("publishedAt")), reverse=True)
    for fork in forks:
        user = c.world.user_documents.get(str(fork.get("publishedBy")))
        known = ("_id", "email", "firstname", "lastname")
        fork["publishedBy"] = user and {k: user[k] for k in known}
    return answer(forks[:100])


@route("GET", "/{project}/bots/{bot}", "admin", super_admin=True)
def get_bot(c: Context) -> Answer:
    """Any, whether it is listed or not."""
    bot = c.world.bots.get(c.parts["bot"])
    if bot is None:
        said = f"Chatbot not found with id {c.parts['bot']} for project {c.project}"
        raise refuse(404, {"success": False, "msg": said})
    return answer(bot)


_FAQ_FIELDS_AGENTS_MISS = (
    "webhook_enabled", "faq_kb", "actions", "attributes", "createdBy", "createdAt", "updatedAt",
    "__v",
)  # fmt: skip


@route("GET", "/{project}/faq", super_admin=True)
def list_faq(c: Context) -> Answer:
    """Of a bot; of all projects if none is named."""
    wanted = c.call.one("id_faq_kb")
    found = [faq for faq in c.world.faq.values() if wanted in (None, faq["id_faq_kb"])]
    limit = _limit(c, 3000) or len(found)
    skip = _skip_or_hang(c, limit)
    found = found[skip : skip + limit]
    for faq in found:
        bot = c.world.bots.get(faq["id_faq_kb"])
        faq["faq_kb"] = [bot] if bot else []
    if c.role == "agent":
        found = [
            {k: v for k, v in faq.items() if k not in _FAQ_FIELDS_AGENTS_MISS}
            for faq in found
            if faq.get("agents_available") in (None, True)
            and faq["intent_display_name"] not in ("start", "defaultFallback")
        ]
    return answer(found)


# --- the lists that are answered in one way


def _serve(one: SmallList) -> None:
    @route("GET", f"/{{project}}/{one.path}", super_admin=one.super_admin)
    def handler(c: Context) -> Answer:
        collection = c.world.collections[one.name]
        if one.per_page is None:
            return Answer(200, listing([r for r in collection.rows() if r.project == c.project]))
        limit = one.per_page or _limit(c)
        sort, descending = _order_or_hang(c)
        is_shown = one.is_shown
        page = collection.page(
            c.project,
            sort=sort,
            descending=descending,
            skip=_skip_or_hang(c, limit),
            limit=limit,
            keep=is_shown and (lambda row: is_shown(decode(row.body), c.who.id)),
            keep_name=("shown to", c.who.id) if is_shown else None,
            shuffle=c.shuffle,
        )
        rows = listing(page.rows)
        return envelope(one.key, limit, page.total, rows) if one.key else Answer(200, rows)


for _one in SMALL_LISTS:
    _serve(_one)


# --- knowledge bases


@route("GET", "/{project}/kb/namespace/all", "admin", super_admin=True)
def list_namespaces(c: Context) -> Answer:
    """All of them; where there is none, the first one is made."""
    world = c.world
    if not any(row.project == c.project for row in world.kb_namespaces.rows()):
        world.insert("kb_namespaces", namespace(c.project, world.new_id(), world.now()))
    found = [n for n in world.kb_namespaces.values() if n["id_project"] == c.project]
    return answer([{k: v for k, v in n.items() if k not in ("_id", "__v")} for n in found])


def namespace(project: str, _id: str, stamp: str, *, key: str = "", name: str = "") -> Document:
    """A knowledge base; without a key, the project's first one, which has the project's id."""
    return {
        "_id": _id,
        "id_project": project,
        "id": key or project,
        "name": name or "Default",
        "preview_settings": {"model": "gpt-4o", "max_tokens": 256, "temperature": 0.7, "top_k": 4},
        "default": not key,
        "hybrid": False,
        "engine": {"name": "pinecone", "type": "pod", "vector_size": 1536, "index_name": "kb"},
        "embedding": {"provider": "openai", "name": "text-embedding-ada-002", "dimension": 1536},
        "createdAt": stamp,
        "updatedAt": stamp,
        "__v": 0,
    }


@route("GET", "/{project}/kb", "admin", super_admin=True)
def list_contents(c: Context) -> Answer:
    wanted = c.call.one("namespace")
    if wanted is None:
        error = "queryParam 'namespace' is not defined"
        raise refuse(400, {"success": False, "error": error})
    page, query = _kb_page(c, c.world.kb_contents, wanted, 200, "updatedAt")
    del query["page"]
    rows = [decode(row.body) for row in page.rows]
    return answer({"count": page.total, "query": query, "kbs": rows})


def _questions(collection: Callable[[Context], Collection]) -> Callable[[Context], Answer]:
    def handler(c: Context) -> Answer:
        wanted = c.parts["namespace"]
        spaces = c.world.kb_namespaces.values()
        if not any(n["id"] == wanted and n["id_project"] == c.project for n in spaces):
            error = "Not allowed. The namespace does not belong to the current project."
            raise refuse(403, {"success": False, "error": error})
        page, query = _kb_page(c, collection(c), wanted, 20, "createdAt")
        rows = [decode(row.body) for row in page.rows]
        return answer({"count": page.total, "questions": rows, "query": query})

    return handler


route("GET", "/{project}/kb/unanswered/{namespace}", "admin", super_admin=True)(
    _questions(lambda c: c.world.unanswered_questions)
)
route("GET", "/{project}/kb/answered/{namespace}", "admin", super_admin=True)(
    _questions(lambda c: c.world.answered_questions)
)


def _kb_page(
    c: Context, collection: Collection, wanted: str, limit: int, sort: str
) -> tuple[Page, Document]:
    """A page of what a knowledge base has, and the query as it was understood."""
    limit = read_integer(c.call.query.get("limit")) or limit
    page = read_integer(c.call.query.get("page")) or 0
    direction = read_integer(c.call.query.get("direction")) or -1
    sort = c.call.one("sortField") or sort
    found = collection.page(
        c.project,
        sort=sort,
        descending=direction < 0,
        skip=page * limit,
        limit=limit,
        keep=_has("namespace", wanted),
        keep_name=("of", wanted),
        shuffle=c.shuffle,
    )
    return found, {"page": page, "limit": limit, "sortField": sort, "direction": direction}
