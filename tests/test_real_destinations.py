"""Each destination holds what a real server's database holds, after people wrote and kills."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import RealServer, on_one_real_server, settle
from crowd import Crowd, load_or_kill
from engines import (
    Engine,
    ducklake_engine,
    lake_engine,
    mariadb_engine,
    postgres_engine,
    sqlite_engine,
)
from lakes import DeltaFormat, bucket_server, bucket_settings, connecting, files_of
from tiledesk.tables import TABLES
from truth import differences_of

# Longer than this server takes from a stamp to a row that is seen.
LOOKBACK = 15
BUCKET = "real"


@pytest.fixture
def bucket_engine() -> Iterator[Engine]:
    """A Delta lake in a bucket."""
    with bucket_server() as address:
        files_of(address).mkdir(BUCKET)
        settings = bucket_settings(address, "delta", f"s3://{BUCKET}/lake")
        options = {
            "AWS_ACCESS_KEY_ID": "made-up-key",
            "AWS_SECRET_ACCESS_KEY": "made-up-secret",
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        connect = connecting(DeltaFormat(options), f"s3://{BUCKET}/lake")
        yield Engine("Delta Lake in a bucket", "filesystem", connect, settings)


def in_postgres(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return postgres_engine(request.getfixturevalue("postgres"))


def in_mariadb(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return mariadb_engine(request.getfixturevalue("_mariadb_of_the_session"))


def in_sqlite(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return sqlite_engine(folder)


def in_a_bucket(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return request.getfixturevalue("bucket_engine")


def in_iceberg(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return lake_engine("Iceberg", folder)


def in_ducklake(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return ducklake_engine(folder, request.getfixturevalue("postgres"))


@pytest.mark.drawn("kills in other destinations")
@pytest.mark.slow
@pytest.mark.varied
@on_one_real_server
@pytest.mark.parametrize(
    "made", [in_postgres, in_mariadb, in_sqlite, in_a_bucket, in_iceberg, in_ducklake]
)
def test_it_holds_every_row_though_people_wrote_and_loads_were_killed(
    made: Callable[[pytest.FixtureRequest, Path], Engine],
    new_project: RealServer,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    engine, account = made(request, tmp_path), new_project.account()
    rng = random.Random(engine.name)

    def load(machine: str, killed_after: float | None = None) -> int:
        environment = {
            **account.environment,
            **engine.environment,
            "SOURCES__TILEDESK__LOOKBACK_SECONDS": str(LOOKBACK),
            "DLT_DATA_DIR": str(tmp_path / machine),
        }
        code, err = load_or_kill(engine.options(), tmp_path, environment, killed_after)
        assert code in (0, -signal.SIGKILL), err
        return code

    with Crowd(account, new_project.seed["agent"]["user_id"]) as crowd:
        time.sleep(5)  # there should be something to load
        moments = [*(rng.uniform(1.5, 4) for _ in range(4)), 30]
        ends = [load(str(machine), moment) for machine, moment in enumerate(moments)]
    assert -signal.SIGKILL in ends
    settle(new_project)
    assert load("last") == 0
    with engine.opened():
        found = [
            problem
            for table in TABLES
            for problem in differences_of(engine.rows, table, new_project.truth(table.name))
        ]
        messages = engine.query("SELECT _id, recipient FROM {}messages")
    shown = f"{dict(crowd.actions)}, ended: {ends}"
    assert crowd.unexplained(messages, found) == [], shown
    assert len(messages) > 50, shown
