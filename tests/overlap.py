"""Two loaders on two machines, one Postgres dataset, and people who write: is anything lost?

    .venv/bin/python tests/overlap.py --rounds 200 [--server SEED.json]

In each round both loaders load at the same time while somebody writes. In every fourth round one of
them is killed in the middle (`kill -9`), and the other has to go on; in every tenth round both are.
Then the writing stops, one more load is made, and the dataset is compared with what the server has.
Prints a line for each round that fails and the figures at the end. Ends with exit code 1 if a round
failed.

Without `--server`, the server is a sandbox. With it, the real one that wrote the JSON file; then
the environment variable TILEDESK_REAL_TRUTH has to be set, as for the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from conftest import Account, RealServer, account_of, postgres_server, rows
from crowd import Crowd
from tiledesk.tables import TABLES
from tiledesk_sandbox import Sandbox, World, generate
from truth import plain

Documents = Callable[[str], Iterable[dict[str, Any]]]
ONE_KILLED, BOTH_KILLED = 4, 10
LOADER = """
import json, sys
from tiledesk_pipeline.destinations import Patience
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
target = Target("postgres", dataset=sys.argv[1], patience=Patience(120))
settings = json.loads(sys.argv[2])
for _ in sys.stdin:
    summary = load(target, **settings)
    print(sum(stream.new or 0 for stream in summary.streams), flush=True)
"""


class Loader:
    """A process with a folder of dlt of its own, as on another machine."""

    def __init__(self, home: Path, address: str, dataset: str, settings: dict[str, Any]) -> None:
        self._environment = {
            **os.environ,
            "DLT_DATA_DIR": str(home),
            "DESTINATION__POSTGRES__CREDENTIALS": address,
        }
        self._command = [sys.executable, "-c", LOADER, dataset, json.dumps(settings)]
        self._process: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Begin a load."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write("load\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Wait for the load; returns how many rows were new.

        Raises:
            RuntimeError: it failed.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            self._process = None
            raise RuntimeError(errors.strip().rpartition("\n")[2] or "the loader ended")
        return int(line)

    def kill(self) -> None:
        """As a machine dies that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def differences(
    address: str, dataset: str, documents: Documents, gone: Set[str] = frozenset()
) -> list[str]:
    """What is missing, double, older than it should be, or extra.

    Args:
        documents: by the name of a table, what the server has of the project.
        gone: ids of rows that were deleted; they stay where they had been loaded.
    """
    problems = []
    for table in TABLES:
        stamp = "updatedAt" if table.cursor == "updated_at" else "createdAt"
        own = {document["_id"]: _iso(document[stamp]) for document in documents(table.name)}
        found = rows(address, f"SELECT _id, {table.cursor} FROM {dataset}.{table.name}")
        stamps = {key: _iso(at) for key, at in found}
        if len(stamps) != len(found):
            problems.append(f"{table.name}: {len(found) - len(stamps)} rows are there twice")
        for key, at in own.items():
            if key not in stamps:
                problems.append(f"{table.name}: {key} is missing")
            elif stamps[key] != at:
                problems.append(f"{table.name}: {key} is of {stamps[key]}, not of {at}")
        if table.name != "messages":  # which go with their conversation
            problems += [
                f"{table.name}: {key} is extra" for key in stamps.keys() - own.keys() - gone
            ]
    return problems


def documents_of(world: World) -> Documents:
    """What a sandbox has of its project."""

    def documents(name: str) -> list[dict[str, Any]]:
        found = list(world.collections[name].values())
        return [document for document in found if document["id_project"] == world.project_id]

    return documents


def _iso(at: Any) -> str:
    if isinstance(at, str):
        return at
    moment: datetime = at.astimezone(timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def overlap(
    rounds: int,
    address: str,
    account: Account,
    colleague: str,
    documents: Documents,
    homes: Path,
    *,
    lookback_seconds: int = 1,
    settles: float = 0.0,
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> Counter[str]:
    """Run the rounds; returns what happened how often, `failed` among it.

    Args:
        settles: seconds until the server has written what it does after it has answered.
    """
    rng = random.Random(seed)
    done: Counter[str] = Counter(rounds=0, failed=0)
    gone: set[str] = set()
    settings = {**account.settings, "lookback_seconds": lookback_seconds}
    loaders = [Loader(homes / home, address, "overlap", settings) for home in ("one", "another")]
    seconds = 3.0  # how long both loads of a round take, as far as it is known
    try:
        for number in range(1, rounds + 1):
            killed = []
            if number % BOTH_KILLED == 0:
                killed = loaders
            elif number % ONE_KILLED == 0:
                killed = [rng.choice(loaders)]
            problems = []
            with Crowd(account, colleague, people=1, seed=seed + number, pause=0.1) as people:
                began = time.monotonic()
                for loader in loaders:
                    loader.begin()
                for loader in killed:
                    time.sleep(seconds * rng.uniform(0.05, 0.9) / len(killed))
                    loader.kill()
                    done["killed"] += 1
                for loader in loaders:
                    if loader not in killed:
                        problems += _end(loader, done)
                if not killed:
                    seconds = time.monotonic() - began
            gone |= {*people.deleted_requests.values(), *people.deleted_leads}
            done["changes"] += sum(people.actions.values())
            time.sleep(settles)
            last = loaders[number % 2]
            last.begin()
            problems += _end(last, done)
            problems += differences(address, "overlap", documents, gone)
            done["rounds"] += 1
            if problems:
                done["failed"] += 1
                say(f"round {number}, {len(killed)} killed: {'; '.join(problems[:5])}")
    finally:
        for loader in loaders:
            loader.kill()
    return done


def _end(loader: Loader, done: Counter[str]) -> list[str]:
    try:
        done["new rows"] += loader.end()
    except RuntimeError as error:
        return [f"a load failed: {error}"]
    done["loads"] += 1
    return []


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--server", type=Path, metavar="SEED.json", help="of a real server")
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)  # noqa: T201

    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(postgres_server())
        homes = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if asked.server:
            real = RealServer(json.loads(asked.server.read_text().splitlines()[-1]))
            account, colleague = real.account(), real.seed["agent"]["user_id"]
            api = stack.enter_context(closing(account.api()))
            made = api.post("/projects/", json={"name": "Overlap"}).raise_for_status().json()
            own = RealServer({**real.seed, "project_id": made["_id"]})
            account = own.account()
            done = overlap(
                asked.rounds, address, account, colleague,
                lambda name: map(plain, own.truth(name).values()), homes,
                lookback_seconds=5, settles=2.0, seed=asked.seed, say=say,
            )  # fmt: skip
        else:
            world = generate(requests=60, seed=11)
            account = account_of(stack.enter_context(Sandbox(world)))
            done = overlap(
                asked.rounds, address, account, world.users["admin"].id,
                documents_of(world), homes, seed=asked.seed, say=say,
            )  # fmt: skip
    figures = ", ".join(f"{count} {what}" for what, count in done.items())
    say(f"{figures} in {(time.monotonic() - began) / 60:.1f} minutes.")
    return 1 if done["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
