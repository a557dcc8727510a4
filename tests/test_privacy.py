"""Personal data: what is not to be kept is nowhere on the disk, and joins still come out."""

from __future__ import annotations

import copy
import hashlib
import hmac
import itertools
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import dlt
import duckdb
import msgspec
import pyarrow as pa
import pytest
from dlt.common.versioned_state import decompress_state

from command_server import start_command
from conftest import (
    STREAMS,
    Account,
    RealServer,
    account_of,
    change,
    on_one_real_server,
    queries,
    query,
    run_cli,
)
from privacy_scan import files_below, found_in_bytes, found_in_tables, needles_of
from tiledesk import tiledesk_source
from tiledesk.arrow import Row, read_page
from tiledesk.errors import BadSetting
from tiledesk.hidden_fields import OPAQUE
from tiledesk.privacy import PSEUDONYM, Privacy
from tiledesk.small_tables import ALL_TABLES
from tiledesk.small_tables.library import TAGS
from tiledesk.tables import LOADS, REQUESTS, TABLES, Column, Table
from tiledesk_pipeline.destinations.duckdb import DuckDB
from tiledesk_pipeline.load import load
from tiledesk_pipeline.progress import Progress
from tiledesk_pipeline.reconcile import reconcile
from tiledesk_pipeline.reconcile.purge import purge
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox, World, generate

KEY = "a secret of some length"
HIDING = {
    "pseudonymize": {"privacy": "pseudonymize", "pseudonym_key": KEY},
    "drop": {"privacy": "drop"},
    "drop with a key": {"privacy": "drop", "pseudonym_key": KEY},
}
BY_COLUMN = {
    f"{part.name}.{column.name}": (part, column)
    for root in TABLES
    for part in root.with_lists()
    for column in part.all_columns()
}

EVERY = {
    f"{part.name}.{column.name}": column
    for root in ALL_TABLES
    for part in root.with_lists()
    for column in part.all_columns()
}


@pytest.fixture(params=HIDING)
def hiding(request: pytest.FixtureRequest) -> dict[str, str]:
    return HIDING[request.param]


@pytest.fixture
def world() -> World:
    return with_telling_ids(generate(requests=40, seed=11))


def with_telling_ids(world: World) -> World:
    """Ids as connectors make them, and personal data in every place that could be forgotten."""
    project = world.project_id
    for key in list(world.requests):
        request = world.requests[key]
        if request["id_project"] != project or request["channel"]["name"] != "whatsapp":
            continue
        phone = world.leads[request["lead"]]["phone"][1:]
        old, new = request["request_id"], f"support-group-{project}-86a2293e-wab-104777-{phone}"
        if world.messages.in_group(new):
            new += key[-4:]
        for row in world.messages.in_group(old):
            world.change("messages", row.id, recipient=new)
        attributes = request["attributes"]
        if "last_message" in attributes:
            attributes = {**attributes, "last_message": {**attributes["last_message"]}}
            attributes["last_message"]["recipient"] = new
        world.change("requests", key, request_id=new, attributes=attributes)
    owned = [key for key in world.requests if world.requests[key]["id_project"] == project]
    world.change(
        "requests",
        owned[0],
        closed_by="anonymous.visitor@customers.example",
        participants=["anonymous.visitor@customers.example"],
        contact={
            "phone": "+39000777123456",
            "email": "a@b.example",
            "external_id": "CRM-4711-Rossi",
        },
        location={
            "city": "Castelnuovo Berardenga",
            "region": "Provincia di Siena",
            "zipcode": "53019-X",
            "streetAddress": "Via dei Tigli 17 bis",
            "ipAddress": "198.51.100.77",
            "geometry": {"type": "Point", "coordinates": [11.503771, 43.347321]},
        },
        notes=[
            {
                "_id": "a" * 24,
                "text": "He called himself Baldassarre Quintavalle.",
                "createdBy": "b" * 24,
                "createdAt": "2025-01-01T00:00:00.000Z",
                "updatedAt": "2025-01-01T00:00:00.000Z",
            }
        ],
        nickname={"text": "a field that no column knows"},
        subject={"text": "a subject that is no text"},
        rating_message="broken emoji \ud83d of a customer",
    )
    leads = [key for key in world.leads if world.leads[key]["id_project"] == project]
    world.change(
        "leads",
        leads[0],
        company="Quintavalle & Figli S.n.c.",
        note="Prefers to be called in the evening.",
        streetAddress="Via dei Tigli 17 bis",
        properties={"text": "a property of a customer"},
    )
    return world


def needles_in(world: World) -> set[str]:
    names = ("requests", "messages", "leads", "activities", "users", "project_users",
             "canned_responses", "pending_invitations")  # fmt: skip
    documents: list[Any] = [
        world.collections[name][key] for name in names for key in world.collections[name]
    ]
    documents = [d for d in documents if d.get("id_project", world.project_id) == world.project_id]
    questions = [
        {"text": document[name]}
        for collection in ("unanswered_questions", "answered_questions")
        for document in map(
            world.collections[collection].__getitem__, world.collections[collection]
        )
        for name in ("question", "answer")
        if name in document
    ]
    bots = {str(world.bots[key]["name"]) for key in world.bots}  # send messages, and are nobody
    return needles_of([*documents, *questions]) - bots


def credentials_of(world: World) -> set[str]:
    owner = world.users["owner"]
    return {owner.password, KEY, owner.email}


class Watching(Progress):
    """Looks into all files at every step of a load."""

    def __init__(self, folders: list[Path], needles: set[str]) -> None:
        super().__init__()
        self._folders = folders
        self._needles = needles
        self.found: set[str] = set()
        self.files: set[str] = set()
        self._looked_at: set[tuple[Path, int, int]] = set()

    def step(self, what: str) -> None:
        self.look()

    def look(self) -> None:
        for path in (path for folder in self._folders for path in files_below(folder)):
            state = (path, path.stat().st_size, path.stat().st_mtime_ns)
            if state not in self._looked_at:
                self._looked_at.add(state)
                self.files.add(path.suffix)
                self.found.update(found_in_bytes([path], self._needles))


