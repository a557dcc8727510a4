"""What is published: the packages, their licences, the bill of materials, and the workflow."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import Account, query
from tiledesk.version import VERSION
from tiledesk_pipeline.release import licences, notes, sbom
from tiledesk_pipeline.release.licences import Row
from tiledesk_pipeline.release.lock import locked

# the builds are shared, so their tests run in one process
pytestmark = pytest.mark.xdist_group("release")

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "sources/tiledesk": "tiledesk",
    "sources/tiledesk_sandbox": "tiledesk_sandbox",
    "pipelines/tiledesk_pipeline": "tiledesk_pipeline",
    "pipelines/dbt_tiledesk": "dbt_tiledesk",
}
FOR_A_CHECKOUT = re.compile(
    r"pipelines/tiledesk_pipeline/(docs|notebooks|picture|report/charts|release/\w+)\.py"
)
KINDS = {".css", ".html", ".js", ".json", ".py", ".sql", ".txt", ".yml"}
# what people leave in folders, and what must not be published
LEFT = (".dlt/secrets.toml", "tiledesk.env", ".env", "id_rsa", "key.pem", "a.duckdb", "a.parquet")
INFO = f"tiledesk_dlt-{VERSION}.dist-info"
VEGA = "pipelines/tiledesk_pipeline/report/vega-licences.txt"
HOSTS = re.compile(r"://(?!cyclonedx\.org)")
# The clock of a build, and how zipfile and tarfile ask for the time.
CLOCK = """
import time

now, local = time.time, time.localtime
time.time = lambda: now() + {shift}
time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
"""


@cache
def files() -> list[str]:
    """The files of the repository, with new ones that are not committed yet."""
    git = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("only git tells which files belong to the repository")
    return sorted({name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()})


@dataclass
class Built:
    """The packages of one build."""

    wheel: Path
    sdist: Path


def build(source: Path, out: Path, *, umask: int, shift: int, zone: str) -> Built:
    """Build both packages, with another mask, clock, time zone and seed of hashes."""
    clock = out / "clock"
    clock.mkdir(parents=True)
    (clock / "sitecustomize.py").write_text(CLOCK.format(shift=shift))
    environment = {**os.environ, "PYTHONPATH": str(clock), "TZ": zone, "PYTHONHASHSEED": str(shift)}
    environment.pop("SOURCE_DATE_EPOCH", None)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(out)],
        cwd=source,
        env=environment,
        umask=umask,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


def checkout(place: Path, umask: int, age: int) -> Path:
    """The repository as another user has it: other modes, other times, and files of their own."""
    for name in files():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod((ROOT / name).stat().st_mode & 0o111 & ~umask | 0o666 & ~umask)
        os.utime(target, (age, age))
    for folder in PACKAGES:
        for name in LEFT:
            (place / folder / name).parent.mkdir(exist_ok=True)
            (place / folder / name).write_text("made-up secret")
    return place


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Built]:
    """Two builds of the same files, on machines that differ."""
    folder = tmp_path_factory.mktemp("release")
    first = checkout(folder / "one", umask=0o022, age=1_700_000_000)
    second = checkout(folder / "another/place", umask=0o077, age=1_750_000_001)
    return (
        build(first, folder / "1", umask=0o022, shift=0, zone="UTC"),
        build(second, folder / "2", umask=0o077, shift=90_000_007, zone="Pacific/Apia"),
    )


@pytest.fixture(scope="module")
def wheel(builds: tuple[Built, Built]) -> Path:
    return builds[0].wheel


@pytest.fixture(scope="module")
def sdist(builds: tuple[Built, Built]) -> Path:
    return builds[0].sdist


def published() -> dict[str, str]:
    """The files that belong into the wheel: where they are, and their names there."""
    return {
        name: PACKAGES[folder] + name.removeprefix(folder)
        for name in files()
        for folder in PACKAGES
        if name.startswith(f"{folder}/") and not FOR_A_CHECKOUT.fullmatch(name)
    }


# --- the packages ---------------------------------------------------------------------------------


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        modes = {entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    info = {name for name in names if name.startswith(f"{INFO}/")}
    assert names - info == set(published().values())
    assert {name.removeprefix(f"{INFO}/") for name in info} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt"),
        *("licenses/LICENSE", f"licenses/{VEGA}"),
    }
    assert {Path(name).suffix for name in names - info if Path(name).name != "py.typed"} <= KINDS
    assert modes == {0o644}


def test_the_metadata_is_what_an_index_takes(wheel: Path, sdist: Path) -> None:
    """As `twine check` reads it, which is run before a release."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{INFO}/METADATA")
    with tarfile.open(sdist) as archive:
        (entry,) = [name for name in archive.getnames() if name.endswith("/PKG-INFO")]
        file = archive.extractfile(entry)
        assert file is not None
        assert file.read() == text
    told = Metadata.from_email(text, validate=True)
    assert told.metadata_version == "2.4"  # twine 6.2 takes no newer one
    assert str(told.version) == VERSION
    assert told.license_expression == "Apache-2.0"
    assert told.description_content_type == "text/markdown"


