"""What goes below dlt's public interface still works with the installed dlt, part by part."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, cast

import dlt
import pytest
from dlt.common import validation
from dlt.common.configuration import resolve
from dlt.common.configuration.container import Container
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.destination import DestinationCapabilitiesContext, utils
from dlt.common.normalizers.json import helpers
from dlt.common.storages.schema_storage import SchemaStorage
from dlt.common.typing import TSecretStrValue
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from tiledesk import dlt_adapter as connector
from tiledesk.destination import CHANGED
from tiledesk_pipeline import dlt_adapter as commands
from tiledesk_pipeline.target import Target

ROOT = Path(__file__).parents[1]
# dlt documents these for people who write sources and run pipelines.
PUBLIC = (
    "dlt",
    "dlt.sources",
    "dlt.common.configuration",
    "dlt.common.configuration.exceptions",
    "dlt.common.configuration.specs",
    "dlt.common.pipeline",
    "dlt.common.schema",
    "dlt.common.typing",
    "dlt.destinations",
)
# what dlt's specs and errors are made with, as its documentation shows; nothing private is touched
ALSO_PUBLIC = {
    "dlt.common.configuration.const",
    "dlt.common.configuration.providers.toml",
    "dlt.common.configuration.resolve",
    "dlt.common.configuration.specs.base_configuration",
    "dlt.destinations.exceptions",
    "dlt.destinations.sql_client",
    "dlt.pipeline.exceptions",
}


def pipeline_into(folder: Path) -> dlt.Pipeline:
    destination = dlt.destinations.duckdb(str(folder / "a.duckdb"))
    return dlt.pipeline("adapter", destination=destination, dataset_name="d")


def imports_of_dlt(folder: str) -> Iterator[tuple[str, str]]:
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.partition(".")[0] == "dlt":
                    yield str(file.relative_to(ROOT)), name


def test_only_the_adapters_and_the_destinations_import_private_modules_of_dlt() -> None:
    private = {
        file
        for folder in ("sources", "pipelines")
        for file, module in imports_of_dlt(folder)
        if module not in {*PUBLIC, *ALSO_PUBLIC}
    }
    # what derives from a destination of dlt stands with that destination
    others = {
        file for file in private if "/destinations/" not in file and "/tiledesk/lake/" not in file
    }
    own = {f"sources/tiledesk/{name}.py" for name in (*CHANGED, "merging", "merge_into")}
    assert others - own == {
        "sources/tiledesk/dlt_adapter.py",
        "pipelines/tiledesk_pipeline/dlt_adapter.py",
    }


def test_repeatable_source_keeps_a_schema_of_its_own() -> None:
    @dlt.source(_impl_cls=connector.RepeatableSource)
    def source() -> Any:
        return dlt.resource([{"a": 1}], name="one")

    made = source()
    given = dlt.Schema("source")
    made.schema = given
    assert made.schema is not given
    assert made.schema.name == "source"


def test_last_step_runs_after_a_limit_and_gives_rows_to_steps_that_were_added() -> None:
    seen = []

    def on_rows(step: connector.Step, name: str) -> Any:
        def call(item: Any, meta: Any = None) -> Any:
            seen.append(name)
            return step([item], meta)

        return call

    def parts(batch: Any) -> Iterator[Any]:
        yield from ("table", "list")

    resource = dlt.resource(iter(["first", "second"]), name="one")
    resource.add_step(connector.LastStep(parts, on_rows))
    resource.add_map(lambda row: row)
    resource.add_limit(1)
    assert list(resource) == ["table", "list"]
    assert seen == ["one"]


def test_a_file_job_is_done_without_a_wait_and_without_a_client() -> None:
    job = connector.FileJob("/jobs/leads.0123456789.0.parquet")
    done = BoundedSemaphore()
    done.acquire()
    job.run_managed(cast(Any, None), done)
    assert job.state() == "completed"
    assert done.acquire(blocking=False)  # a thread that waits for a job continues


def test_active_pipeline_makes_none() -> None:
    from dlt.common.configuration.container import Container
    from dlt.common.pipeline import PipelineContext

    Container()[PipelineContext].deactivate()
    assert connector.active_pipeline() is None
    pipeline = dlt.pipeline("adapter")
    assert connector.active_pipeline() is pipeline


def test_is_of_kind_knows_dlts_destinations_and_what_is_derived_from_them() -> None:
    class Own(dlt.destinations.duckdb):
        pass

    assert connector.is_of_kind(dlt.destinations.duckdb(), ("duckdb",))
    assert connector.is_of_kind(Own(), ("duckdb",))
    assert not connector.is_of_kind(dlt.destinations.filesystem("a"), ("duckdb",))


def test_configured_documents_and_settings_files_are_those_of_dlt(write_settings: Any) -> None:
    write_settings("secrets.toml", '[other]\npassword = "hunter2x"\n')
    assert ('[other]\npassword = "hunter2x"\n', True) in list(connector.configured_documents())
    assert Path(".dlt/secrets.toml").resolve() in [f.resolve() for f in commands.settings_files()]


def test_at_end_of_run_calls_back_once_when_all_is_loaded(tmp_path: Path) -> None:
    pipeline = pipeline_into(tmp_path)
    assert not connector.at_end_of_run(pipeline, lambda: None)  # nothing is under way
    loaded: list[bool] = []

    def rows() -> Iterator[Any]:
        assert connector.at_end_of_run(
            pipeline, lambda: loaded.append((tmp_path / "a.duckdb").exists())
        )
        yield {"a": 1}

    pipeline.run(dlt.resource(rows, name="one"))
    assert loaded == [True]
    pipeline.run([{"a": 2}], table_name="one")
    assert loaded == [True]


def test_defaults_are_below_what_is_configured_and_go_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with commands.defaults({"own": {"here": "a", "there": "b"}}):
        monkeypatch.setenv("OWN__THERE", "c")
        assert (dlt.config.get("own.here"), dlt.config.get("own.there")) == ("a", "c")
    assert dlt.config.get("own.here") is None


@pytest.mark.parametrize("is_set", [False, True])
def test_a_user_overrides_the_commands_defaults(
    is_set: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_set:
        monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    with Target(db=tmp_path / "t.duckdb").pipeline() as pipeline:
        pipeline.run([{"a": 1}], table_name="one")
        kept = list(Path(pipeline.working_dir).glob("load/loaded/*/completed_jobs/*"))
    assert bool(kept) is is_set


def test_no_display_is_drawn_whatever_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGRESS", "log")
    assert dlt.pipeline("loud", destination="duckdb").collector is not commands.NO_DISPLAY
    quiet = dlt.pipeline("quiet", destination="duckdb", progress=commands.NO_DISPLAY)
    assert quiet.collector is commands.NO_DISPLAY


def test_quick_lookups_read_each_hint_once_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    theirs = validation.get_type_hints

    def get_type_hints(spec: Any, **options: Any) -> Any:
        asked.append(spec)
        return theirs(spec, **options)

    monkeypatch.setattr(validation, "get_type_hints", get_type_hints)
    with commands.quick_lookups:
        for _ in range(2):
            with commands.quick_lookups:
                dlt.Schema("one").update_table({"name": "a", "columns": {}})
        assert resolve.is_secret_hint(TSecretStrValue)
        assert not resolve.is_secret_hint(str)
        unhashable = Annotated[str, []]
        assert resolve.extract_inner_hint(unhashable, preserve_literal=True) is str
        assert isinstance(resolve.is_secret_hint, commands._Remembered)
    assert len(asked) == len(set(asked)) > 1
    assert validation.get_type_hints is get_type_hints
    assert not isinstance(resolve.is_secret_hint, commands._Remembered)


def test_quick_lookups_use_the_capabilities_that_are_active() -> None:
    upsert = DestinationCapabilitiesContext.generic_capabilities()
    upsert.supported_merge_strategies = ["upsert"]
    schema = dlt.Schema("one")
    schema.update_table({"name": "a", "columns": {}, "write_disposition": "merge"})
    table = schema.tables["a"]

    def strategies() -> list[Any]:
        found = [helpers.resolve_merge_strategy({"a": table}, table)]
        with Container().injectable_context(upsert):
            found.append(helpers.resolve_merge_strategy({"a": table}, table))
        return [*found, utils.prepare_load_table({"a": table}, table, upsert)]

    theirs = strategies()
    assert theirs[0] != theirs[1] == "upsert"
    with commands.quick_lookups:
        assert strategies() == theirs
        assert isinstance(helpers.resolve_merge_strategy, commands._WithCapabilities)
        assert isinstance(utils.prepare_load_table, commands._WithCapabilities)
    assert not isinstance(helpers.resolve_merge_strategy, commands._WithCapabilities)


def test_schemas_are_kept_in_memory_and_written_to_the_folder_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    theirs = SchemaStorage.load_schema

    def load_schema(self: SchemaStorage, name: str) -> dlt.Schema:
        read.append(name)
        return theirs(self, name)

    monkeypatch.setattr(SchemaStorage, "load_schema", load_schema)
    pipeline = pipeline_into(tmp_path)
    commands.keep_schemas_in_memory(pipeline)
    pipeline.run([{"a": 1}], table_name="one")
    pipeline.run([{"a": 2, "b": 2}], table_name="one")
    assert len(read) <= 1  # where there is none yet
    again = dlt.attach("adapter")
    assert again.default_schema.version_hash == pipeline.default_schema.version_hash
    assert len(read) > 1
    assert list(again.default_schema.get_table_columns("one"))[:1] == ["a"]
    assert "b" in again.default_schema.get_table_columns("one")


def test_untraced_pipelines_note_nothing(tmp_path: Path) -> None:
    pipeline = pipeline_into(tmp_path)
    before = get_resolved_traces().logging_enabled
    with commands.untraced(pipeline):
        noted = len(get_resolved_traces().resolved_traces)
        pipeline.run([{"a": 1}], table_name="one")
        assert len(get_resolved_traces().resolved_traces) == noted
        assert pipeline.last_trace is None
    assert get_resolved_traces().logging_enabled == before


def test_another_destination_is_put_back(tmp_path: Path) -> None:
    pipeline = pipeline_into(tmp_path)
    before = pipeline.destination
    pipeline.extract([{"a": 1}], table_name="one")
    pipeline.normalize()
    with commands.other_destination(pipeline, dlt.destinations.duckdb(str(tmp_path / "b.duckdb"))):
        pipeline.load()
    assert pipeline.destination is before
    assert (tmp_path / "b.duckdb").exists()


def test_an_sql_client_of_another_class_reads_the_same_dataset(tmp_path: Path) -> None:
    class Other(DuckDbSqlClient):
        pass

    pipeline = pipeline_into(tmp_path)
    pipeline.run([{"a": 1}], table_name="one")
    with commands.in_place_of(pipeline.sql_client(), Other) as client:
        assert type(client) is Other
        assert client.execute_sql("SELECT a FROM one") == [(1,)]


def test_changed_state_is_a_package_to_load(tmp_path: Path) -> None:
    pipeline = pipeline_into(tmp_path)
    pipeline.run([{"a": 1}], table_name="one")
    with commands.changed_state(pipeline) as state:
        state["sources"] = {"adapter": {"seen": 1}}
    assert pipeline.has_pending_data
    pipeline.normalize()
    pipeline.load()
    pipeline.drop()
    pipeline.sync_destination()
    assert pipeline.state["sources"]["adapter"] == {"seen": 1}


def test_a_table_that_belongs_to_itself_is_not_dropped_with_a_resource(tmp_path: Path) -> None:
    pipeline = pipeline_into(tmp_path)

    def source() -> Any:
        @dlt.resource(name="one")
        def one() -> Iterator[Any]:
            yield dlt.mark.with_table_name({"a": 1}, "one")
            yield dlt.mark.with_table_name({"a": 1}, "kept")

        return one

    pipeline.run(source())
    commands.belongs_to_itself(pipeline, "kept")
    pipeline.run(source().add_filter(lambda _: False), refresh="drop_resources")
    with pipeline.sql_client() as client:
        assert client.execute_sql("SELECT count(*) FROM kept") == [(1,)]
