"""A support desk, its clock, its network and its bad luck as one program with a seed.

Between any two calls of a load the desk goes on working: people write, edit, close and delete;
servers whose clocks disagree stamp rows that show up late; the network drops an answer; the load
itself is killed. Then the desk stops, one or two loads run in peace, and the rows they hold must
equal the rows of the desk. The seed decides all of it, the time included: a failure is a number.

- `dice.py`: what the seed decides before anything happens.
- `desk.py`: the documents, the clock, and what a role is shown.
- `actions.py`: what people do between two calls.
- `wire.py`: the connector's calls and the answers to them, whole or not.
- `loads.py`: the program: loads while the desk works, then loads in peace, then the comparison.

The calls go through the connector's own client to the sandbox's own application, in this thread.
Sockets and threads would give a seed another meaning each time, and take most of the time.
"""

from __future__ import annotations

from .desk import TABLES, Desk, Document
from .dice import NO_END, RARE, Dice
from .loads import BASE_URL, Killed, Patient, Simulation
from .wire import connected

__all__ = [
    "BASE_URL",
    "NO_END",
    "RARE",
    "TABLES",
    "Desk",
    "Dice",
    "Document",
    "Killed",
    "Patient",
    "Simulation",
    "connected",
]
