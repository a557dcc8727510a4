"""`transform`, `load --transform`, `--publish` and `report`, as a person runs them."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import duckdb
import pytest

from conftest import Account, change, query, run_cli
from tiledesk_pipeline import transform as command
from tiledesk_pipeline.export import MONTHS, export
from tiledesk_pipeline.failures import Failure
from tiledesk_pipeline.target import Target
from tiledesk_pipeline.transform import publish_copy, transform

Cli = Callable[..., CompletedProcess[str]]
COUNT = "SELECT count(*) FROM tiledesk_marts.tiledesk__conversations"


@pytest.fixture(scope="module")
def loaded(served: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loaded")
    done = run_cli("load", "--db", "support.duckdb", cwd=folder, environment=served.environment)
    assert done.returncode == 0, done.stderr
    return folder / "support.duckdb"


@pytest.fixture
def db(loaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(loaded, tmp_path))


def test_transform_makes_every_mart_and_again(db: Path, cli: Cli) -> None:
    first = cli("transform", "--json")
    assert first.returncode == 0, first.stderr
    made = json.loads(first.stdout)
    assert made["schema"] == "tiledesk_marts"
    rows = {mart["mart"]: mart["rows"] for mart in made["marts"]}
    assert len(rows) == 14
    assert query(db, COUNT) == [(rows["tiledesk__conversations"],)] == [(40,)]
    assert json.loads(cli("transform", "--json").stdout)["marts"] == made["marts"]


def test_a_load_can_make_the_marts_and_publish_a_copy(
    served: Account, db: Path, cli: Cli, tmp_path: Path
) -> None:
    done = cli("load", "--transform", "--publish", "copy.duckdb", environment=served.environment)
    assert done.returncode == 0, done.stderr
    assert "tiledesk__conversations" in done.stdout
    copy = tmp_path / "copy.duckdb"
    assert query(copy, COUNT) == query(db, COUNT)
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(db.stat().st_mode)
    staging = "SELECT count(*) FROM duckdb_schemas() WHERE schema_name LIKE '%staging'"
    assert query(copy, staging) == [(0,)]
    assert not list(tmp_path.glob(".copy*"))


def test_a_reader_that_keeps_the_copy_open_stops_neither_loads_nor_the_next_copy(
    served: Account, db: Path, cli: Cli, tmp_path: Path
) -> None:
    transform(Target(db=db), tmp_path / "copy.duckdb")
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as reader:
        with duckdb.connect(str(db)) as connection:
            connection.execute("DELETE FROM tiledesk.requests")
        done = cli("transform", "--publish", "copy.duckdb", "--wait", "0")
        assert done.returncode == 0, done.stderr
        assert reader.execute(COUNT).fetchall() == [(40,)]
    assert query(tmp_path / "copy.duckdb", COUNT) == [(0,)]


def test_readers_of_the_old_copy_keep_their_rights(db: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    publish_copy(Target(db=db), copy)
    copy.chmod(0o644)
    publish_copy(Target(db=db), copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("support.duckdb", "is the file that is loaded into"),
        ("link.duckdb", "is the file that is loaded into"),
        ("gone/copy.duckdb", "There is no folder"),
        ("folder", "is not a regular file"),
    ],
)
def test_a_copy_that_cannot_be_written_is_refused(
    db: Path, tmp_path: Path, place: str, words: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.duckdb").symlink_to(db)
    with pytest.raises(Failure, match=words):
        publish_copy(Target(db=db), tmp_path / place)
    assert query(db, "SELECT count(*) FROM tiledesk.requests") == [(40,)]


def test_a_copy_that_fails_leaves_the_old_one_and_nothing_else(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.duckdb"
    publish_copy(Target(db=db), copy)
    before = copy.read_bytes()

    def full(connection: Any) -> None:
        raise duckdb.IOException("IO Error: No space left on device")

    monkeypatch.setattr("tiledesk_pipeline.destinations.duckdb._copy", full)
    with pytest.raises(Failure, match=r"stays as it was\. The disk is full"):
        publish_copy(Target(db=db), copy)
    assert copy.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} >= {"copy.duckdb", "support.duckdb"}
    assert not list(tmp_path.glob(".copy*"))


def test_only_a_duckdb_file_is_published(cli: Cli) -> None:
    done = cli("load", "--destination", "postgres", "--publish", "copy.duckdb")
    assert done.returncode == 1
    assert "--publish copies a DuckDB file" in done.stderr


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How much memory each try may use."""
    given = []
    make = command.make

    def watched(connection: duckdb.DuckDBPyConnection, *args: Any, **more: Any) -> Any:
        given.append(connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0])
        if given == ["305.1 MiB"]:
            raise duckdb.OutOfMemoryException("Out of Memory Error")
        return make(connection, *args, **more)

    monkeypatch.setattr(command, "make", watched)
    return given


