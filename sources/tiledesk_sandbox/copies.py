"""Copies of a project, for a server with many."""

from __future__ import annotations

import json
import re

from .world import World

_ID = re.compile(r"[0-9a-f]{24}")


def copy_project(world: World) -> str:
    """Add a copy of the first project, with ids of its own for everything but people; its id."""
    own = [
        (name, key, document)
        for name, collection in world.collections.items()
        for key, document in collection.items()
        if world.project_id in (document.get("id_project"), key)
    ]
    ids = {key: world.new_id() for _, key, _ in own}
    for name, _, document in own:
        text = _ID.sub(lambda found: ids.get(found[0], found[0]), json.dumps(document))
        world.insert(name, json.loads(text))
    return ids[world.project_id]
