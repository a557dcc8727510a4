"""Members with roles that a generated project does not have, and tokens of every kind."""

from __future__ import annotations

from .world import ISSUER, Person, World
from .writes import guest_member

# Name: role, the permissions of the member, and those of the document of the role.
MEMBERS: dict[str, tuple[str, list[str], list[str]]] = {
    "auditor": ("auditor", [], ["request_read_all", "lead_read"]),
    "helper": ("helper", [], ["lead_read"]),
    "limited_admin": ("admin", ["lead_read"], []),
    "wide_supervisor": ("supervisor", ["request_read_all"], []),
    "teammate": ("teammate", [], []),
}

# Members who take part in a few conversations and see only those.
TAKING_PART = ("supervisor", "helper", "limited_admin")


def add_rarer_roles(world: World) -> None:
    """Add the members to the project of the world, and tokens for those who do not sign in.

    The members are in ``world.users``: two with a custom role, `auditor` with and `helper` without
    ``request_read_all``; an admin without that permission and a supervisor with it; a teammate. The
    tokens are in ``world.tokens``: `guest`, `bot`, `subscription`.
    """
    for name, (role, permissions, granted) in MEMBERS.items():
        person = Person(
            world.new_id(), f"{name.replace('_', '.')}@example.com", f"Pw-{name}-0", "Rita", "Role"
        )
        world.enlist(name, person)
        member = guest_member(world, world.project_id, person.id)
        del member["uuid_user"]
        member |= {"id_user": person.id, "role": role, "roleType": 1, "permissions": permissions}
        world.insert("project_users", {**member, "isAuthenticated": True})
        if granted:
            world.role_permissions[role] = granted
    for number, _id in enumerate(list(world.requests)[: 4 * len(TAKING_PART)]):
        joined = world.users[TAKING_PART[number % len(TAKING_PART)]].id
        request = world.requests[_id]
        agents = {name: [*request[name], joined] for name in ("participants", "participantsAgents")}
        world.change("requests", _id, updatedAt=world.now(), **agents)
    guest = guest_member(world, world.project_id, f"guest-{world.new_id()}")
    world.insert("project_users", guest)
    for kind, _id in (
        ("guest", guest["uuid_user"]),
        ("bot", next(iter(world.bots))),
        ("subscription", world.new_id()),
    ):
        audience = ISSUER if kind == "guest" else f"{ISSUER}/{kind}s/{_id}"
        world.tokens[kind] = world.token({"_id": _id, "sub": kind, "aud": audience})
