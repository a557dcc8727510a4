"""dlt's own tables in a lake: files of JSON, one row a line."""

from __future__ import annotations

import json
from typing import Any

from .tables import Place

LOADS = "_dlt_loads"
# Each load adds a file. To read some is quick; a year of loads would take a minute in a bucket.
MOST_FILES = 100


def records(place: Place, name: str) -> list[dict[str, Any]]:
    """The rows of a table; each counts once, even if a kill left it in two files."""
    contents = _contents(place, name)
    lines = dict.fromkeys(line for text in contents.values() for line in text.splitlines())
    return [json.loads(line) for line in lines]


def merge_records(place: Place) -> None:
    """Put the rows of the table of loads into its newest file, if there are many files."""
    contents = _contents(place, LOADS)
    if len(contents) <= MOST_FILES:
        return
    place.check()
    newest = max(contents)
    lines = dict.fromkeys(line for text in contents.values() for line in text.splitlines())
    write_whole(place, newest, "\n".join(lines))
    for path in contents.keys() - {newest}:
        place.files.rm_file(path)


def write_whole(place: Place, path: str, text: str) -> None:
    """Write a file so that it is there as a whole or not at all, even after a kill."""
    files = place.files
    if not place.is_local:
        files.write_text(path, text, encoding="utf-8")
        return
    folder = path.rpartition("/")[0]
    # dlt takes no file with such a name for one of its own
    fresh = f"{folder}/.writing"
    files.makedirs(folder, exist_ok=True)
    files.write_text(fresh, text, encoding="utf-8")
    files.mv(fresh, path)


def _contents(place: Place, name: str) -> dict[str, str]:
    """The files of a table and what is in them."""
    files, folder = place.files, f"{place.folder}{name}"
    try:
        paths = [path for path in files.ls(folder, detail=False) if path.endswith(".jsonl")]
    except FileNotFoundError:
        return {}
    found = files.cat(paths) if paths else {}
    # a single path gives a single text
    texts = found if isinstance(found, dict) else {paths[0]: found}
    return {path: text.decode() for path, text in texts.items()}
