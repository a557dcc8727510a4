"""What a seed decides before anything happens."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tiledesk_sandbox import VERSIONS

# As many rows to a slice as there are.
NO_END = 10**9
# Seeds that once showed a loss, or a load without an end, by a rare misfortune. A change of what is
# drawn gives all seeds another meaning: then these go.
RARE: tuple[int, ...] = (53, 597, 613, 1664, 10258, 1582353497, 1878720731)


@dataclass
class Dice:
    """The desk, its network and its bad luck in one simulation.

    Attributes:
        seed: the number that stands for all of it.
        version: the version of Tiledesk's server that the desk runs.
        rng: decides all that happens later.
        fate: the same for imported rows and clocks that are ahead. They came later, and draw
            apart so that older seeds kept their meaning.
        role: whose rows a load in peace must hold.
        users: the roles that may load before that.
        size: conversations in the beginning. A desk of 120 takes five times as long as one of 20
            and finds no more, so most are small.
        pages: "small" pages make many pages of a small desk; "real" ones are those of the
            connector; "over the cap" asks for more conversations than the server gives at once.
        sorts_messages: False: past its first page the list of messages is never answered, as
            where it is too long for the server's database to sort.
        slices: how many rows end a slice of a load, one of these each time.
        lookback: seconds that a load reads again.
        pace: seconds between two calls, at most.
        clocks: seconds by which the clocks of the desk's servers are off.
        date_is_off: seconds by which the header ``Date`` is off.
        own_clock_is_off: seconds by which the clock of the loading machine is off. Nothing may
            depend on it.
        goes_ahead: the desk's clock is far ahead during one of the loads.
        has_imports: some rows have no dates, or dates as text.
        ties: how the database orders rows of one stamp.
        world_seed: the seed of the documents.
        seconds_old: how long before the simulation the last document was made.
    """

    seed: int
    version: str
    rng: random.Random
    fate: random.Random
    role: str
    size: int
    lookback: int
    pages: str
    sorts_messages: bool
    pace: float
    clocks: list[float]
    date_is_off: int
    own_clock_is_off: float
    world_seed: int
    seconds_old: int
    ties: str
    slices: list[int]
    users: list[str]
    has_imports: bool
    goes_ahead: bool

    @classmethod
    def throw(cls, seed: int, version: str | None = None) -> Dice:
        """Draw all of it from the seed. The order of the draws is the meaning of the seed."""
        rng = random.Random(seed)
        fate = random.Random(f"imports and clocks of {seed}")
        role = rng.choice(["owner", "owner", "owner", "admin", "admin", "agent"])
        size = rng.choice([20] * 9 + [30] * 4 + [45] * 2 + [60] * 2 + [120])
        lookback = rng.choice([300, 300, 60, 15])
        pages = rng.choice(["small", "small", "small", "real", "over the cap"])
        if pages == "over the cap":
            size = rng.choice([60, 120])
        return cls(
            seed=seed,
            # drawn apart, so that a seed means the same on every version
            version=version or random.Random(f"version of {seed}").choice(list(VERSIONS)),
            rng=rng,
            fate=fate,
            role=role,
            size=size,
            lookback=lookback,
            pages=pages,
            sorts_messages=rng.random() < 0.85,
            pace=rng.choice([0.02, 0.7, 4, 40]),
            clocks=rng.choice([[0.0], [0.0, 2.1], [-3.0, 0.0, 1.7]]),
            date_is_off=rng.choice([0, 0, -2, 2]),
            own_clock_is_off=rng.choice([-3600.0, 0.0, 900.0]),
            world_seed=rng.randrange(2**32),
            seconds_old=rng.choice([0, 5, 4000]),
            ties=rng.choice(["natural", "shuffle"]),
            slices=rng.choice([[NO_END], [NO_END], [1, 20, 60, NO_END], [1, 8, 8]]),
            users=[role] if rng.random() < 0.85 else ["owner", "admin", "agent"],
            has_imports=fate.random() < 0.3,
            goes_ahead=fate.random() < 0.15,
        )

    def page_sizes(self) -> dict[str, int]:
        """Rows to a page, by stream."""
        if self.pages == "small":
            return {"requests": 10, "messages": 12, "leads": 6, "activities": 12}
        over = self.pages == "over the cap"
        return {"requests": 120 if over else 100, "messages": 50, "leads": 1000, "activities": 1000}
