"""The simulation for hours, on all cores: seed after seed until the time is up.

Started by ``make soak``. Prints the seed it starts from, and of each seed that fails the command
that runs it again. Ends with exit code 1 if there was one. Ctrl-C ends it early in the same way.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).parent))

from simulation import Simulation

Results: TypeAlias = "multiprocessing.Queue[tuple[int, str] | None]"

REPORT_SECONDS = 60
AGAIN = "TILEDESK_SIMULATION={seed} .venv/bin/pytest tests/test_simulation.py -k between_two_calls"


def run(seed: int) -> tuple[int, str]:
    """The seed, and what was wrong with it; empty if nothing was."""
    try:
        simulation = Simulation(seed)
        simulation.run()
        return seed, "; ".join(simulation.differences()[:3])
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}"


def work(first: int, step: int, until: float, results: Results) -> None:
    """Runs every so many-th seed while there is time, then puts None."""
    for seed in count(first, step):
        if time.monotonic() >= until:
            break
        results.put(run(seed))
    results.put(None)


def soak(start: int, hours: float, processes: int, say: Callable[[str], None]) -> int:
    """Runs seeds in so many processes for so long; returns how many failed.

    Raises:
        RuntimeError: a process died.
    """
    began = reported = time.monotonic()
    done = failed = 0
    # Ctrl-C reaches all processes; a flag cannot come at a bad moment, as an exception can.
    is_stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: is_stopped.set())

    def so_far() -> str:
        minutes = (time.monotonic() - began) / 60
        return f"{done} schedules in {minutes:.1f} minutes, {failed} failed"

    say(f"From seed {start} on, in {processes} processes, for {hours:g} hours.")
    results: Results = multiprocessing.Queue()
    working = [
        multiprocessing.Process(
            target=work, args=(start + n, processes, began + hours * 3600, results), daemon=True
        )
        for n in range(processes)
    ]
    for process in working:
        process.start()
    remaining = processes
    while remaining and not is_stopped.is_set():
        try:
            result = results.get(timeout=0.5)
        except queue.Empty:
            if any(process.exitcode for process in working):
                raise RuntimeError("A process died.") from None
            continue
        if result is None:
            remaining -= 1
            continue
        done += 1
        seed, problem = result
        if problem:
            failed += 1
            say(f"seed {seed}: {problem}\n  again: {AGAIN.format(seed=seed)}")
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            say(so_far())
    for process in working:
        process.terminate()
    if is_stopped.is_set():
        say("Stopped.")
    say(so_far())
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--start", type=int, help="the first seed; drawn unless given")
    parser.add_argument("--processes", type=int, help="as many as cores unless given")
    asked = parser.parse_args(arguments)
    start = random.SystemRandom().randrange(10**9) if asked.start is None else asked.start

    processes = asked.processes or multiprocessing.cpu_count()

    def say(text: str) -> None:
        print(text, flush=True)  # noqa: T201

    return 1 if soak(start, asked.hours, processes, say) else 0


if __name__ == "__main__":
    sys.exit(main())
