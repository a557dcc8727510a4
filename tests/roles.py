"""Projects with a user of every role and a token of every kind, on a sandbox or a real server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tiledesk_pipeline.check import Verdict
from tiledesk_pipeline.load import Summary, load
from tiledesk_pipeline.target import Target
from tiledesk_sandbox import Sandbox

STREAMS = ("requests", "messages", "leads", "activities")
RESULTS: dict[str, tuple[Verdict, ...]] = {
    "owner": ("all", "all", "all", "all"),
    "admin": ("all", "partial", "all", "all"),
    "limited_admin": ("partial", "partial", "all", "all"),
    "agent": ("partial", "partial", "all", "none"),
    "supervisor": ("partial", "partial", "all", "none"),
    "wide_supervisor": ("all", "partial", "all", "none"),
    "auditor": ("all", "all", "all", "all"),
    "helper": ("partial", "all", "all", "all"),
    "subscription": ("all", "partial", "all", "all"),
    "bot": ("none", "all", "all", "all"),
    "superadmin": ("none", "none", "all", "none"),
}
"""What a load with ``allow_partial`` gives, where the server was told no super admin's e-mail."""

IF_SUPER_ADMIN_IS_NAMED: dict[str, tuple[Verdict, ...]] = {
    "subscription": ("all", "partial", "all", "none"),
    "bot": ("none", "none", "all", "none"),
    "superadmin": ("none", "all", "all", "all"),
}

REFUSED = ("teammate", "guest", "outsider")  # who may read nothing

MAY_READ = "request_read_all"
IN_SECOND_PROJECT = ("limited_admin", "wide_supervisor")  # a role's document is for all of a role


@dataclass
class Desk:
    """A server with a project, or two, whose users are known by the names of `RESULTS`.

    Attributes:
        projects: the id of each user's project.
        credentials: of each user.
    """

    base_url: str
    projects: dict[str, str]
    credentials: dict[str, dict[str, str]]
    results: dict[str, tuple[Verdict, ...]] = field(default_factory=lambda: RESULTS)
    sandbox: Sandbox | None = None

    def settings(self, who: str) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "project_id": self.projects[who],
            "credentials": self.credentials[who],
            "rate_limit_per_minute": 0,
        }

    def environment(self, who: str) -> dict[str, str]:
        given = {f"CREDENTIALS__{k.upper()}": v for k, v in self.credentials[who].items()}
        given |= {"BASE_URL": self.base_url, "PROJECT_ID": self.projects[who]}
        return {f"SOURCES__TILEDESK__{name}": value for name, value in given.items()}

    def load(self, who: str, db: Path, **wishes: Any) -> Summary:
        return load(Target(db=db), **wishes, **self.settings(who))

    def api(self, who: str) -> httpx.Client:
        """A client of the user's own, for plain calls."""
        http = httpx.Client(base_url=self.base_url, timeout=60, trust_env=False)
        given = self.credentials[who]
        token = given.get("token") or http.post("/auth/signin", json=given).json()["token"]
        http.headers["Authorization"] = token if token.startswith("JWT ") else f"JWT {token}"
        return http

    def owner_of(self, who: str) -> str:
        """The name of the owner of a user's project."""
        return "owner" if self.projects[who] == self.projects["owner"] else "second_owner"


def made_up_desk(sandbox: Sandbox) -> Desk:
    """The project of a sandbox whose world has employed everybody."""
    world = sandbox.world
    credentials = {
        name: {"email": person.email, "password": person.password}
        for name, person in world.users.items()
    }
    credentials |= {name: {"token": token} for name, token in world.tokens.items()}
    results = {**RESULTS, **IF_SUPER_ADMIN_IS_NAMED} if world.names_super_admin else RESULTS
    projects = dict.fromkeys(credentials, world.project_id)
    return Desk(sandbox.base_url, projects, credentials, results, sandbox)


def real_desk(base_url: str) -> Desk:
    """Two new projects on a real server: in the second, documents change what two roles see."""
    maker = _Maker(base_url)
    maker.project("owner", {"auditor": [MAY_READ, "lead_read"], "helper": ["lead_read"]})
    for name in ("admin", "agent", "supervisor", "auditor", "helper", "teammate"):
        maker.invite(name, name)
    maker.take_part("agent", "supervisor", "helper")
    maker.give_tokens()
    maker.sign_up("outsider")
    maker.desk.credentials["superadmin"] = {
        "email": "admin@tiledesk.com",
        "password": "adminadmin",
    }
    maker.desk.projects["superadmin"] = maker.id
    maker.project("second_owner", {"admin": ["lead_read"], "supervisor": [MAY_READ]})
    maker.invite("limited_admin", "admin")
    maker.invite("wide_supervisor", "supervisor")
    maker.take_part("limited_admin", "wide_supervisor")
    return maker.desk


