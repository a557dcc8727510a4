"""The tables beside the four streams: complete, replaced at once, with history, and not fooled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Account, account_of
from small import stored
from tiledesk.small_tables import OPTIONAL, SMALL_TABLES
from tiledesk.tables import Table
from tiledesk_pipeline.load import Summary
from tiledesk_sandbox import Sandbox, World, generate
from truth import differences

ALWAYS = [table.name for table in SMALL_TABLES if table not in OPTIONAL]
EVERYTHING = {"visitors": True, "faq": True, "events": True}
PRESENT = "_dlt_valid_to IS NULL"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Account, Path]]:
    """A world with everything that there is, a running sandbox of it, and a first load."""
    world = generate(requests=60, seed=11)
    with Sandbox(world) as sandbox:
        account, db = account_of(sandbox), tmp_path_factory.mktemp("small") / "desk.duckdb"
        yield world, account, db


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "desk.duckdb"


def load(account: Account, db: Path, *names: str, **settings: Any) -> Summary:
    """A load of some tables, as if they were named."""
    from tiledesk_pipeline.load import load as run
    from tiledesk_pipeline.target import Target

    return run(Target(db=db), resources=names, **{**account.settings, **settings})


def notices(summary: Summary, name: str) -> str:
    return " ".join(notice for resource, notice in summary.notices if resource == name)


@pytest.mark.parametrize("table", SMALL_TABLES, ids=lambda table: table.name)
def test_every_small_table_equals_the_apis_own_answer(
    loaded: tuple[World, Account, Path], table: Table
) -> None:
    _, account, db = loaded
    if not db.exists():
        load(account, db, *(table.name for table in SMALL_TABLES), visitors=True)
    expected = stored(account, table)
    assert expected
    assert differences(db, table, expected) == []
