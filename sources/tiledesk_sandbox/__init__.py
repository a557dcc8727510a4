"""A Tiledesk server made of made-up data: the real API's behaviour, faults on demand.

from tiledesk_sandbox import Sandbox, generate

with Sandbox(generate(requests=500, seed=7)) as sandbox:
    ...  # talk to sandbox.base_url
"""

from .behaviour import VERSIONS, Behaviour
from .copies import copy_project
from .faults import (
    Faults,
    Hang,
    Html,
    Reset,
    ServerError,
    SignedOut,
    Slow,
    TooMany,
    Truncated,
)
from .generator import generate
from .roles import add_rarer_roles
from .server import Sandbox, listen, serve
from .wire import Answer, Call
from .world import REMOVED, Person, World

__all__ = [
    "REMOVED",
    "VERSIONS",
    "Answer",
    "Behaviour",
    "Call",
    "Faults",
    "Hang",
    "Html",
    "Person",
    "Reset",
    "Sandbox",
    "ServerError",
    "SignedOut",
    "Slow",
    "TooMany",
    "Truncated",
    "World",
    "add_rarer_roles",
    "copy_project",
    "generate",
    "listen",
    "serve",
]