class _Maker:
    """Makes projects and their users through the API; the project made last is at hand."""

    def __init__(self, base_url: str) -> None:
        self.desk = Desk(base_url, {}, {})
        self.id = ""
        self._run = uuid.uuid4().hex[:8]
        self._user_ids: dict[str, str] = {}
        self._conversations: list[str] = []
        self._http = httpx.Client(base_url=base_url, timeout=60, trust_env=False)
        self._token = ""

    def project(self, owner: str, roles: dict[str, list[str]]) -> None:
        """A project with conversations, a lead, and documents of roles."""
        self._token = ""
        self._token = self.sign_up(owner)
        self.id = self._call("POST", "/projects/", {"name": f"Roles {self._run}"}).json()["_id"]
        self.desk.projects[owner] = self.id
        for name, permissions in roles.items():
            self._call("POST", f"/{self.id}/roles", {"name": name, "permissions": permissions})
        self._conversations = [
            f"/{self.id}/requests/support-group-{self.id}-{uuid.uuid4().hex}" for _ in range(8)
        ]
        for conversation in self._conversations:
            self._call("POST", f"{conversation}/messages", {"text": "hello"})
        self._call("POST", f"/{self.id}/leads", {"fullname": "A Lead", "lead_id": self._run})
        self._settle()

    def sign_up(self, name: str) -> str:
        """A user who can sign in; the token."""
        number = len(self.desk.credentials)
        body = {
            "email": f"{name}.{self._run}@example.com",
            "password": f"Pw-{name}-{self._run}",
            "firstname": "Rita",
            "lastname": "Role",
            "phone": f"+39{int(self._run, 16):010d}{number:02d}",  # unique, or it is refused
            "disableEmail": True,
        }
        self._call("POST", "/auth/signup", body)
        credentials = {key: str(body[key]) for key in ("email", "password")}
        self.desk.credentials[name] = credentials
        self.desk.projects[name] = self.id
        found = self._call("POST", "/auth/signin", credentials).json()
        self._user_ids[name] = found["user"]["_id"]
        return str(found["token"])

    def invite(self, name: str, role: str) -> None:
        self.sign_up(name)
        email = self.desk.credentials[name]["email"]
        body = {"email": email, "role": role, "user_available": False}
        self._call("POST", f"/{self.id}/project_users/invite", body)

    def take_part(self, *names: str) -> None:
        """Each in conversations of their own; a word to one of them outside conversations."""
        for number, conversation in enumerate(self._conversations[:6]):
            member = self._user_ids[names[number % len(names)]]
            self._call("PUT", f"{conversation}/participants", [member])
        body = {"recipient": self._user_ids[names[0]], "recipientFullname": "Rita", "text": "psst"}
        self._call("POST", f"/{self.id}/messages", body)
        self._settle()

    def give_tokens(self) -> None:
        body: dict[str, Any] = {"id_project": self.id, "firstname": "Visitor"}
        guest = self._call("POST", "/auth/signinAnonymously", body).json()["token"]
        body = {"name": "Helper", "type": "internal", "language": "en"}
        bot = self._call("POST", f"/{self.id}/faq_kb", body).json()["_id"]
        bots_token = self._call("GET", f"/{self.id}/bots/{bot}/jwt").json()["jwt"]
        body = {"event": "request.create", "target": "http://127.0.0.1:9/nobody"}
        made = self._call("POST", f"/{self.id}/subscriptions", body)
        _id = made.json()["_id"]
        claims = {"_id": _id, "sub": "subscription"}
        claims["aud"] = f"https://tiledesk.com/subscriptions/{_id}"
        subscription = _signed(claims, made.headers["x-hook-secret"])
        for name, token in (("guest", guest), ("bot", bots_token), ("subscription", subscription)):
            self.desk.credentials[name] = {"token": token}
            self.desk.projects[name] = self.id

    def _settle(self) -> None:
        """Some of the server's work, such as entries of the log, is done after it has answered."""
        time.sleep(1)

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": self._token} if self._token else {}
        answer = self._http.request(method, path, json=body, headers=headers)
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text[:300])
        return answer


def _signed(claims: dict[str, str], secret: str) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = {"alg": "HS256", "typ": "JWT"}
    text = ".".join(part(json.dumps(each).encode()) for each in (head, claims))
    return f"JWT {text}.{part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"
