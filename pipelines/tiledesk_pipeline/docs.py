"""Generates documentation from the tables, the settings and the commands.

``python -m tiledesk_pipeline.docs`` writes `docs/data-dictionary.md` and `docs/commands.md`, and
fills the marked blocks of the other pages. With ``--check`` it writes nothing, names the stale
files and exits with 1.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import tomlkit
from dlt.common.configuration import is_secret_hint
from typer.main import get_command
from typer.testing import CliRunner

from tiledesk import TiledeskCredentials, TiledeskSettings
from tiledesk.arrow import key_of
from tiledesk.joins import JOINS, SENDERS
from tiledesk.small_tables import ALL_TABLES, HISTORY, SMALL_TABLES, SmallTable
from tiledesk.tables import EXTRA, LOADS, PARENT_ID, POSITION, SECRETS, Column, Table
from tiledesk.treatments import COLUMNS

from .cli import app

ROOT = Path(__file__).parents[2]
README = "README.md"
DICTIONARY = "docs/data-dictionary.md"
COMMANDS = "docs/commands.md"
TABLES = "docs/tables.md"
SETTINGS = "docs/settings.md"
CONFIG = ".dlt/config.toml"
SECTION = "SOURCES__TILEDESK__"
WIDTH = 80

# Names of types in DuckDB and Postgres, where they differ from those of dlt.
TYPES = (
    ("text", "VARCHAR", "varchar"),
    ("bigint", "BIGINT", "bigint"),
    ("double", "DOUBLE", "double precision"),
    ("bool", "BOOLEAN", "boolean"),
    ("timestamp", "TIMESTAMP WITH TIME ZONE", "timestamp with time zone"),
    ("json", "JSON", "jsonb"),
)

# The words of the declaration, as the pages show them.
PERSONAL: dict[object, str] = {True: "personal", "id": "id", False: "", None: ""}

# How each policy treats a column (tiledesk.privacy).
PRIVACY = (
    ("personal text", "as it is", "a pseudonym", "null"),
    (
        "id",
        "as it is",
        "as it is if opaque, else a pseudonym",
        "as it is if opaque; else a pseudonym where there is a key, null where there is none",
    ),
    ("id json", "as it is", "as it is if all texts are opaque, else null", "the same"),
    ("personal json", "as it is", "null", "null"),
    ("all others", "as they are", "as they are", "as they are"),
)

EXAMPLE = """SELECT r.channel_name, m.attributes->>'$.subtype' AS subtype, count(*) AS messages
FROM tiledesk.messages AS m
JOIN tiledesk.requests AS r ON r.request_id = m.recipient
GROUP BY ALL ORDER BY messages DESC;"""

# What stands in .dlt/config.toml for a setting without a default.
EXAMPLES = {
    "history": '["project_users", "departments", "groups"]',
    "project_id": '"24 hexadecimal digits"',
    "ca_bundle": '"/etc/ssl/our-ca.pem"',
    "untested_destination": '"snowflake"',
    "privacy_overrides": '{ "messages.text" = "keep" }',
}


# Columns besides the key that are unique on the server (contract 4.1).
UNIQUE = {("requests", "request_id")}


def stale(root: Path = ROOT) -> list[str]:
    """The files that differ from what would be generated now."""
    return [
        name
        for name, text in made(root).items()
        if not _is(root / name) or _read(root, name) != text
    ]


def write(root: Path = ROOT) -> list[str]:
    """Generate the stale files again; returns their names."""
    names = stale(root)
    texts = made(root)
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(texts[name], encoding="utf-8")
    return names


def made(root: Path = ROOT) -> dict[str, str]:
    """The text of each generated file, as it should be now."""
    return {
        DICTIONARY: data_dictionary(),
        COMMANDS: commands(),
        README: filled(_read(root, README), {"commands": command_list()}),
        TABLES: filled(_read(root, TABLES), {"tables": f"{table_list()}\n\n{diagram()}"}),
        SETTINGS: filled(_read(root, SETTINGS), {"settings": settings()}),
        CONFIG: configured(_read(root, CONFIG)),
    }


def filled(text: str, blocks: dict[str, str]) -> str:
    """The text with its marked blocks filled.

    Raises:
        ValueError: a block does not occur exactly once.
    """
    for name, content in blocks.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        parts = block.split(text)
        if len(parts) != 4:
            raise ValueError(f"The page needs one block <!-- {name} -->, <!-- /{name} -->.")
        before, opening, closing, after = parts
        text = f"{before}{opening}\n{content}\n\n{closing}{after}"
    return text


def configured(text: str) -> str:
    """The file of settings with its section of the source filled."""
    section = re.compile(r"(?<=^\[sources\.tiledesk\]\n).*?(?=^\[)", re.DOTALL | re.MULTILINE)
    return section.sub(lambda _: f"{config_comments().lstrip()}\n\n", text, count=1)


# --- tables ---------------------------------------------------------------------------------------


def data_dictionary() -> str:
    """All tables and columns, with keys, joins and personal data."""
    return "\n".join(_data_dictionary()) + "\n"


def table_list() -> str:
    """The tables and their content, in short."""
    return _grid(
        ("table", "rows", "key"),
        ((_linked(part), part.description, _key(part)) for part in _parts()),
    )


def diagram() -> str:
    """The tables and the columns that join them, as a Mermaid diagram."""
    return "\n".join(("```mermaid", "erDiagram", *_diagram(), "```"))


def _diagram() -> Iterator[str]:
    joined = {name for join in JOINS for name in (join.table, join.to_table)}
    for part in _parts():
        if part.name not in joined:
            continue
        yield f"    {part.name} {{"
        for column in part.all_columns():
            mark = _mark(part, column)
            if mark is not None:
                yield f"        {column.type} {column.name} {mark}".rstrip()
        yield "    }"
    for join in JOINS:
        names = f"{join.column} = {join.prefix}{join.to_column}"
        yield f'    {join.table} {join.cardinality} {join.to_table} : "{names}"'


def _data_dictionary() -> Iterator[str]:
    yield "# Data dictionary"
    yield ""
    yield "Made by `make docs` from the declaration of the tables in"
    yield "[sources/tiledesk/tables.py](../sources/tiledesk/tables.py). Do not edit."
    yield ""
    yield "- Times are UTC, exact to the millisecond."
    yield "- A column is null where the API did not send the field."
    yield "- **personal** marks what can tell who somebody is, or what they said, and **id** what"
    yield "  is mostly an opaque id, and in some channels a phone number or a name. What becomes of"
    yield "  them is a [setting](#privacy)."
    yield "- Never loaded, in whatever object or list they stand:"
    yield from (f"  - `{name}`: {told}." for name, told in SECRETS.items())
    yield f"- `{EXTRA}` holds what the server sent and no other column can."
    yield "- A list inside a row is a table of its own. Its rows are found by"
    yield f"  `{PARENT_ID}`, in the order of `{POSITION}`. When the row changes, all rows of its"
    yield "  lists are replaced."
    yield "- Tables that begin with `_dlt_` are dlt's own. A load into Postgres stages rows in a"
    yield "  schema ending with `_staging` and drops it at its end."
    yield ""
    yield _grid(("type", "in DuckDB", "in Postgres"), TYPES)
    yield ""
    yield "## Privacy"
    yield ""
    yield "What becomes of a column by `sources.tiledesk.privacy` and `privacy_overrides`:"
    yield ""
    yield _grid(("column", "`keep`", "`pseudonymize`", "`drop`"), PRIVACY)
    yield ""
    yield "- A pseudonym is `p_` and 32 hexadecimal digits: HMAC-SHA256 with `pseudonym_key` of the"
    yield "  value exactly as it was sent, case and blanks included. The same value has the same"
    yield "  pseudonym in every column and table. That of a value that begins with `support-group-`"
    yield "  does so, too. Null and empty text stay."
    yield "- Opaque are ids that the server or the widget has drawn (24 hexadecimal digits, with"
    yield "  `bot_` before them or not; a UUID; `support-group-`, 24 digits and 32), and the words"
    yield "  `system`, `_trigger` and `_bot_unresponsive`. A UUID still is the id of one person."
    yield "- Values of json columns are left out as a whole: nobody knows where a free object holds"
    yield f"  a name. `{EXTRA}` is one of them; a notice names the fields it would have held."
    yield "- An object that is kept is kept without the fields that columns hide, at any depth:"
    yield "  with `messages.text` dropped, `requests.attributes` has no `last_message.text`. Tables"
    yield "  of people and conversations leave out what any of them hides, other tables what they"
    yield f"  hide themselves. `{EXTRA}` does so, too: a value that does not fit its column, or"
    yield "  came with half an emoji, has the policy of its column."
    yield "- A column that repeats another one has the other's policy, too, if that is stricter and"
    yield "  was set as specifically or more so. To keep it, name it in `privacy_overrides`:"
    yield from (
        f"  - `{name}` repeats {', '.join(f'`{other}`' for other in column.repeats)}."
        for name, column in COLUMNS.items()
        if column.repeats
    )
    yield "- Times, numbers, keys, languages and countries stay under each policy. So do the names"
    yield "  that reports are grouped by: of projects, departments, groups, bots, roles, tags and"
    yield "  properties."
    yield ""
    yield "## Tables"
    yield ""
    yield _grid(
        ("table", "rows", "key", "personal columns"),
        (
            (
                f"[{part.name}](#{part.name})",
                part.description,
                _key(part),
                f"{sum(bool(column.personal) for column in part.all_columns())}"
                f" of {len(part.all_columns())}",
            )
            for part in _parts()
        ),
    )
    yield ""
    yield "## Joins"
    yield ""
    yield "`projects._id` is in the column `id_project` of every table that has one."
    yield ""
    yield _grid(
        ("join", "finds", "remark"),
        (
            (f"`{join}`", "every row" if join.is_sure else "what there is", join.remark)
            for join in JOINS
        ),
    )
    yield ""
    yield "Tables that keep history have each row once for each version: of the present one"
    yield "`_dlt_valid_to` is null. Where the setting `history` leaves a table out, leave that"
    yield "condition out, too. The joins as queries, `a` with what it names, `b`:"
    yield ""
    for join in JOINS:
        if join.column != PARENT_ID:
            yield f"```sql\n-- {join}\n{join.sql()};\n```"
            yield ""
    yield "Who sent a message:"
    yield ""
    yield f"```sql\n{SENDERS};\n```"
    yield ""
    yield "Values inside a json column are reached by path: in DuckDB with `->>'$.name'`, in"
    yield "Postgres with `->>'name'`."
    yield ""
    yield f"```sql\n{EXAMPLE}\n```"
    for root in ALL_TABLES:
        for part in root.with_lists():
            yield ""
            yield from _described(part, root)
    yield ""
    yield f"## {LOADS.name}"
    yield ""
    yield f"{LOADS.description} Where `_dlt_load_id` is in `_dlt_loads.load_id`, the rows of that"
    yield "load are in the tables."
    yield ""
    yield _grid(
        ("column", "type", "description"),
        ((f"`{column.name}`", column.type, column.description) for column in LOADS.columns),
    )


def _described(table: Table, root: Table) -> Iterator[str]:
    yield f"## {table.name}"
    yield ""
    yield table.description
    yield ""
    if table is root:
        yield from _kept(table)
        if table.lists:
            lists = ", ".join(f"[{part.name}](#{part.name})" for part in table.lists)
            yield f"- Lists: {lists}."
    else:
        yield f"- Key: {_key(table)}."
        yield f"- Parent: [{root.name}](#{root.name}), made of the field `{table.source}`."
    for join in JOINS:
        if join.table == table.name or (join.to_table == table.name and join.column != PARENT_ID):
            yield f"- Join: `{join}`. {join.remark}".rstrip()
    if table.copies:
        left_out = ", ".join(f"`{copy}` (always `{of}`)" for copy, of in table.copies.items())
        yield f"- Fields left out since they repeat another: {left_out}."
    yield ""
    yield _grid(
        ("column", "type", "personal", "API field", "description"),
        (
            (
                f"`{column.name}`",
                column.type,
                PERSONAL[column.personal],
                f"`{column.source}`" if column.source else "",
                column.description,
            )
            for column in table.all_columns()
        ),
    )


def _kept(table: Table) -> Iterator[str]:
    """When rows of the table are added, changed and removed."""
    if not table.is_snapshot:
        yield f"- Key: {_key(table)}. A row is replaced as a whole when it is read again."
        if table not in SMALL_TABLES:
            yield f"- How far it has been read is counted in `{table.cursor}`."
    elif table.name in HISTORY:
        yield f"- Key: {_key(table)} with `_dlt_valid_from`, since when this version has been here,"
        yield "  by the machine's clock; `_dlt_valid_to` says until when, null for the present one."
        yield "  Of a version, these may have changed since:"
        yield f"  {', '.join(f'`{name}`' for name in table.volatile)}."
    else:
        yield f"- Key: {_key(table)}. All rows of the project are replaced when it is read again."
    if isinstance(table, SmallTable) and table.is_optional:
        yield f"- Loaded if the setting `{table.name}` is on, or if it is named."


def _parts() -> Iterator[Table]:
    for root in ALL_TABLES:
        yield from root.with_lists()


def _key(table: Table) -> str:
    if table.source:
        return f"`{PARENT_ID}`, `{POSITION}`"
    return f"`{key_of(table)[0]}`"


def _mark(table: Table, column: Column) -> str | None:
    """The mark beside a column in the Mermaid diagram; None if the diagram leaves it out."""
    place = (table.name, column.name)
    if not table.source and column.name == key_of(table)[0]:
        return "PK"
    if any((join.table, join.column) == place for join in JOINS):
        return "FK"
    if any((join.to_table, join.to_column) == place for join in JOINS):
        return "UK" if place in UNIQUE else ""
    return None


def _linked(table: Table) -> str:
    return f"[{table.name}]({Path(DICTIONARY).name}#{table.name})"


# --- settings -------------------------------------------------------------------------------------


def setting_names() -> list[str]:
    """The environment variables of the source, as dlt looks them up."""
    return [name for name, _, _ in _settings()]


def settings() -> str:
    """The settings of the source: environment variable, default, meaning."""
    rows = (
        (f"`{name}`", f"`{default}`" if default else "", text)
        for name, default, text in _settings()
    )
    return _grid(("environment variable", "default", "meaning"), rows)


def _settings() -> Iterator[tuple[str, str, str]]:
    """The environment variable, the default and the meaning of each setting."""
    meanings, accounts = _attributes(TiledeskSettings), _attributes(TiledeskCredentials)
    for name in TiledeskSettings.get_resolvable_fields():
        if name == "credentials":
            for part in TiledeskCredentials.get_resolvable_fields():
                yield f"{SECTION}CREDENTIALS__{part.upper()}", "", accounts[part]
        else:
            default = getattr(TiledeskSettings, name)
            yield SECTION + name.upper(), "" if default is None else f"{default}", meanings[name]


def config_comments() -> str:
    """The settings that are not secrets as commented lines of TOML, each with its meaning."""
    lines = []
    for name, meaning in _attributes(TiledeskSettings).items():
        if is_secret_hint(TiledeskSettings.get_resolvable_fields()[name]):
            continue
        default = getattr(TiledeskSettings, name)
        value = EXAMPLES[name] if default is None else tomlkit.item(default).as_string()
        lines += [
            "",
            *(f"# {line}" for line in textwrap.wrap(meaning, WIDTH)),
            f"# {name} = {value}",
        ]
    return "\n".join(lines)


def _attributes(spec: type) -> dict[str, str]:
    """The attributes of a class and their meanings, from its docstring."""
    _, _, section = (inspect.getdoc(spec) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?= {4}\w+:)", f"\n{section}".rstrip())[1:]:
        name, _, text = entry.strip().partition(":")
        found[name] = " ".join(text.split())
    return found


# --- commands -------------------------------------------------------------------------------------


def command_names() -> list[str]:
    """The commands, in the order of ``--help``."""
    command = get_command(app)
    return list(getattr(command, "commands", {}))


def help_of(*command: str) -> str:
    """The ``--help`` text of a command."""
    result = CliRunner().invoke(
        app, [*command, "--help"], prog_name="tiledesk-dlt", terminal_width=WIDTH
    )
    if result.exit_code:
        raise ValueError(f"tiledesk-dlt {command} --help does not work.")
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def commands() -> str:
    """The ``--help`` text of every command."""
    parts = [
        "# Commands",
        "Made by `make docs` from `tiledesk-dlt --help`. Do not edit.",
        f"```text\n{help_of()}\n```",
    ]
    for name in command_names():
        parts += [f"## tiledesk-dlt {name}", f"```text\n{help_of(name)}\n```"]
    return "\n\n".join(parts) + "\n"


def command_list() -> str:
    """The commands and their purpose, in short."""
    told = {}
    for name in command_names():
        command = getattr(get_command(app), "commands", {})[name]
        told[name] = " ".join((command.help or "").split())
    return _grid(
        ("command", "what it does"),
        (
            (f"[`tiledesk-dlt {name}`]({COMMANDS}#tiledesk-dlt-{name})", text)
            for name, text in told.items()
        ),
    )


# --- files ----------------------------------------------------------------------------------------


def _grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *(tuple(row) for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _is(path: Path) -> bool:
    return path.is_file()


def _read(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` only compare them; returns the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("Usage: python -m tiledesk_pipeline.docs [--check]\n")
        return 2
    if not _is(ROOT / README):
        sys.stderr.write("Error: this needs a checkout of tiledesk-dlt, installed --editable.\n")
        return 1
    if arguments:
        names = stale()
        for name in names:
            sys.stderr.write(f"{name} is stale: run make docs\n")
        return 1 if names else 0
    for name in write():
        sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
