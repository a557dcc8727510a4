"""Columns copied from inside `attributes`, in files of this version and of an earlier one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from conftest import STREAMS, Account, query, rows
from tiledesk.arrow import to_arrow
from tiledesk.tables import MESSAGES
from tiledesk_pipeline import copies
from tiledesk_pipeline.load import load
from tiledesk_pipeline.progress import Progress
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import World

NAMES = ("subtype", "label_key", "label_member_ids")
ANNA, BOT = "5f00000000000000000000a1", "bot_5f00000000000000000000c1"
SAID: list[tuple[Any, tuple[str | None, ...]]] = [
    ({"subtype": "info/support", "messagelabel": {"key": "CHAT_CLOSED"}},
     ("info/support", "CHAT_CLOSED", None)),
    ({"subtype": "info", "updateconversationfor": [ANNA, BOT]}, ("info", None, f"{ANNA},{BOT}")),
    ({"updateconversationfor": ANNA}, (None, None, ANNA)),
    ({"updateconversationfor": "wab-390001112222"}, (None, None, "wab-390001112222")),
    ({"updateconversationfor": []}, (None, None, None)),
    ({"updateconversationfor": [ANNA, {"id": ANNA}]}, (None, None, None)),
    ({"subtype": 'a "word"', "messagelabel": "CHAT_CLOSED"}, ('a "word"', None, None)),
    ({"subtype": {"subtype": "info"}, "messagelabel": [{"key": "X"}]}, (None, None, None)),
    ({"subtype": 5, "messagelabel": {"key": True}}, (None, None, None)),
    ({"text": '"subtype"'}, (None, None, None)),
    ('"subtype"', (None, None, None)),
    (None, (None, None, None)),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "expected"), SAID)
def test_a_copy_is_a_text_or_the_texts_of_a_list(
    attributes: Any, expected: tuple[str | None, ...]
) -> None:
    row = {"_id": Raw(b'"one"'), "attributes": Raw(json.dumps(attributes).encode())}
    ((_, made),) = to_arrow(MESSAGES, [row], Counter())
    assert tuple(made[name][0].as_py() for name in NAMES) == expected


def as_an_earlier_version_left_it(target: Target) -> None:
    with target.pipeline() as pipeline:
        schema = pipeline.default_schema
        for name in NAMES:
            del schema.tables["messages"]["columns"][name]
        pipeline._schema_storage.save_schema(schema)
        pipeline.sync_schema()
        with pipeline.sql_client() as client:
            place = client.make_qualified_table_name("messages")
            for name in NAMES:
                client.execute_sql(f"ALTER TABLE {place} DROP COLUMN {name}")


def strange(world: World) -> None:
    mine = [key for key, row in world.messages.items() if row["id_project"] == world.project_id]
    for key, (attributes, _) in zip(mine, SAID, strict=False):
        world.change("messages", key, attributes=attributes)


COPIED = "SELECT _id, subtype, label_key, label_member_ids FROM tiledesk.messages ORDER BY 1"


@pytest.mark.parametrize("first", ["load", "repair"])
def test_a_file_of_an_earlier_version_gets_the_columns_without_reading_messages_again(
    world: World, owner: Account, tmp_path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange(world)
    db = tmp_path / "support.duckdb"
    owner.load_streams(db)
    expected = query(db, COPIED)
    assert len([row for row in expected if row[2] == "CHAT_CLOSED"]) > 1
    as_an_earlier_version_left_it(Target(db=db))
    if first == "load":
        summary = owner.load_streams(db, lookback_seconds=0)
        assert summary.notices == []
        assert next(s.read for s in summary.streams if s.resource == "messages") < len(expected)
    else:
        for name, value in owner.environment.items():
            monkeypatch.setenv(name, value)
        assert reconcile(Target(db=db), repair=True).is_equal
    assert query(db, COPIED) == expected
    assert owner.load_streams(db).notices == []
    assert query(db, COPIED) == expected


def test_so_does_postgres(
    world: World,
    owner: Account,
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strange(world)
    owner.load_streams(tmp_path / "support.duckdb")
    expected = query(tmp_path / "support.duckdb", COPIED)
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres)
    target = Target("postgres", dataset="copies")
    load(target, resources=STREAMS, **owner.settings)
    as_an_earlier_version_left_it(target)
    load(target, resources=STREAMS, lookback_seconds=0, **owner.settings)
    assert rows(postgres, COPIED.replace("tiledesk.", "copies.")) == expected


def test_an_interrupted_addition_is_no_obstacle_to_a_full_refresh(
    owner: Account, tmp_path: Path
) -> None:
    db = tmp_path / "support.duckdb"
    owner.load_streams(db)
    expected = query(db, COPIED)
    as_an_earlier_version_left_it(Target(db=db))
    with Target(db=db).pipeline() as pipeline:
        copies.fill(pipeline, Target(db=db), Progress())
    assert query(db, COPIED) == expected
    owner.load_streams(db, full_refresh=True)
    assert query(db, COPIED) == expected


@pytest.mark.varied
@pytest.mark.parametrize("privacy", ["drop", "pseudonymize"])
def test_what_was_not_kept_is_said_once_with_the_command(
    world: World, owner: Account, tmp_path: Path, privacy: str
) -> None:
    strange(world)
    db = tmp_path / "support.duckdb"
    settings: dict[str, Any] = {
        "privacy": privacy,
        "pseudonym_key": "a7d0c3b1e94f4c28b5d6e7f8091a2b3c",
    }
    owner.load_streams(db, **settings)
    expected = query(db, COPIED)
    assert len([row for row in expected if row[2] == "CHAT_CLOSED"]) > 1
    assert "390001112222" not in str(expected)
    as_an_earlier_version_left_it(Target(db=db))
    notices = owner.load_streams(db, lookback_seconds=0, **settings).notices
    assert [(name, "--full-refresh --resources messages" in text) for name, text in notices] == [
        ("messages", True)
    ]
    assert owner.load_streams(db, **settings).notices == []
    owner.load(db, resources=["messages"], full_refresh=True, **settings)
    assert query(db, COPIED) == expected


def test_ids_that_privacy_hides_are_not_copied(
    world: World, owner: Account, tmp_path: Path
) -> None:
    """Kept attributes of an earlier version hold ids as they were sent."""
    strange(world)
    db = tmp_path / "support.duckdb"
    settings: dict[str, Any] = {
        "privacy": "drop",
        "privacy_overrides": {"messages.attributes": "keep"},
    }
    owner.load_streams(db, **settings)
    assert "390001112222" not in str(query(db, COPIED))
    as_an_earlier_version_left_it(Target(db=db))
    with_ids = json.dumps({"updateconversationfor": "wab-390001112222"})
    with Target(db=db).pipeline() as pipeline, pipeline.sql_client() as client:
        client.execute_sql(
            "UPDATE tiledesk.messages SET attributes = %s"
            " WHERE (attributes->>'updateconversationfor') IS NULL",
            with_ids,
        )
    owner.load_streams(db, lookback_seconds=0, **settings)
    found = query(db, COPIED)
    assert "390001112222" not in str(found)
    assert any(row[3] == f"{ANNA},{BOT}" for row in found)
