"""People at work on a Tiledesk server through its API, as fast as they can."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from command_server import COMMAND
from conftest import Account


def load_or_kill(
    options: Sequence[str], folder: Path, environment: Mapping[str, str], after: float | None
) -> tuple[int, str]:
    """Load by the command, and kill it after some seconds; its exit code and what it said."""
    process = subprocess.Popen(
        [COMMAND, "load", *options],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, err = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
    return process.returncode, err


class Crowd:
    """Threads that change the project of an account for the time of a ``with`` block.

    What each one does is drawn from the seed; how they come between each other is not.

    Args:
        colleague: id of a user whom direct messages go to.
        pause: seconds that each of them waits between two calls, at most.

    Attributes:
        actions: how often each thing was done.
        refused: how often the server did not do it, by deed and status.
        deleted_requests: ``request_id`` and ``_id`` of the conversations deleted for good. Their
            messages are gone with them.
        deleted_leads: ``_id`` of the leads deleted for good.
    """

    def __init__(
        self, account: Account, colleague: str, *, people: int = 4, seed: int = 1, pause: float = 0
    ) -> None:
        self.account, self.colleague, self.pause = account, colleague, pause
        self.actions: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.deleted_requests: dict[str, str] = {}
        self.deleted_leads: set[str] = set()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(seed, number), daemon=True)
            for number in range(people)
        ]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]

    def unexplained(self, messages: Iterable[Sequence[str]], problems: Iterable[str]) -> list[str]:
        """Without rows that are there only because they were loaded before their deletion.

        Args:
            messages: the id and the recipient of each message that was loaded.
            problems: as :func:`truth.differences_of` gives them.
        """
        gone = {
            "requests": set(self.deleted_requests.values()),
            "messages": {key for key, recipient in messages if recipient in self.deleted_requests},
            "leads": self.deleted_leads,
            "activities": set[str](),
        }
        return [
            problem
            for problem in problems
            if not problem.endswith((" is extra", " has no row"))
            or problem.split()[1] not in gone[problem.partition(":")[0].partition("__")[0]]
        ]

    def _guarded(self, seed: int, number: int) -> None:
        try:
            with closing(self.account.api()) as api:
                person = _Person(self, api, random.Random(f"{seed}/{number}"))
                # One is enough: it moves all conversations, and brings back what was lost before.
                person.work(self._stop, moves_all=number == 0)
        except BaseException as error:
            self._errors.append(error)


class _Person:
    """One of them, with conversations and leads of their own."""

    def __init__(self, crowd: Crowd, api: httpx.Client, rng: random.Random) -> None:
        self.crowd, self.api, self.rng = crowd, api, rng
        self.requests: dict[str, str] = {}
        self.leads: list[str] = []

    def work(self, stop: threading.Event, *, moves_all: bool) -> None:
        actions = (
            [self._begin] * 25
            + [self._say] * 25
            + [self._close] * 8
            + [self._reopen] * 4
            + [self._tag] * 4
            + [self._patch] * 4
            + [self._note] * 3
            + [self._meet] * 10
            + [self._edit_lead] * 6
            + [self._edit_lead_of_conversations] * moves_all
            + [self._delete_lead] * 4
            + [self._write_to_colleague] * 3
            + [self._delete_for_good] * 2
            + [self._delete_lead_for_good]
        )
        while not stop.wait(self.rng.random() * self.crowd.pause):
            if len(self.requests) < 3 or not self.leads:
                self._begin()
                self._meet()
            self.rng.choice(actions)()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None where the server refused."""
        deed = f"{method} {path.split('/')[0]}/../{path.split('/')[-1][:12]}"
        answer = self.api.request(method, f"/{self.crowd.account.project_id}/{path}", json=body)
        if answer.status_code != 200:
            self.crowd.refused[f"{deed} {answer.status_code}"] += 1
            return None
        return answer.json()

    def _did(self, what: str) -> None:
        self.crowd.actions[what] += 1

    def _any_request(self) -> str:
        return self.rng.choice(list(self.requests))

    def _uuid(self) -> UUID:
        return UUID(int=self.rng.getrandbits(128))

    def _change(self, method: str, what: str, body: Any) -> Any:
        self._did(what)
        return self._call(method, f"requests/{self._any_request()}/{what}", body)

    def _begin(self) -> None:
        self._did("begin")
        request = f"support-group-{self.crowd.account.project_id}-{self._uuid().hex}"
        message = self._call("POST", f"requests/{request}/messages", {"text": "hello"})
        if message is not None:
            self.requests[request] = message["request"]["_id"]

    def _say(self) -> None:
        self._change("POST", "messages", {"text": f"is anybody there? {self.rng.random()}"})

    def _close(self) -> None:
        self._change("PUT", "close", {})

    def _reopen(self) -> None:
        self._change("PUT", "reopen", {})

    def _tag(self) -> None:
        self._change("PUT", "tag", [{"tag": self.rng.choice("abc"), "color": "#000"}])

    def _note(self) -> None:
        self._change("POST", "notes", {"text": "call back"})

    def _patch(self) -> None:
        self._did("patch")
        subject = {"subject": f"subject {self.rng.random()}"}
        self._call("PATCH", f"requests/{self._any_request()}", subject)

    def _meet(self) -> None:
        self._did("meet")
        lead = self._call("POST", "leads", {"lead_id": str(self._uuid()), "fullname": "Nina"})
        if lead is not None:
            self.leads.append(lead["_id"])

    def _edit_lead(self) -> None:
        self._did("edit lead")
        name = {"fullname": f"Nina {self.rng.random()}"}
        self._call("PUT", f"leads/{self.rng.choice(self.leads)}", name)

    def _edit_lead_of_conversations(self) -> None:
        """Gives all conversations of that lead, this whole crowd's, one stamp."""
        self._did("edit lead of conversations")
        request = self._call("GET", f"requests/{self._any_request()}")
        lead = request and request.get("lead")
        if lead:
            _id = lead["_id"] if isinstance(lead, dict) else lead
            self._call("PUT", f"leads/{_id}", {"fullname": f"Otto {self.rng.random()}"})

    def _delete_lead(self) -> None:
        self._did("delete lead")
        self._call("DELETE", f"leads/{self.leads.pop(self.rng.randrange(len(self.leads)))}")

    def _write_to_colleague(self) -> None:
        self._did("write to colleague")
        body = {"recipient": self.crowd.colleague, "recipientFullname": "Gino", "text": "a word"}
        self._call("POST", "messages", body)

    def _delete_for_good(self) -> None:
        self._did("delete for good")
        request = self._any_request()
        self.crowd.deleted_requests[request] = self.requests.pop(request)
        self._call("DELETE", f"requests/{request}")

    def _delete_lead_for_good(self) -> None:
        self._did("delete lead for good")
        lead = self.leads.pop(self.rng.randrange(len(self.leads)))
        self.crowd.deleted_leads.add(lead)
        self._call("DELETE", f"leads/{lead}/physical")