def test_marts_that_need_more_memory_get_it(db: Path, limits: list[str]) -> None:
    assert len(transform(Target(db=db)).rows) == 14
    assert limits == ["305.1 MiB", "2.3 GiB"]


def test_many_messages_get_more_memory_at_once(
    db: Path, limits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MANY_MESSAGES", 10)
    assert len(transform(Target(db=db)).rows) == 14
    assert limits == ["2.3 GiB"]


@pytest.mark.parametrize("command", ["transform", "report"])
def test_without_a_load_there_is_one_sentence(cli: Cli, tmp_path: Path, command: str) -> None:
    done = cli(command, "--db", "none.duckdb")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no none.duckdb here.")
    with duckdb.connect(str(tmp_path / "empty.duckdb")) as connection:
        connection.execute("CREATE TABLE other (a int)")
    done = cli(command, "--db", "empty.duckdb")
    assert done.returncode == 1
    assert "Nothing is loaded into empty.duckdb" in done.stderr
    assert not list(tmp_path.glob("*.html"))


def test_settings_of_the_marts_are_checked(cli: Cli, db: Path) -> None:
    done = cli("transform", environment={"TRANSFORM__TIME_ZONE": "Mars/Base"})
    assert done.returncode == 1
    assert "'Mars/Base'" in done.stderr
    done = cli("transform", environment={"TRANSFORM__TIME_ZONE": "Asia/Tokyo"})
    assert done.returncode == 0, done.stderr
    zones = "SELECT DISTINCT time_zone FROM tiledesk_marts.tiledesk__conversations"
    assert query(db, zones) == [("Asia/Tokyo",)]


def test_postgres_needs_dbt(cli: Cli, postgres: str, served: Account) -> None:
    environment = {**served.environment, "DESTINATION__POSTGRES__CREDENTIALS": postgres}
    place = ("--destination", "postgres", "--dataset", "no_dbt")
    assert cli("load", *place, "--resources", "groups", environment=environment).returncode == 0
    done = cli("transform", *place, environment={**environment, "TILEDESK_DBT": "/no/dbt"})
    assert done.returncode == 1
    assert "name the command in TILEDESK_DBT" in done.stderr


def test_a_report_is_made_of_a_period(cli: Cli, db: Path, tmp_path: Path) -> None:
    done = cli("report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    counted = query(db, f"{COUNT} WHERE is_real AND created_on >= DATE '2026-06-01'")[0][0]
    done = cli("report", "--since", "2026-06-01", "--no-names", "--out", "june.html")
    assert f"{counted} conversations are in {tmp_path / 'june.html'}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "yesterday"), "--since is not a day"),
        (("--since", "2026-02-02", "--until", "2026-02-01"), "--since must not be after --until"),
        (("--out", "gone/report.html"), "There is no folder"),
        (("--out", "."), "is a folder"),
    ],
)
def test_a_report_that_cannot_be_made_is_refused(
    cli: Cli, db: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = cli("report", *arguments)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.varied
@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_marts_and_tables_are_exported_whole(
    cli: Cli, db: Path, tmp_path: Path, format: str
) -> None:
    transform(Target(db=db))
    for what, schema in (((), "tiledesk_marts"), (("--tables",), "tiledesk")):
        done = cli("export", "--out", "files", "--format", format, *what)
        assert done.returncode == 0, done.stderr
        names = query(
            db,
            f"SELECT table_name FROM duckdb_tables() WHERE schema_name = '{schema}'"
            " AND NOT starts_with(table_name, '_dlt')",
        )
        for (name,) in names:
            file = tmp_path / "files" / f"{name}.{format}"
            read = f"read_{'parquet' if format == 'parquet' else 'csv'}('{file}')"
            counts = query(
                db, f"SELECT (SELECT count(*) FROM {schema}.{name}), (SELECT count(*) FROM {read})"
            )
            assert counts[0][0] == counts[0][1], name
    assert {path.suffix for path in (tmp_path / "files").iterdir()} == {f".{format}"}


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_an_export_by_month_has_each_row_in_its_month(
    cli: Cli, db: Path, tmp_path: Path, format: str
) -> None:
    with duckdb.connect(str(db)) as connection:
        connection.execute("DELETE FROM tiledesk.activities")
        connection.execute("UPDATE tiledesk.messages SET created_at = NULL WHERE sender = 'system'")
    transform(Target(db=db))
    for what, schema in (((), "tiledesk_marts"), (("--tables",), "tiledesk")):
        done = cli("export", "--by-month", "--out", "files", "--format", format, *what)
        assert done.returncode == 0, done.stderr
        dated = {
            table
            for (table,) in query(db, f"SHOW TABLES FROM {schema}")
            if table in MONTHS and not table.startswith("_")
        }
        assert len(dated) >= 3
        for table in dated:
            files = f"{tmp_path}/files/{table}/*/*.{format}"
            read = f"read_{format}('{files}', hive_partitioning = true)"
            with duckdb.connect(str(db), read_only=True) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                months = f"SELECT coalesce(strftime({MONTHS[table]}, '%Y-%m'), 'none') AS month"
                expected = connection.execute(
                    f"{months}, count(*) FROM {schema}.{table} GROUP BY ALL ORDER BY ALL"
                ).fetchall()
                found = f"SELECT month, count(*) FROM {read} GROUP BY ALL ORDER BY ALL"
                assert connection.execute(found).fetchall() == expected, table
                names = f"SELECT * EXCLUDE month FROM {read} LIMIT 0"
                here = f"SELECT * FROM {schema}.{table} LIMIT 0"
                columns, wanted = (
                    [column for column, *_ in connection.execute(text).description]
                    for text in (names, here)
                )
                assert columns == wanted, table
    assert (tmp_path / "files" / "messages" / "month=none").is_dir()
    assert [path.name for path in (tmp_path / "files" / "activities").iterdir()] == ["month=none"]


def test_an_export_in_another_layout_takes_the_place_of_the_earlier_one(
    cli: Cli, db: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    (files / "requests").mkdir(parents=True)
    (files / "requests" / "mine.txt").write_text("no export")
    done = cli("export", "--tables", "--by-month", "--out", "files")
    assert done.returncode == 1
    assert "requests is in the way" in done.stderr
    assert (files / "requests" / "mine.txt").exists()
    (files / "requests" / "mine.txt").unlink()
    for layout, kind in (((), Path.is_file), (("--by-month",), Path.is_dir), ((), Path.is_file)):
        assert cli("export", "--tables", *layout, "--out", "files").returncode == 0
        (found,) = files.glob("messages*")
        assert kind(found)


def test_an_export_by_month_drops_months_that_are_gone_and_keeps_the_old_ones_if_it_fails(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, target = tmp_path / "files", Target(db=db)
    export(target, out, what="tables", by_month=True)
    before = {path.relative_to(out) for path in out.rglob("*.parquet")}
    replace = Path.replace

    def failing(self: Path, to: Path) -> Path:
        if self == out / ".export" / "requests":
            raise OSError(28, "No space left on device")
        return replace(self, to)

    whole = sorted(path.name for path in (out / "requests").iterdir())
    middle = whole[len(whole) // 2].removeprefix("month=")
    change(db, "DELETE FROM tiledesk.requests WHERE strftime(created_at, '%Y-%m') >= ?", middle)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(Failure, match="The disk is full"):
            export(target, out, what="tables", by_month=True)
    assert {path.relative_to(out) for path in out.rglob("*.parquet")} == before
    export(target, out, what="tables", by_month=True)
    months = sorted(path.name for path in (out / "requests").iterdir())
    assert months == [name for name in whole if name.removeprefix("month=") < middle]
    assert months
    assert not (out / ".export").exists()


def test_an_export_of_nothing_names_the_command(cli: Cli, db: Path, tmp_path: Path) -> None:
    done = cli("export", "--out", "files")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("Make them with: tiledesk-dlt transform")
    assert not (tmp_path / "files").exists()
    transform(Target(db=db))
    (tmp_path / "files").write_text("in the way")
    done = cli("export", "--out", "files")
    assert done.returncode == 1
    assert "files cannot be opened: File exists" in done.stderr
