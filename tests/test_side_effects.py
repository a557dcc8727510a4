"""The connector changes nothing in the program that uses it, or puts it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import Account

# What a program sees of its process, as text that can be compared.
LOOK = """
import asyncio, json, locale, logging, os, signal, socket, sys, threading, warnings
import backoff, dlt, httpx, pyarrow, pyrate_limiter, requests, zxcvbn  # their effects are theirs
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.pipeline import trace

def look():
    loggers = {"root": logging.root, "lastResort": logging.lastResort}
    names = ("dlt", "tiledesk", "httpx", "httpcore", "duckdb", "backoff", "pyrate_limiter")
    loggers |= {name: logging.getLogger(name) for name in names}
    return {
        **{
            f"log {name}": [
                log.level, [type(each).__name__ for each in log.filters],
                len(getattr(log, "handlers", ())), getattr(log, "propagate", None),
            ]
            for name, log in loggers.items()
        },
        "environment": sorted(os.environ.items()),
        "signals": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
        "memory pool": pyarrow.default_memory_pool().backend_name,
        "warnings": [str(each) for each in warnings.filters],
        "settings": [p.name for p in Container()[PluggableRunContext].providers.providers],
        "trackers": [str(each) for each in trace.TRACKING_MODULES],
        "finders": [str(each) for each in sys.meta_path],
        "hooks": [str(sys.excepthook), str(sys.unraisablehook), str(threading.excepthook)],
        "path": sys.path,
        "locale": locale.setlocale(locale.LC_ALL),
        "socket": socket.getdefaulttimeout(),
        "asyncio": type(asyncio.get_event_loop_policy()).__name__,
        "umask": [mask := os.umask(0o77), os.umask(mask)][0],
        "folder": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "stubs": sorted(n for n, m in sys.modules.items() if m is None),
    }

look()  # dlt sets up its log and its settings when they are first used

def tell(before, after):
    print(json.dumps({name: [before[name], after[name]] for name in before
                      if before[name] != after[name]}))
"""


def changes(program: str, folder: Path, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK + program],
        cwd=folder,
        env={**os.environ, "DLT_DATA_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    changed: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return changed


def test_to_import_the_source_changes_nothing(tmp_path: Path) -> None:
    imports = "from tiledesk import tiledesk_source, open_projects, run_in_slices"
    assert changes(f"before = look()\n{imports}\ntell(before, look())", tmp_path) == {}


def test_the_comparison_sees_what_is_changed(tmp_path: Path) -> None:
    program = """
before = look()
logging.getLogger("dlt").addFilter(logging.Filter())
pyarrow.set_memory_pool(pyarrow.system_memory_pool())
os.environ["SOMETHING"] = "else"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tell(before, look())
"""
    assert changes(program, tmp_path).keys() >= {"log dlt", "memory pool", "environment", "signals"}


def test_a_run_leaves_the_program_as_it_was_also_one_that_fails(
    owner: Account, tmp_path: Path
) -> None:
    program = """
from tiledesk import tiledesk_source
def run(**settings):
    source = tiledesk_source(**settings).with_resources("requests", "tags")
    pipeline = dlt.pipeline("own", destination=dlt.destinations.duckdb("own.duckdb"))
    pipeline.run(source)
logging.getLogger("dlt")
dlt.pipeline("own")
before = look()
run()
try:
    run(project_id="a" * 24)
except Exception:
    pass
else:
    raise SystemExit("the second run did not fail")
list(tiledesk_source().with_resources("tags"))
tell(before, look())
"""
    assert changes(program, tmp_path, **owner.environment) == {}


def test_a_load_from_python_puts_back_what_it_sets(owner: Account, tmp_path: Path) -> None:
    program = """
from pathlib import Path
from tiledesk_pipeline.check import check
from tiledesk_pipeline.load import load
from tiledesk_pipeline.target import Target
dlt.pipeline("own")
before = look()
check()
load(Target(db=Path("own.duckdb")), resources=["tags"])
tell(before, look())
"""
    assert changes(program, tmp_path, **owner.environment) == {}
