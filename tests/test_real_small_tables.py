"""The small tables of the real Tiledesk server, held against its own answers and its database."""

from __future__ import annotations

import shutil
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import STREAMS, Account, RealServer, on_one_real_server, query
from small import stored
from tiledesk.joins import JOINS, SENDERS
from tiledesk.small_tables import ALL_TABLES, SMALL_TABLES
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
from truth import all_differences, differences

NAMES = [table.name for table in SMALL_TABLES]
# in the server's database under these names, and in the API as they are there
COLLECTIONS = ("departments", "groups", "tags")  # tables that hold what the database holds

pytestmark = on_one_real_server


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


@pytest.fixture
def furnished(real_server: RealServer, files: Path) -> tuple[Account, Path]:
    """A project of the test's own with a row of everything, loaded; made once for each server."""
    account = real_server.account()
    note = files / f"furnished-{real_server.seed['project_id']}"
    db = note.with_suffix(".duckdb")
    if not note.exists():
        note.write_text(furnish(account, real_server.seed["agent"]))
        account.project_id = note.read_text()
        load(Target(db=db), resources=NAMES, **account.settings, visitors=True)
    account.project_id = note.read_text()
    return account, db


def furnish(account: Account, agent: dict[str, Any]) -> str:
    """Makes a project with a row in each of its lists; its id."""
    with closing(account.api()) as api:

        def call(method: str, path: str, body: object) -> Any:
            answer = api.request(method, path, json=body)
            assert answer.status_code == 200, (method, path, answer.text)
            return answer.json()

        project = str(call("POST", "/projects", {"name": "Small things"})["_id"])

        def make(path: str, **body: Any) -> Any:
            return call("POST", f"/{project}/{path}", body)

        hidden = {"settings.email.config.pass": "hidden", "settings.email.config.host": "smtp"}
        call("PUT", f"/projects/{project}", hidden)
        make("project_users/invite", email=agent["email"], role="agent", user_available=True)
        make("project_users/invite", email=f"{uuid.uuid4().hex}@example.com", role="agent")
        visitor = {"id_project": project, "firstname": "Nina", "email": "nina@example.org"}
        call("POST", "/auth/signinAnonymously", visitor)
        make("canned", title="greeting", text="Hello")
        make("properties", label="Number", name="number", type="text")
        rule = {"field": "email", "operator": "=", "value": "nina@example.org"}
        make("segments", name="Nina", match="all", filters=[rule])
        make("roles", name="auditor", permissions=["request_read_all"])
        group = make("groups", name="First line", members=[agent["user_id"]])
        share = {"group_id": group["_id"], "percentage": 100}
        make("departments", name="Sales", routing="assigned", groups=[share])
        make("departments", name="Billing", routing="assigned", id_group=group["_id"])
        for number in range(85):
            make("tags", tag=f"tag {number}", color="#00ff00")
        bot = make("faq_kb", name="Helper", type="tilebot", subtype="chatbot", template="blank")
        web = {"_tdActionType": "webrequestv2", "headersString": {"Authorization": "hidden"}}
        make("faq", id_faq_kb=bot["_id"], question="hours", answer="nine to five", actions=[web])
        call("PUT", f"/{project}/bots/{bot['_id']}/publish", {"release_note": "the first"})
        api.get(f"/{project}/kb/namespace/all").raise_for_status()  # makes the first one
        for number in range(3):
            text = {"source": f"Hours {number}", "content": "nine to five", "name": "Hours"}
            make("kb", type="text", namespace=project, **text)
            asked = {"namespace": project, "question": f"why {number}?", "request_id": "x"}
            make("kb/unanswered", **asked, sender="me")
            make("kb/answered", **asked, answer="because", tokens=3)
        for number in range(45):
            make("events", name="widget.open", attributes={"number": number})
    return project


@pytest.mark.parametrize("table", SMALL_TABLES, ids=lambda table: table.name)
def test_every_small_table_equals_the_servers_own_answer(
    furnished: tuple[Account, Path], table: Any
) -> None:
    account, db = furnished
    expected = stored(account, table)
    assert expected
    assert differences(db, table, expected) == []


def test_no_secret_of_a_project_or_a_bot_is_loaded(furnished: tuple[Account, Path]) -> None:
    _, db = furnished
    ((settings,),) = query(db, "SELECT settings FROM tiledesk.projects")
    assert "smtp" in settings
    assert "hidden" not in settings
    ((actions,),) = query(
        db,
        "SELECT actions FROM tiledesk.faq WHERE question = 'hours' AND id_faq_kb ="
        " (SELECT _id FROM tiledesk.bots WHERE name = 'Helper' AND root_id IS NULL)",
    )
    assert "webrequestv2" in actions
    assert "hidden" not in actions


def test_looking_for_a_knowledge_base_makes_none(real_server: RealServer, files: Path) -> None:
    """The list of knowledge bases makes one where there is none (contract 8.31)."""
    account = real_server.account()
    with closing(account.api()) as api:
        made = api.post("/projects", json={"name": "Without knowledge"}).raise_for_status()
        account.project_id = made.json()["_id"]
        db = files / f"without-{account.project_id}.duckdb"
        kb = [name for name in NAMES if name.startswith("kb_") or name.endswith("questions")]
        load(Target(db=db), resources=kb, **account.settings)
        assert query(db, "SELECT count(*) FROM tiledesk.kb_namespaces") == [(0,)]
        asked = api.get(f"/{account.project_id}/kb/unanswered/{account.project_id}")
        assert asked.status_code == 403


def test_the_seeded_project_equals_its_database_and_every_join_finds_its_rows(
    real_server: RealServer, loaded: Path, tmp_path: Path
) -> None:
    account, db = real_server.account(), shutil.copy(loaded, tmp_path / "joins.duckdb")
    names = [table.name for table in ALL_TABLES if not getattr(table, "is_optional", False)]
    load(Target(db=db), resources=names, **account.settings, visitors=True)
    assert all_differences(db, real_server.truth, [*STREAMS, *COLLECTIONS]) == []
    found = {key for (key,) in query(db, "SELECT _id FROM tiledesk.project_users")}
    assert found == real_server.truth("project_users").keys()
    bots = {key for (key,) in query(db, "SELECT _id FROM tiledesk.bots")}
    assert bots == real_server.truth("faq_kbs").keys()
    lost = {}
    for join in JOINS:
        if join.table in ("faq", "events"):
            continue
        ((rows, met),) = query(db, join.sql("count(*), count(b._id)"))
        if join.is_sure and rows != met:
            lost[str(join)] = rows - met
    assert lost == {}
    kinds = dict(query(db, f"SELECT kind, count(*) FROM ({SENDERS}) GROUP BY kind"))
    assert {"system", "bot", "member", "customer"} <= kinds.keys()