def watched(
    owner: Account, db: Path, needles: set[str], monkeypatch: pytest.MonkeyPatch
) -> Watching:
    """A load, by settings of the environment, that is looked at at every step."""
    watching = Watching([Path(os.environ["DLT_DATA_DIR"]), db.parent], needles)
    write = DuckDB.write

    def looked_at(target: DuckDB, pipeline: dlt.Pipeline, *rest: Any, **more: Any) -> Any:
        watching.look()  # normalized
        info = write(target, pipeline, *rest, **more)
        watching.look()  # loaded; the packages are not removed yet
        return info

    monkeypatch.setattr(DuckDB, "write", looked_at)
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    for name, value in owner.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOURCES__TILEDESK__VISITORS", "true")
    load(Target(db=db), progress=watching)
    watching.look()
    return watching


def in_environment(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)


def environment_of(settings: dict[str, Any]) -> dict[str, str]:
    return {
        f"SOURCES__TILEDESK__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


# --- declared -------------------------------------------------------------------------------------


def test_every_column_of_text_says_whether_it_is_personal() -> None:
    silent = [
        f"{part.name}.{column.name}"
        for root in (*ALL_TABLES, LOADS)
        for part in root.with_lists()
        for column in part.all_columns()
        if column.type in ("text", "json") and column.personal is None
    ]
    assert silent == []


def test_every_free_object_of_a_table_is_personal() -> None:
    free = [
        f"{part.name}.{column.name}"
        for root in ALL_TABLES
        for part in root.with_lists()
        for column in part.all_columns()
        if column.type == "json" and column.description.startswith("Free-form")
    ]
    assert [name for name in free if EVERY[name].personal is not True] == []


def test_every_free_object_of_a_stream_is_personal() -> None:
    assert [
        name for name, (_, column) in BY_COLUMN.items()
        if column.type == "json" and column.personal is not True
    ] == []  # fmt: skip


def test_no_key_is_personal() -> None:
    for name in ("_id", "parent_id", "id_project"):
        found = [column for _, column in BY_COLUMN.values() if column.name == name]
        assert {column.personal for column in found} == {False}


# --- nowhere on the disk --------------------------------------------------------------------------


@pytest.mark.varied
def test_nothing_personal_is_on_the_disk_at_any_step_of_a_load(
    owner: Account, db: Path, world: World, hiding: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    in_environment(hiding, monkeypatch)
    needles = needles_in(world)
    assert len(needles) > 200
    looked = watched(owner, db, needles | credentials_of(world), monkeypatch)
    assert looked.found == set()
    assert {".parquet", ".duckdb"} <= looked.files
    assert found_in_tables(db, needles | credentials_of(world)) == []
    assert query(db, "SELECT count(*) FROM tiledesk.messages")[0][0] > 200


def test_what_is_kept_is_found_on_the_disk_but_no_credential(
    owner: Account, db: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the search finds what is there."""
    monkeypatch.setenv("SOURCES__TILEDESK__PSEUDONYM_KEY", KEY)
    needles = needles_in(world)
    looked = watched(owner, db, needles | {KEY, owner.password}, monkeypatch)
    found = {line.partition(": ")[2] for line in looked.found}
    in_tables = {line.partition(": ")[2] for line in found_in_tables(db, needles)}
    addresses = {needle for needle in needles if needle.startswith(("203.0.113.", "198.51.100."))}
    assert addresses
    long = {needle for needle in needles if len(needle) >= 10} - addresses
    of_others = {n for user in world.users.values() for n in (user.email, user.fullname)}
    of_others |= {f"+39000{number:07d}" for number in range(20)}
    assert not addresses & (found | in_tables)
    assert len(long - found - of_others) <= 5, long - found
    assert len(long - in_tables - of_others) <= 5
    assert not {KEY, owner.password} & found


WORD, NUMBER = "Zwetschgenmus", 8675309
# Tables that hold settings only, of which no document says anything of people.
SETTINGS_ONLY = {"kb_namespaces", "properties", "roles"}


def marked_everywhere(world: World) -> None:
    """A made-up word in every personal field, and in fields that no column knows, in any shape."""
    made = itertools.count()

    def shape() -> Any:
        number = next(made)
        word = f"{WORD} {number}"
        return (
            word,
            f"{word} \ud83d",
            f"{word}\0{word}",
            {"text": word, word: {word: [word]}},
            [word, {"a": [word]}, [[word]]],
            NUMBER * 10_000 + number,
            f"{word}\r\n\x1b[31m",
        )[number % 7]

    collections = world.collections
    for table in ALL_TABLES:
        for key in list(collections[table.name]):
            document = copy.deepcopy(collections[table.name][key])
            if document.get("id_project", world.project_id) != world.project_id:
                continue
            fields = [column.source for column in table.columns if column.personal is True]
            of_user = {field.partition(".")[2]: shape() for field in fields if "id_user." in field}
            user = document.get("id_user")
            if of_user and user in collections["users"]:
                account = collections["users"][user]
                if account["email"] == world.users["owner"].email:
                    del of_user["email"]
                world.change("users", user, **of_user)
            for field in fields:
                *outer, last = field.split(".")
                place = document
                if outer == ["id_user"] or field in ("profile", "settings"):
                    continue  # of the account, and of what decides who may see what
                for name in outer:
                    place[name] = dict(place.get(name) or {})
                    place = place[name]
                place[last] = shape()
            for part in table.lists:
                entries = document.get(part.source)
                if isinstance(entries, list):
                    for entry in entries:
                        if isinstance(entry, dict):
                            entry["remark"] = shape()
            document |= {"nickname": shape(), "nested": {"deeper": [shape(), {"x": shape()}]}}
            world.insert(table.name, document)


def every_cell(db: Path) -> dict[str, str]:
    """All tables of all schemas as text, dlt's own and its packed state among them."""
    found = {}
    with duckdb.connect(str(db)) as connection:
        connection.execute("CHECKPOINT")
        for schema, table in connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables()"
        ).fetchall():
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            if table == "_dlt_pipeline_state":
                rows += [(decompress_state(row[3]),) for row in rows]
            found[table] = "\n".join(map(repr, rows))
    return found


@pytest.mark.varied
@pytest.mark.parametrize(
    "settings",
    [{}, *HIDING.values()],
    ids=["keep", *HIDING],
)
def test_no_marked_word_of_any_table_is_anywhere_after_a_load(
    owner: Account, db: Path, world: World, settings: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    marked_everywhere(world)
    options = {"faq": "true", "events": "true", **settings}
    in_environment(options, monkeypatch)
    caplog.set_level(logging.DEBUG)
    needles = {WORD, str(NUMBER)}
    looked = watched(owner, db, {WORD}, monkeypatch)
    said = [caplog.text, *capfd.readouterr()]
    if not settings:
        holds = {name for name, text in every_cell(db).items() if WORD in text}
        assert {table.name for table in ALL_TABLES} - holds <= SETTINGS_ONLY
        return
    for command in (["load"], ["reconcile", "--deep", "--repair"], ["status"]):
        done = run_cli(
            *command, "--db", str(db), "--verbose", cwd=tmp_path, environment=owner.environment
        )
        assert done.returncode == 0, done.stderr
        said += [done.stdout, done.stderr]
    assert looked.found == set()
    assert [name for name, text in every_cell(db).items() for n in needles if n in text] == []
    for path in (*files_below(db.parent), *files_below(Path(os.environ["DLT_DATA_DIR"]))):
        assert not any(n.encode() in path.read_bytes() for n in needles), path
    assert not any(n in text for n in needles for text in said)


@pytest.mark.varied
@pytest.mark.slow
def test_nothing_personal_is_left_by_a_load_that_was_killed(
    sandbox: Sandbox, owner: Account, db: Path, world: World, hiding: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, **owner.environment, **environment_of(hiding)}
    needles = needles_in(world) | credentials_of(world)
    killed_with = set()
    for sign in ("/extracted/", "/normalized/", ".parquet", ".wal"):
        process = start_command(
            *("load", "--db", str(db)),
            cwd=tmp_path,
            environment={**environment, "DLT_DATA_DIR": str(home)},
        )
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if found := [path for path in files_below(tmp_path) if sign in str(path)]:
                killed_with.update(path.suffix for path in found)
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert found_in_bytes(files_below(tmp_path), needles) == [], sign
    assert ".parquet" in killed_with
    owner.load(db, **hiding)
    assert found_in_tables(db, needles) == []


@pytest.mark.varied
def test_nothing_personal_is_left_by_a_program_of_ones_own(
    owner: Account, db: Path, world: World, hiding: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """dlt keeps the files and the trace of its loads."""
    for name, value in {**owner.environment, **environment_of(hiding)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    pipeline = dlt.pipeline(
        "own", destination=dlt.destinations.duckdb(str(db)), dataset_name="desk"
    )
    pipeline.run(tiledesk_source())
    needles = needles_in(world) | credentials_of(world)
    files = files_below(Path(os.environ["DLT_DATA_DIR"]))
    assert {".parquet", ".pickle"} <= {path.suffix for path in files}
    assert found_in_bytes([*files, db], needles) == []
    assert found_in_tables(db, needles) == []


@pytest.mark.varied
@pytest.mark.parametrize("who", ["owner", "admin"])
def test_no_log_line_and_no_sentence_holds_anything_personal(
    sandbox: Sandbox, db: Path, world: World, who: str, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    account = account_of(sandbox, who)  # the admin reads messages by conversation
    summary = load(Target(db=db), **account.settings, **HIDING["pseudonymize"])
    found = reconcile(Target(db=db), deep=True, **account.settings, **HIDING["pseudonymize"])
    said = [caplog.text, *capsys.readouterr(), repr(summary.notices), repr(found)]
    assert "httpcore" in caplog.text  # who is nearest to the addresses and the answers
    for needle in needles_in(world) | credentials_of(world):
        assert not any(needle in text for text in said), needle


# --- joins ----------------------------------------------------------------------------------------

JOINS = [
    ("messages", "recipient", "requests", "request_id"),
    ("messages", "sender", "leads", "lead_id"),
    ("messages", "created_by", "leads", "lead_id"),
    ("requests", "created_by", "leads", "lead_id"),
    ("requests", "contact_email", "leads", "email"),
    ("requests", "contact_phone", "leads", "phone"),
    ("requests", "lead", "leads", "_id"),
    ("activities", "target_id", "requests", "_id"),
    ("requests__participants", "participant", "messages", "sender"),
    ("requests", "closed_by", "messages", "sender"),
]


def counts_of(db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Joined rows, and distinct values of each personal column of text."""
    asked = {
        f"{left}.{a} = {right}.{b}": "SELECT count(*)"
        f" FROM tiledesk.{left} x JOIN tiledesk.{right} y ON x.{a} = y.{b}"
        for left, a, right, b in JOINS
    }
    for name, (part, column) in BY_COLUMN.items():
        if column.type == "text" and column.personal:
            sql = f"SELECT count(DISTINCT {column.name}), count(*), count({column.name})"
            asked[name] = f"{sql} FROM tiledesk.{part.name}"
    return queries(db, asked)


def test_joins_and_distinct_counts_are_the_same_under_pseudonyms(
    owner: Account, tmp_path: Path
) -> None:
    clear, hidden = tmp_path / "clear.duckdb", tmp_path / "hidden.duckdb"
    owner.load(clear)
    owner.load(hidden, **HIDING["pseudonymize"])
    expected = counts_of(clear)
    assert counts_of(hidden) == expected
    assert all(expected[f"{a}.{b} = {c}.{d}"] > [(0,)] for a, b, c, d in JOINS)
    told = "SELECT count(*) FROM tiledesk.messages WHERE recipient LIKE 'support-group-%'"
    assert query(hidden, told) == query(clear, told) > [(0,)]
    (changed,) = query(hidden, told + " AND recipient LIKE 'support-group-p\\_%' ESCAPE '\\'")[0]
    assert changed > 10


# --- what is done to a value ----------------------------------------------------------------------


def made(privacy: Privacy, name: str, *values: str | None) -> list[str | None]:
    """What values become in a column."""
    part, column = BY_COLUMN[name]
    arrow = pa.table({column.name: pa.array(values, pa.string())})
    found: list[str | None] = privacy.applied(part, arrow).column(0).to_pylist()
    assert found == [privacy.value(part, column.name, value) for value in values]
    return found


def pseudonym(value: str, key: str = KEY) -> str:
    digest = hmac.new(key.encode(), value.encode(), "sha256").hexdigest()
    return f"p_{digest[:32]}"


def test_a_pseudonym_is_a_keyed_hash_of_the_very_value() -> None:
    privacy = Privacy("pseudonymize", pseudonym_key=KEY)
    for name in ("leads.email", "requests.contact_email", "messages.text"):
        values = ["anna@b.example", "Anna@b.example", " anna@b.example", "", None]
        *three, empty, null = made(privacy, name, *values)
        assert three == [pseudonym(value) for value in values[:3] if value]
        assert len(set(three)) == 3
        assert (empty, null) == ("", None)
    other = Privacy("pseudonymize", pseudonym_key=KEY + "2")
    assert made(other, "leads.email", "x") == [pseudonym("x", KEY + "2")] != [pseudonym("x")]
    assert PSEUDONYM.fullmatch(pseudonym("x"))


OPAQUE_IDS = [
    "6718ba32dd73cf256d08f4f7",
    "bot_6719d372dd73cf256d08f51b",
    "4d1079ab-5e32-4f4a-82e5-0777e57bae11",
    "support-group-5f5e1000dd73cf256d08f4d4-129b5236c56d7e236826bd576f0e7c6c",
    "system",
    "_trigger",
    "_bot_unresponsive",
]
TELLING_IDS = [
    "wab-390005550000000",
    "voice-twilio-390005550000000",
    "390005550000000",
    "anna@b.example",
    "Anna",
    "bot_anna",
    "6718ba32dd73cf256d08f4f7 Anna",
    "group-friends of Anna",
    "4d1079ab-5e32-4f4a-82e5-390005550000000",
]
CONVERSATION = "support-group-5f5e1000dd73cf256d08f4d4-86a2293e-wab-104777398965560-393484506627"


@pytest.mark.parametrize(
    "name",
    [name for name, (_, column) in BY_COLUMN.items() if column.personal == "id"],
)
def test_ids_that_tell_nothing_stay_and_others_do_not(name: str) -> None:
    for privacy in (
        Privacy("pseudonymize", pseudonym_key=KEY),
        Privacy("drop", pseudonym_key=KEY),
    ):
        assert made(privacy, name, *OPAQUE_IDS, None) == [*OPAQUE_IDS, None]
        assert made(privacy, name, *TELLING_IDS) == [pseudonym(value) for value in TELLING_IDS]
        (conversation,) = made(privacy, name, CONVERSATION)
        assert conversation == "support-group-" + pseudonym(CONVERSATION)
        assert PSEUDONYM.fullmatch(conversation)
    dropped = made(Privacy("drop"), name, *OPAQUE_IDS, CONVERSATION, *TELLING_IDS)
    assert dropped == OPAQUE_IDS + [None] * (1 + len(TELLING_IDS))


def test_ids_are_told_apart_as_a_whole() -> None:
    assert all(OPAQUE.fullmatch(value) for value in OPAQUE_IDS)
    assert not any(OPAQUE.fullmatch(value) for value in [*TELLING_IDS, CONVERSATION])


@pytest.mark.parametrize("policy", ["pseudonymize", "drop"])
def test_free_objects_and_what_is_unknown_are_left_out_by_both(policy: str) -> None:
    privacy = Privacy(policy, pseudonym_key=KEY)
    for name, (_, column) in BY_COLUMN.items():
        if column.type == "json":
            assert made(privacy, name, '{"name":"Anna"}', None) == [None, None], name


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, "drop drop drop"),
        ({"messages.text": "keep"}, "keep drop drop"),
        ({"messages": {"text": "keep"}}, "keep drop drop"),  # TOML without quotes
        ({"requests": "keep"}, "drop keep keep"),
        ({"requests": "keep", "requests__notes": "pseudonymize"}, "drop keep pseudonymize"),
        ({"requests__notes.text": "keep", "requests__notes": "pseudonymize"}, "drop drop keep"),
        ({"requests": "keep", "requests.subject": "pseudonymize"}, "drop pseudonymize keep"),
    ],
)
def test_the_most_specific_policy_counts(overrides: dict[str, Any], expected: str) -> None:
    privacy = Privacy("drop", overrides, KEY)
    became = {"drop": None, "keep": "x", "pseudonymize": pseudonym("x")}
    names = ("messages.text", "requests.subject", "requests__notes.text")
    assert [made(privacy, name, "x")[0] for name in names] == [became[p] for p in expected.split()]


def test_a_column_that_is_not_declared_personal_can_be_named() -> None:
    privacy = Privacy(overrides={"leads__tags.tag": "drop", "leads.country": "pseudonymize"},
                      pseudonym_key=KEY)  # fmt: skip
    assert made(privacy, "leads__tags.tag", "vip") == [None]
    assert made(privacy, "leads.country", "Italy") == [pseudonym("Italy")]
    assert made(privacy, "requests__tags.tag", "vip") == ["vip"]
    assert made(Privacy(overrides={"leads": "drop"}), "leads.country", "Italy") == ["Italy"]


def test_a_table_that_is_not_among_the_streams_is_no_exception() -> None:
    column = Column("name", "text", "Name.", personal=True)
    table = Table("people", "People.", (column,), cursor="updated_at")
    arrow = pa.table({"name": ["Anna"]})
    assert Privacy("drop").applied(table, arrow).column(0).to_pylist() == [None]


GUESSABLE = [
    "aaaaaaaaaaaaaaaa", "passwordpassword", "1234567890123456", "changemechangeme",
    "ABABABABABABABAB", "qwertyuiopasdfgh", "0123456789abcdef0123456789abcdef", "P4ssw0rdP4ssw0rd",
    "tiledesktiledesk", "my-pseudonym-key", "2026-11-26 2026-11-26", "aB3$" * 20,
]  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        "9e2f4c1b7a6d8035", "tkECV4VdxrBp2naY",
        "f378826c016072e2708e7967f92191940fdf13ef6532838ca602549c84a93e1e",
        "f378826c016072e2708e7967f92191940fdf13ef6532838ca602549c84a93e1e" * 2,
        "Größe, 9 Äpfel & зелёный чай", KEY,
    ],
)  # fmt: skip
def test_a_key_that_was_drawn_by_chance_is_taken(key: str) -> None:
    assert Privacy("pseudonymize", pseudonym_key=key, known=["someone@desk.example"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"policy": "mask"}, "sources.tiledesk.privacy is none of keep, pseudonymize, drop."),
        ({"policy": "pseudonymize"}, "Not configured: sources.tiledesk.pseudonym_key"),
        ({"overrides": {"leads.email": "pseudonymize"}}, "Not configured: sources.tiledesk.pseud"),
        ({"pseudonym_key": "hunter2"}, "shorter than 16 characters"),
        *(({"pseudonym_key": key}, "is easy to guess") for key in GUESSABLE),
        ({"pseudonym_key": KEY, "known": [KEY]}, "is easy to guess"),
        ({"pseudonym_key": "someone@desk.example", "known": ["someone@desk.example"]}, "is easy"),
        ({"pseudonym_key": "x4!Rt9_wq82#Lm" * 2, "known": ["x4!Rt9_wq82#Lm"]}, "is easy to guess"),
        ({"policy": "pseudonymize", "pseudonym_key": " " * 30}, "Not configured"),
        ({"overrides": {"leeds": "drop"}}, "names leeds: there is no such table or column."),
        ({"overrides": {"leads.mail": "drop"}}, "names leads.mail: there is no such"),
        ({"overrides": {"leads": "mask"}}, "privacy_overrides for leads is none of keep"),
        ({"overrides": {"leads._id": "drop"}}, "only columns of text or JSON that are no key"),
        ({"overrides": {"leads.created_at": "drop"}}, "only columns of text or JSON"),
        (
            {"overrides": {"leads.attributes": "pseudonymize"}, "pseudonym_key": KEY},
            "free objects can be kept or dropped, not pseudonymized.",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_in_a_sentence_without_the_key(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadSetting) as refused:
        Privacy(**settings)
    assert sentence in str(refused.value)
    key = settings.get("pseudonym_key", "").strip()
    assert not key or key not in str(refused.value)
    assert ("openssl rand -hex 32" in str(refused.value)) == ("pseudonym_key" in str(refused.value))


# --- settings -------------------------------------------------------------------------------------


def test_overrides_come_from_toml_and_from_the_environment(owner: Account, tmp_path: Path) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(
        '[sources.tiledesk]\nprivacy = "drop"\n'
        '[sources.tiledesk.privacy_overrides]\n"messages.text" = "keep"\nleads = "pseudonymize"\n'
    )
    (tmp_path / ".dlt" / "secrets.toml").write_text(
        f'[sources.tiledesk]\npseudonym_key = "{KEY}"\n'
    )
    done = run_cli("check", cwd=tmp_path, environment=owner.environment)
    assert "personal data is left out; but messages.text = keep, leads = pseudonymize" in " ".join(
        done.stdout.split()
    )
    run_cli("load", "--db", "a.duckdb", cwd=tmp_path, environment=owner.environment)
    filled = (
        "SELECT (SELECT count(text) FROM tiledesk.messages) > 0,"
        " (SELECT count(*) FROM tiledesk.leads WHERE email LIKE 'p\\_%' ESCAPE '\\') > 0,"
        " (SELECT count(subject) + count(transcript) FROM tiledesk.requests)"
    )
    assert query(tmp_path / "a.duckdb", filled) == [(True, True, 0)]
    environment = {
        **owner.environment,
        "SOURCES__TILEDESK__PRIVACY_OVERRIDES": '{"requests.transcript": "keep"}',
    }
    run_cli("load", "--db", "b.duckdb", cwd=tmp_path, environment=environment)
    filled = "SELECT count(transcript) > 0, count(first_text) FROM tiledesk.requests"
    assert query(tmp_path / "b.duckdb", filled) == [(True, 0)]


@pytest.mark.parametrize("command", ["check", "load", "reconcile"])
def test_a_setting_that_cannot_work_ends_a_command_in_a_sentence(
    owner: Account, tmp_path: Path, command: str
) -> None:
    owner.load(tmp_path / "support.duckdb", resources=["leads"])
    environment = {**owner.environment, "SOURCES__TILEDESK__PRIVACY": "mask"}
    done = run_cli(command, cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Error: sources.tiledesk.privacy is none of keep, pseudonymize, drop."
    )


def fresh_rows(world: World) -> None:
    """Something to read for the next load."""
    key = next(k for k in world.leads if world.leads[k]["id_project"] == world.project_id)
    world.change("leads", key, fullname="Someone Else", updatedAt=world.now())


CHANGES = {
    "policy": ({"privacy": "keep"}, HIDING["drop"], "other privacy settings"),
    "back": (HIDING["drop"], {"privacy": "keep"}, "other privacy settings"),
    "key": (
        HIDING["pseudonymize"],
        {**HIDING["pseudonymize"], "pseudonym_key": KEY + "2"},
        "another sources.tiledesk.pseudonym_key",
    ),
    "key of ids": (
        HIDING["drop with a key"],
        {**HIDING["drop with a key"], "pseudonym_key": KEY + "2"},
        "another sources.tiledesk.pseudonym_key",
    ),
    "no key": (HIDING["drop with a key"], HIDING["drop"], "other privacy settings"),
    "override": (
        HIDING["drop"],
        {**HIDING["drop"], "privacy_overrides": {"leads.email": "keep"}},
        "other privacy settings",
    ),
}


@pytest.mark.drawn("policies that change")
@pytest.mark.varied
@pytest.mark.parametrize("change", CHANGES)
def test_a_table_is_not_gone_on_with_in_another_way_unless_it_is_read_anew(
    owner: Account, db: Path, world: World, change: str
) -> None:
    before, after, why = CHANGES[change]
    leads = {"resources": ["leads"]}
    owner.load(db, **leads, **before)
    fresh_rows(world)
    for attempt, wishes in ((load, leads), (reconcile, {})):
        with pytest.raises(Exception, match="The table") as refused:
            attempt(Target(db=db), **wishes, **owner.settings, **after)
        assert why in str(refused.value)
        assert KEY not in str(refused.value)
    owner.load(db, **leads, **before)
    owner.load(db, **leads, full_refresh=True, **after)
    owner.load(db, **leads, **after)


@pytest.mark.drawn("policies that change")
def test_a_table_of_a_version_without_a_policy_is_one_that_keeps(
    owner: Account, db: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    require = Privacy.require_same_policy
    monkeypatch.setattr(Privacy, "require_same_policy", lambda *_: None)
    owner.load_streams(db)
    monkeypatch.setattr(Privacy, "require_same_policy", require)
    with pytest.raises(Exception, match="other privacy settings"):
        owner.load_streams(db, **HIDING["drop"])
    owner.load_streams(db)


@pytest.mark.drawn("policies that change")
@pytest.mark.varied
@pytest.mark.parametrize("since", ["2020-01-01", "2025-06-01"])
def test_a_history_that_begins_later_may_begin_with_any_policy(
    owner: Account, db: Path, since: str
) -> None:
    import pendulum

    when = pendulum.parse(since)
    assert isinstance(when, pendulum.DateTime)
    for _ in range(2):
        owner.load_streams(db, since=when, **HIDING["drop"])


def states_of(db: Path, name: str) -> list[dict[str, Any]]:
    """What each state in the destination, oldest first, has of a stream."""
    rows = query(db, "SELECT state FROM tiledesk._dlt_pipeline_state ORDER BY version")
    states = [decompress_state(state) for (state,) in rows]
    return [state["sources"]["tiledesk"]["resources"][name] for state in states]


def test_nothing_in_the_state_can_be_compared_with_a_guess(
    owner: Account, db: Path, world: World
) -> None:
    """Neither a row as it was before it was dropped, nor, with a fast hash, the key."""
    owner.load_streams(db, **HIDING["drop with a key"])
    owner.load_streams(db, **HIDING["drop with a key"])
    state = states_of(db, "leads")[-1]
    (stream,) = state["projects"].values()
    digests = stream["written"]
    key = next(iter(digests))
    world.change("leads", key, phone="+390000000000", fullname="Someone Else")
    owner.load_streams(db, **HIDING["drop with a key"])
    (again,) = states_of(db, "leads")[-1]["projects"].values()
    assert again["written"] == digests  # what is dropped is not in them
    kept = state["privacy"]["key"]
    made = hashlib.scrypt(
        KEY.encode(), salt=bytes.fromhex(kept["salt"]), n=2**14, r=8, p=1, dklen=16
    )
    assert kept == {"salt": kept["salt"], "scrypt": made.hex()}
    assert len(kept["salt"]) == 32
    other = db.with_name("other.duckdb")
    owner.load_streams(other, **HIDING["drop with a key"])
    assert states_of(other, "leads")[-1]["privacy"]["key"]["salt"] != kept["salt"]


def test_digests_are_of_what_is_written_and_keyed(world: World) -> None:
    row = json.dumps(world.requests[telling(world)], default=str).encode()
    rows = read_page(b"[" + row + b"]").rows

    def digest(rows: list[Row], **settings: Any) -> str:
        (made,) = Privacy(**settings).digests(REQUESTS, rows)
        return made

    hidden = [{**rows[0], "first_text": msgspec.Raw(b'"other"')}]
    shown = [{**rows[0], "status": msgspec.Raw(b"9999")}]
    listed = [{**rows[0], "tags": msgspec.Raw(b'[{"tag": "other"}]')}]
    for settings in ({"policy": "drop"}, {"policy": "drop", "pseudonym_key": KEY}):
        assert digest(rows, **settings) == digest(hidden, **settings)
        assert digest(rows, **settings) != digest(shown, **settings)
        assert digest(rows, **settings) != digest(listed, **settings)
    for settings in ({}, {"policy": "pseudonymize", "pseudonym_key": KEY}):
        assert digest(rows, **settings) != digest(hidden, **settings)
    assert digest(rows, pseudonym_key=KEY) != digest(rows)
    assert digest(rows, pseudonym_key=KEY) != digest(rows, pseudonym_key=KEY + "2")


@pytest.mark.drawn("policies that change")
def test_a_file_with_digests_of_an_earlier_version_loads_on_and_loses_them(
    owner: Account, db: Path, world: World
) -> None:
    settings = HIDING["drop with a key"]
    owner.load_streams(db, **settings)
    with Target(db=db).pipeline() as pipeline:
        with pipeline.managed_state(extract_state=True) as state:
            for stream in state["sources"]["tiledesk"]["resources"].values():
                stream["privacy"]["key"] = hmac.digest(KEY.encode(), b"tiledesk-dlt", "sha256")[
                    :8
                ].hex()
                (project,) = stream["projects"].values()
                project.pop("written", None)
                project["loaded"] = {"a" * 24: "0123456789abcdef"}
        pipeline.normalize()
        pipeline.load()
    fresh_rows(world)
    with pytest.raises(Exception, match=r"another sources.tiledesk.pseudonym_key"):
        owner.load_streams(db, **{**settings, "pseudonym_key": KEY + "2"})
    before = everything(db)
    owner.load_streams(db, **settings)
    after = everything(db)
    assert {name: len(rows) for name, rows in after.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    for name in STREAMS:
        state = states_of(db, name)[-1]
        assert state["privacy"]["key"].keys() == {"salt", "scrypt"}


@pytest.mark.drawn("policies that change")
@pytest.mark.varied
@pytest.mark.parametrize("settings", [{}, *HIDING.values()], ids=["keep", *HIDING])
def test_no_unkeyed_digest_of_an_earlier_version_is_left_by_a_load_of_any_table(
    owner: Account, db: Path, settings: dict[str, Any]
) -> None:
    owner.load_streams(db, **settings)
    former = "0123456789abcdef"
    with Target(db=db).pipeline() as pipeline:
        with pipeline.managed_state(extract_state=True) as state:
            for stream in state["sources"]["tiledesk"]["resources"].values():
                for project in (
                    *stream["projects"].values(),
                    stream["projects"].setdefault("b" * 24, {}),
                ):
                    project["loaded"] = {"a" * 24: former}
        pipeline.normalize()
        pipeline.load()
    ((load_id,),) = query(db, "SELECT max(load_id) FROM tiledesk._dlt_loads")
    columns = "version, engine_version, pipeline_name, state, created_at, version_hash"
    with duckdb.connect(str(db)) as connection:
        # an older row; one of a load that was killed before it was complete; another pipeline's
        for load, name in (("1.5", "tiledesk"), ("9" * 12, "tiledesk"), ("1.5", "stripe")):
            connection.execute(
                f"INSERT INTO tiledesk._dlt_pipeline_state ({columns}, _dlt_load_id, _dlt_id)"
                f" SELECT {columns.replace('pipeline_name', '?')}, ?, ? FROM"
                " tiledesk._dlt_pipeline_state WHERE _dlt_load_id = ?",
                (name, load, f"{load} {name}", load_id),
            )
    assert former in str([states_of(db, name) for name in STREAMS])
    owner.load(db, resources=["tags"], **settings)
    rows = query(db, "SELECT pipeline_name, state FROM tiledesk._dlt_pipeline_state ORDER BY 1")
    assert [name for name, _ in rows] == ["stripe", "tiledesk"]
    ours = decompress_state(rows[1][1])
    assert former not in str(ours)
    assert ours["sources"]["tiledesk"]["resources"]["leads"]["incremental"]
    before = everything(db)
    owner.load_streams(db, **settings)
    assert everything(db).keys() == before.keys()
    assert query(db, "SELECT count(*) FROM tiledesk._dlt_pipeline_state") == [(2,)]


def test_the_accounts_own_words_are_no_key(owner: Account, tmp_path: Path) -> None:
    for key in (owner.email, owner.email * 2):
        environment = {**owner.environment, "SOURCES__TILEDESK__PSEUDONYM_KEY": key}
        done = run_cli("load", cwd=tmp_path, environment=environment)
        assert done.returncode == 1
        assert "sources.tiledesk.pseudonym_key is easy to guess" in done.stderr
        assert "openssl rand -hex 32" in done.stderr
        assert owner.email not in done.stderr


def test_overrides_that_change_nothing_here_are_no_other_settings(
    owner: Account, db: Path, world: World
) -> None:
    owner.load(db, resources=["leads"], **HIDING["drop"])
    settings = {**HIDING["drop"], "privacy_overrides": {"messages": "keep", "leads.note": "drop"}}
    owner.load(db, resources=["leads"], **settings)


def test_fields_that_are_left_out_are_named(owner: Account, db: Path) -> None:
    told = dict(owner.load(db, **HIDING["drop"]).notices)
    assert told["requests"].startswith("left out, since no column knows them")
    assert "requests.nickname" in told["requests"]
    assert query(db, "SELECT count(*) FROM tiledesk.requests WHERE _extra IS NOT NULL") == [(0,)]


def test_fields_that_are_kept_are_named_as_kept(owner: Account, db: Path) -> None:
    """A value that does not fit its column has the column's policy."""
    notices = owner.load(
        db, resources=["requests"], privacy="drop", privacy_overrides={"requests._extra": "keep"}
    ).notices
    why = "since no column knows them or their type does not fit: "
    told = [notice for name, notice in notices if name == "requests"]
    assert told == [
        f"kept in _extra, {why}requests.nickname",
        f"left out, {why}requests.rating_message (as sent), requests.subject",
    ]
    extra = "SELECT _extra FROM tiledesk.requests WHERE _extra IS NOT NULL"
    assert query(db, extra) == [('{"nickname":{}}',)]


def test_a_table_minds_what_other_tables_hide_as_far_as_its_state_tells() -> None:
    """Earlier versions left the table's own overrides only: that is no other setting."""
    overrides = {"messages.text": "drop"}
    earlier = {"policy": "keep", "overrides": {}, "key": None}
    state: dict[str, Any] = {"projects": {"a": {}}, "privacy": earlier}
    Privacy(overrides=overrides).require_same_policy(REQUESTS, state)
    Privacy(overrides=overrides).require_same_policy(REQUESTS, state)
    with pytest.raises(BadSetting, match="The table requests was loaded with other privacy"):
        Privacy().require_same_policy(
            REQUESTS, state
        )  # transcripts would come with the texts again
    with pytest.raises(BadSetting, match="other privacy settings"):
        Privacy(overrides={**overrides, "leads.note": "drop"}).require_same_policy(REQUESTS, state)
    tags: dict[str, Any] = {"projects": {"a": {}}, "privacy": earlier}
    for settings in ({}, overrides):
        Privacy(overrides=settings).require_same_policy(TAGS, tags)


def test_names_of_fields_that_are_no_names_are_not_told(
    owner: Account, db: Path, world: World
) -> None:
    key = next(k for k in world.leads if world.leads[k]["id_project"] == world.project_id)
    world.change("leads", key, **{"anna@b.example": 1, "+390005550000": 2, "[/x]\n": 3, "fine": 4})
    told = dict(owner.load(db, resources=["leads"]).notices)
    assert told["leads"].endswith(": leads.fine, 3 with other names")


# --- reconcile ------------------------------------------------------------------------------------


def everything(db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the tables of the API, without dlt's own columns."""
    asked = {}
    for part in (part for root in TABLES for part in root.with_lists()):
        names = ", ".join(column.name for column in part.all_columns())
        asked[part.name] = f"SELECT {names} FROM tiledesk.{part.name} ORDER BY ALL"
    return queries(db, asked)


def damage(db: Path) -> None:
    """A row missing and a row stale in each table, and of WhatsApp's conversations both."""
    for name, assignment in (
        ("requests", "first_text = 'other'"),
        ("leads", "fullname = 'other'"),
        ("activities", "verb = 'OTHER'"),
        ("messages", "updated_at = updated_at - INTERVAL 1 MINUTE"),
    ):
        where = "1 = 1"
        if name == "messages":
            where = (
                "recipient LIKE 'support-group-p_%' OR recipient LIKE '%wab%' OR recipient IS NULL"
            )
        (stale,), (missing,) = query(
            db,
            f"SELECT _id FROM tiledesk.{name} WHERE {where} ORDER BY created_at, _id LIMIT 2",
        )
        change(db, f"UPDATE tiledesk.{name} SET {assignment} WHERE _id = '{stale}'")
        change(db, f"DELETE FROM tiledesk.{name} WHERE _id = '{missing}'")


@pytest.mark.varied
@pytest.mark.parametrize("who", ["owner", "admin"])
def test_a_damaged_load_is_repaired_and_nothing_personal_comes_with_it(
    sandbox: Sandbox, db: Path, world: World, who: str, hiding: dict[str, str]
) -> None:
    account = account_of(sandbox, who)
    account.load_streams(db, **hiding)
    before = everything(db)
    damage(db)
    assert everything(db) != before
    found = reconcile(Target(db=db), deep=True, repair=True, **account.settings, **hiding)
    streams = {stream.resource: stream for stream in found.streams}
    for name, stream in streams.items():
        assert stream.differing_ids, name
        assert stream.differing_ids <= stream.repaired, (name, stream)
    assert everything(db) == before
    assert found_in_tables(db, needles_in(world)) == []
    can_tell_all = who == "owner" or hiding != HIDING["drop"]
    assert found.is_equal == can_tell_all
    again = reconcile(Target(db=db), deep=True, **account.settings, **hiding)
    assert [stream.differing_ids for stream in again.streams] == [set()] * 4
    assert again.is_equal == can_tell_all


def telling(world: World) -> str:
    """A conversation of WhatsApp that has several messages."""
    return max(
        (key for key in world.requests if "-wab-" in world.requests[key]["request_id"]),
        key=lambda key: len(world.messages.in_group(world.requests[key]["request_id"])),
    )


@pytest.mark.varied
@pytest.mark.parametrize("who", ["owner", "admin"])
@pytest.mark.parametrize("are_messages_left", [True, False])
def test_a_deleted_conversation_is_marked_with_what_went_with_it(
    sandbox: Sandbox, db: Path, world: World, who: str, are_messages_left: bool
) -> None:
    account, hiding = account_of(sandbox, who), HIDING["pseudonymize"]
    account.load_streams(db, **hiding)
    key = telling(world)
    messages = {row.id for row in world.messages.in_group(world.requests[key]["request_id"])}
    world.remove("requests", key)
    for message in set() if are_messages_left else messages:
        world.remove("messages", message)
    found = reconcile(Target(db=db), deep=True, repair=True, **account.settings, **hiding)
    streams = {stream.resource: stream for stream in found.streams}
    sql = "SELECT _id FROM tiledesk.messages WHERE _deleted_at IS NOT NULL"
    marked = {message for (message,) in query(db, sql)}
    assert streams["requests"].extra == [key]
    if who == "owner":
        assert marked == (set() if are_messages_left else messages)
        assert found.is_equal
    else:  # the API lists it no more, and a pseudonym cannot be asked for
        assert marked == set()
        assert not streams["messages"].is_complete
        assert "pseudonyms" in streams["messages"].remark


def test_a_conversation_that_lost_its_row_is_found_by_its_messages(
    owner: Account, db: Path, world: World
) -> None:
    """Beside one that is extra, so that no count shows it."""
    hiding = HIDING["pseudonymize"]
    owner.load_streams(db, **hiding)
    key = telling(world)
    other = next(
        k for k in world.requests if k != key and "-wab-" in world.requests[k]["request_id"]
    )
    change(db, f"DELETE FROM tiledesk.requests WHERE _id = '{key}'")
    world.remove("requests", other)
    found = reconcile(Target(db=db), repair=True, **owner.settings, **hiding)
    requests, messages = found.streams[:2]
    assert (requests.missing, requests.extra) == ([key], [other])
    assert {key, other} <= requests.repaired
    assert not messages.is_complete
    assert "requests.attributes" in messages.remark
    assert "--deep" in messages.remark


def test_an_equal_load_costs_six_calls_under_pseudonyms(owner: Account, db: Path) -> None:
    owner.load_streams(db, **HIDING["pseudonymize"])
    assert reconcile(Target(db=db), **owner.settings, **HIDING["pseudonymize"]).calls == 6


def test_the_last_messages_are_compared_if_attributes_are_kept(
    owner: Account, db: Path, world: World
) -> None:
    hiding = {**HIDING["pseudonymize"], "privacy_overrides": {"requests.attributes": "keep"}}
    owner.load_streams(db, **hiding)
    last = world.requests[telling(world)]["attributes"]["last_message"]["_id"]
    change(db, f"DELETE FROM tiledesk.messages WHERE _id = '{last}'")
    found = reconcile(Target(db=db), repair=True, **owner.settings, **hiding)
    assert found.streams[1].missing == [last]
    assert found.is_equal


def test_messages_that_are_there_twice_are_repaired(owner: Account, db: Path, world: World) -> None:
    hiding = HIDING["pseudonymize"]
    owner.load_streams(db, **hiding)
    before = everything(db)
    key = next(iter(world.messages.in_group(world.requests[telling(world)]["request_id"]))).id
    change(db, f"INSERT INTO tiledesk.messages SELECT * FROM tiledesk.messages WHERE _id = '{key}'")
    found = reconcile(Target(db=db), repair=True, **owner.settings, **hiding)
    assert found.streams[1].stale == [key]
    assert found.streams[1].repaired == {key}
    assert everything(db) == before


def test_a_purge_takes_the_messages_of_a_conversation_under_a_pseudonym(
    owner: Account, db: Path, world: World
) -> None:
    hiding = HIDING["pseudonymize"]
    owner.load_streams(db, **hiding)
    key = telling(world)
    messages = {row.id for row in world.messages.in_group(world.requests[key]["request_id"])}
    world.remove("requests", key)
    reconcile(Target(db=db), repair=True, **owner.settings, **hiding)
    assert purge(Target(db=db)).rows["messages"] == len(messages)


# --- the real server ------------------------------------------------------------------------------


def needles_of_server(server: RealServer) -> set[str]:
    names = ("requests", "messages", "leads", "activities", "users")
    documents = [document for name in names for document in server.truth(name).values()]
    own_words = " ".join(column.description for _, column in BY_COLUMN.values())
    found = {needle for needle in needles_of(documents) if needle not in own_words}
    bots = {str(bot["name"]) for bot in server.truth("faq_kbs").values()}
    return found - bots | {server.seed["owner"]["password"], KEY}


@pytest.mark.slow
@on_one_real_server
def test_nothing_personal_of_a_real_server_is_on_the_disk(
    real_server: RealServer, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = real_server.account()
    in_environment(HIDING["drop"], monkeypatch)
    needles = needles_of_server(real_server) | {account.email}
    assert len(needles) > 500
    looked = watched(account, db, needles, monkeypatch)
    assert looked.found == set()
    assert found_in_tables(db, needles) == []
    assert query(db, "SELECT count(*) FROM tiledesk.messages")[0][0] > 4_000
    found = reconcile(Target(db=db), deep=True, **account.settings)
    assert [stream.differing_ids for stream in found.streams] == [set()] * 4
    assert found.is_equal
