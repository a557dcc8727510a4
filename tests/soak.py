"""The simulation on all cores: a number of seeds, or seed after seed until the time is up.

``make test`` runs some seeds each time and as many others for each commit, ``make soak`` others for
hours. Prints the seeds it runs, and for each seed that fails the command that runs it again. Ends
with exit code 1 if a seed failed. Ctrl-C ends it early in the same way.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice
from pathlib import Path
from types import FrameType
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).parent))

from draw import commit_seed
from simulation import RARE, Dice, Simulation

Results: TypeAlias = "multiprocessing.Queue[tuple[int, str] | None]"

REPORT_SECONDS = 60
MOST_SECONDS = 300  # a schedule takes less than one
AGAIN = "TILEDESK_SIMULATION={seed} .venv/bin/pytest tests/test_simulation.py -k between_two_calls"


def run(seed: int) -> tuple[int, str]:
    """The seed, and what was wrong with it; empty if nothing was. Needs the main thread."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it does not end; after {MOST_SECONDS} seconds it was in {frame}")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(MOST_SECONDS)
    try:
        simulation = Simulation(Dice.throw(seed))
        simulation.run()
        return seed, "; ".join(simulation.differences()[:3])
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def work(seeds: Iterable[int], until: float, results: Results) -> None:
    """Runs these seeds while there is time, then puts None."""
    gc.freeze()  # the modules are looked through again and again otherwise, for nothing
    for seed in seeds:
        if time.monotonic() >= until:
            break
        results.put(run(seed))
    results.put(None)


def soak(
    seeds: Iterable[int],
    hours: float,
    processes: int,
    say: Callable[[str], None],
    is_stopped: threading.Event,
) -> int:
    """Runs seeds in several processes, for a limited time; returns how many failed.

    Raises:
        RuntimeError: a process died.
    """
    began = reported = time.monotonic()
    done = failed = 0

    def so_far() -> str:
        minutes = (time.monotonic() - began) / 60
        return f"{done} schedules in {minutes:.1f} minutes, {failed} failed"

    results: Results = multiprocessing.Queue()
    working = [
        multiprocessing.Process(
            target=work,
            args=(islice(seeds, n, None, processes), began + hours * 3600, results),
            daemon=True,
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
    parser.add_argument("--hours", type=float, help="at most so long: 2 unless given")
    parser.add_argument(
        "--schedules",
        type=int,
        metavar="N",
        help="the seeds below N, those that once showed a loss, and N new ones for each commit",
    )
    parser.add_argument(
        "--start", type=int, help="the first new seed; random, or the commit's for --schedules"
    )
    parser.add_argument("--processes", type=int, help="as many as cores unless given")
    asked = parser.parse_args(arguments)
    start = asked.start
    if start is None:
        start = commit_seed() if asked.schedules else None
    if start is None:
        start = random.SystemRandom().randrange(10**9)
    processes = asked.processes or multiprocessing.cpu_count()

    def say(text: str) -> None:
        print(text, flush=True)  # noqa: T201

    # Ctrl-C reaches all processes; a flag cannot come at a bad moment, as an exception can.
    is_stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: is_stopped.set())

    hours = asked.hours or 2.0
    if asked.schedules:
        number = asked.schedules
        kept = [seed for seed in RARE if seed >= number]
        say(
            f"{number} seeds from 0 on, {number} from {start} on, "
            f"and {len(kept)} that once failed, in {processes} processes."
        )
        seeds: Iterable[int] = (*kept, *range(number), *range(start, start + number))
    else:
        say(f"From seed {start} on, in {processes} processes, for {hours:g} hours.")
        seeds = count(start)
    return 1 if soak(seeds, hours, processes, say, is_stopped) else 0


if __name__ == "__main__":
    sys.exit(main())