def test_each_package_with_code_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = {name.partition("/")[0] for name in names if name.endswith(".py")}
    assert packages == {"tiledesk", "tiledesk_pipeline", "tiledesk_sandbox"}
    assert {f"{package}/py.typed" for package in packages} <= {*names}


def test_no_module_of_the_wheel_imports_one_that_is_left_out() -> None:
    left_out = r"(?:docs|notebooks|picture|charts|release)\b"
    imports = re.compile(
        rf"^\s*(?:from|import) (?:[\w., ]* )?(?:[\w.]*\.)?{left_out}", re.MULTILINE
    )
    assert imports.search("from . import cli, docs")
    assert imports.search("    from tiledesk_pipeline.release.lock import locked")
    for name in published():
        if name.endswith(".py"):
            assert not imports.search((ROOT / name).read_text()), name


def test_the_sdist_holds_what_the_wheel_is_built_from(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        entries = archive.getmembers()
    names = {entry.name.partition("/")[2] for entry in entries if entry.isfile()}
    beside = {"PKG-INFO", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md"}
    beside |= {"constraints.txt", "pyproject.toml", "sources/tiledesk_pipeline.py"}
    assert names == {*published(), *beside}
    assert {(entry.mode, entry.uid, entry.gid, entry.uname) for entry in entries} == {
        (0o644, 0, 0, "")
    }


def test_two_builds_are_the_same_bytes(builds: tuple[Built, Built]) -> None:
    first, second = builds
    assert first.wheel.name == second.wheel.name == f"tiledesk_dlt-{VERSION}-py3-none-any.whl"
    assert first.wheel.read_bytes() == second.wheel.read_bytes()
    assert first.sdist.read_bytes() == second.sdist.read_bytes()


def test_the_wheel_of_the_sdist_is_the_same_bytes(
    builds: tuple[Built, Built], tmp_path: Path
) -> None:
    with tarfile.open(builds[0].sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = build(source, tmp_path / "again", umask=0o022, shift=5, zone="UTC")
    assert again.wheel.read_bytes() == builds[0].wheel.read_bytes()


def a_python(version: str) -> str | None:
    """An interpreter of this version, of pyenv or on the path, that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for each in (*pyenv.glob(f"versions/{version}.*/bin/python"), f"python{version}"):
        probe = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            done = subprocess.run([each, "-c", probe], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.stdout.strip() == version:
            return str(each)
    return None


def pythons() -> list[str]:
    """The Pythons that the package says it runs on."""
    classifiers = metadata("tiledesk-dlt").get_all("Classifier") or []
    found = re.findall(r":: Python :: (3\.\d+)$", "\n".join(classifiers), re.MULTILINE)
    assert len(found) >= 4
    return found


@pytest.mark.drawn("installed packages")
@pytest.mark.slow
@pytest.mark.varied
@pytest.mark.parametrize("version", pythons())
def test_the_wheel_loads_in_an_empty_environment_of_each_python(
    version: str, wheel: Path, served: Account, tmp_path: Path
) -> None:
    python = a_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    command = str(tmp_path / "environment/bin/tiledesk-dlt")

    def run(*words: str) -> str:
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, **served.environment, "DLT_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--quiet", "--python", python, "environment")
    to = ("--python", "environment", "--constraint", str(ROOT / "constraints.txt"))
    run(*uv, "pip", "install", "--quiet", *to, str(wheel))
    assert "Load what is new" in run(command, "--help")
    run(command, "load", "--db", "t.duckdb")
    assert query(tmp_path / "t.duckdb", "SELECT count(*) FROM tiledesk.requests") == [(40,)]


# --- licences -------------------------------------------------------------------------------------


def test_every_locked_package_is_listed_otherwise_run_make_licences() -> None:
    assert [(row.name, row.version) for row in licences.rows()] == [each.key for each in locked()]
    assert licences.page(licences.rows()) == licences.FILE.read_text()


def test_the_list_says_what_the_installed_packages_say() -> None:
    told = {(row.name, row.version): row.licence for row in licences.rows()}
    installed = licences.licences_in(*sys.path)
    assert len(installed) > 100
    assert {key: told[key] for key in installed} == installed


def test_the_list_says_who_needs_the_packages_that_are_asked_for() -> None:
    told = {row.name: row.needed_by for row in licences.rows()}
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()["project"]
    names = [canonicalize_name(Requirement(line).name) for line in project["dependencies"]]
    assert {told[name] for name in names} == {("package",)}
    assert licences.extras() == sorted(
        {*project["optional-dependencies"]} - {"dev", "notebook", "airflow", "dagster", "prefect"}
    )  # JupyterLab and schedulers are not locked
    for extra in licences.extras():
        for line in project["optional-dependencies"][extra]:
            needed_by = told[canonicalize_name(Requirement(line).name)]
            assert {"package", extra} & {*needed_by}, line


def test_every_licence_is_allowed() -> None:
    assert licences.refused(licences.rows()) == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT OR GPL-2.0-only", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("MIT AND GPL-3.0-or-later", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("LicenseRef-Proprietary", False),
    ],
)
def test_copyleft_and_unknown_licences_are_refused(licence: str, allowed: bool) -> None:
    row = Row("made-up", "1.0", licence, ("tests",))
    assert licences.rows(f"{row}\n") == [row]
    assert licences.refused([row]) == ([] if allowed else [f"made-up: {licence}"])


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: something", "MIT OR Apache-2.0"),
        (
            "License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License",
            "BSD-3-Clause",
        ),
        ("License: The text of one ...\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        (
            "Classifier: License :: OSI Approved :: MIT License\n"
            "Classifier: License :: OSI Approved :: GNU Affero General Public License v3",
            None,
        ),
        ("License: ask us", None),
        ("Summary: says nothing", None),
    ],
)
def test_a_licence_is_read_from_metadata_or_the_package_is_named(
    lines: str, licence: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "idna-9.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.4\nName: Idna\nVersion: 9\n{lines}\n")
    lock = locked("idna==9 \\\n    --hash=sha256:" + "0" * 64)
    monkeypatch.setattr(licences, "locked", lambda: lock)
    if licence is None:
        with pytest.raises(licences.UnknownLicence, match="Idna 9"):
            licences.licences_in(str(tmp_path))
    else:
        assert licences.licences_in(str(tmp_path)) == {("idna", "9"): licence}


def test_a_lock_without_exact_versions_is_refused() -> None:
    with pytest.raises(ValueError, match="idna has no exact version"):
        locked("idna>=3")


def test_the_licences_of_vega_are_those_of_the_bundle_in_the_wheel() -> None:
    """After new charts of a newer vl-convert, both files have to be made anew."""
    bundle = (ROOT / VEGA).with_name("vega.js").read_text().partition("\n")[0]
    (version,) = re.findall(r"vl-convert (\S+) ", bundle)
    assert f"vl-convert {version} " in (ROOT / VEGA).read_text()


# --- the bill of materials ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bill of materials as the command writes it, in another time zone."""
    file = tmp_path_factory.mktemp("bill") / "dist/bill.json"
    done = subprocess.run(
        [sys.executable, "-m", "tiledesk_pipeline.release.sbom", str(file)],
        env={**os.environ, "TZ": "Pacific/Apia", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return file.read_text()


@pytest.fixture(scope="module")
def bill(written: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written)
    return found


def test_the_bill_names_every_locked_package_with_its_files_and_who_needs_it(
    bill: dict[str, Any],
) -> None:
    components = {(each["name"], each["version"]): each for each in bill["components"]}
    assert components.keys() == {package.key for package in locked()}
    for package in locked():
        (files,) = components[package.key]["externalReferences"]
        assert sorted(each["content"] for each in files["hashes"]) == sorted(package.hashes)
    scopes = {name: each["scope"] for (name, _), each in components.items()}
    assert scopes["dlt"] == scopes["duckdb"] == "required"
    assert scopes["starlette"] == scopes["psycopg2-binary"] == "optional"
    assert scopes["pytest"] == "excluded"
    itself = bill["metadata"]["component"]
    assert (itself["name"], itself["version"]) == ("tiledesk-dlt", VERSION)


def test_the_bill_is_always_the_same_bytes_and_names_no_host(
    written: str, bill: dict[str, Any]
) -> None:
    assert written == sbom.bill()
    assert not HOSTS.search(written)
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]


def test_a_bill_that_breaks_the_schema_is_refused(
    bill: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    broken = json.dumps({**bill, "components": [{"name": "no type"}]})
    monkeypatch.setattr(sbom, "bill", lambda: broken)
    assert sbom.main([str(tmp_path / "bill.json")]) == 1
    assert "breaks CycloneDX's schema" in capsys.readouterr().err
    assert not (tmp_path / "bill.json").exists()


def test_a_bill_of_stale_licences_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rest = licences.rows()[1:]
    monkeypatch.setattr(licences, "rows", lambda: rest)
    assert sbom.main([str(tmp_path / "bill.json")]) == 1
    assert "run make licences" in capsys.readouterr().err
    assert not (tmp_path / "bill.json").exists()


# --- the tag, the version and the changelog -------------------------------------------------------


def test_the_newest_entry_is_not_released_or_of_this_version() -> None:
    heading, text = notes.newest(notes.CHANGELOG.read_text())
    assert heading == notes.UNRELEASED or heading.startswith(f"{VERSION} - ")
    assert text


def test_pages_name_the_wheel_of_this_version() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    names = re.findall(r"tiledesk_dlt-\d\S*?\.whl", "".join(page.read_text() for page in pages))
    assert {*names} == {f"tiledesk_dlt-{VERSION}-py3-none-any.whl"}


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v1.2.3", "1.2.3 - 2026-01-31", None),
        ("v1.2.4", "1.2.3 - 2026-01-31", "The tag is v1.2.4, but the version is 1.2.3."),
        ("1.2.3", "1.2.3 - 2026-01-31", "The tag is 1.2.3"),
        ("v1.2.3", "Unreleased", 'is "Unreleased", not "1.2.3 - YYYY-MM-DD"'),
        ("v1.2.3", "1.2.2 - 2026-01-31", 'is "1.2.2 - 2026-01-31"'),
        ("v1.2.3", "1.2.3", 'is "1.2.3"'),
    ],
)
def test_a_tag_is_released_only_if_version_and_changelog_say_the_same(
    tag: str, heading: str, said: str | None
) -> None:
    changelog = f"# Changelog\n\n## {heading}\n\nSomething new.\n\n## 1.2.2 - 2026-01-01\n\nOld.\n"
    if said is None:
        assert notes.notes(tag, changelog, "1.2.3") == "Something new."
    else:
        with pytest.raises(ValueError, match=re.escape(said)):
            notes.notes(tag, changelog, "1.2.3")


def test_an_empty_changelog_is_refused() -> None:
    with pytest.raises(ValueError, match="no entry"):
        notes.newest("# Changelog\n")
    with pytest.raises(ValueError, match="is empty"):
        notes.notes("v1.2.3", "## 1.2.3 - 2026-01-31\n\n", "1.2.3")


def test_the_command_refuses_another_tag_in_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert notes.main(["v0.0.0"]) == 1
    assert capsys.readouterr().err == f"Error: The tag is v0.0.0, but the version is {VERSION}.\n"
    assert notes.main([]) == 2


# --- the workflow ---------------------------------------------------------------------------------

WORKFLOWS = [ROOT / ".github/workflows/release.yml", ROOT / "deploy/github-actions/load.yml"]
WORKFLOW = yaml.safe_load(WORKFLOWS[0].read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]


def test_the_workflows_keep_to_the_schema(tmp_path: Path) -> None:
    broken = tmp_path / "release.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "runs-at:"))
    form = ("--builtin-schema", "vendor.github-workflows", "--output-format", "json")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *form, *map(str, [*WORKFLOWS, broken])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert {each["filename"] for each in json.loads(done.stdout)["errors"]} == {str(broken)}


def test_nothing_is_published_that_was_not_built_checked_and_tested_for_its_tag() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true
    assert {*JOBS["publish"]["needs"]} == JOBS.keys() - {"publish", "attach"}
    assert JOBS["attach"]["needs"] == "publish"
    commands = {
        name: [step["run"] for step in job["steps"] if "run" in step] for name, job in JOBS.items()
    }
    assert commands["test"] == ["make test"]
    assert commands["build"][0] == "make dist"
    assert 'tiledesk_pipeline.release.notes "$GITHUB_REF_NAME"' in commands["build"][1]
    assert "twine/bin/twine check --strict dist/*" in commands["check"]
    assert "empty/bin/tiledesk-dlt demo --requests 60" in commands["check"]
    assert commands["publish"] == []
    assert "dist/*.cdx.json" in commands["attach"][0]


def test_the_workflow_stores_no_token_and_runs_actions_by_their_commit() -> None:
    assert "secrets." not in WORKFLOWS[0].read_text()
    assert WORKFLOW["permissions"] == {"contents": "read"}
    rights = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert rights == {"publish": {"id-token": "write"}, "attach": {"contents": "write"}}
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert len(used) > 5
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action


@pytest.mark.parametrize("job", ["test", "check"])
def test_each_python_that_the_package_names_is_tried(job: str) -> None:
    assert JOBS[job]["strategy"]["matrix"]["python"] == pythons()
