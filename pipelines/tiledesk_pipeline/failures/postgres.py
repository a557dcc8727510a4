"""What Postgres and its driver say, as sentences with the cause and the cure."""

from __future__ import annotations

import re

from tiledesk.redaction import words_of

SETTING = "destination.postgres.credentials"
GRANTS = "docs/troubleshooting.md lists the rights that a load needs."

# By SQLSTATE, or by the first two digits of one, which are its class. `{}` is what Postgres says.
_BY_STATE: dict[str, str] = {
    "08": f"The connection to Postgres was lost: {{}}. Check that the server of {SETTING} is up and"
    " run again.",
    "22P05": "The encoding of the Postgres database cannot hold every character: {}. Create a"
    " database with ENCODING 'UTF8' and load into that.",
    "22021": "The encoding of the Postgres database cannot hold every character: {}. Create a"
    " database with ENCODING 'UTF8' and load into that.",
    "22": "Postgres cannot hold a value in its column: {}. Report it: such values belong into"
    " _extra.",
    "23": "A constraint that somebody added to a table of this dataset refuses a row: {}. Drop the"
    " constraint and run again: the rows of that table are the loader's.",
    "25006": "Postgres allows this role or server to read only: {}. Load into the primary server,"
    " with a role and a database for which default_transaction_read_only is off.",
    "25P03": "Postgres ended an idle transaction: {}. Raise idle_in_transaction_session_timeout for"
    " the role and run again.",
    "25P04": "Postgres ended a transaction that took too long: {}. Raise transaction_timeout for"
    " the role and run again.",
    "28P01": f"Postgres does not accept the user and password: {{}}. Check both in {SETTING}; a"
    " character such as @ or / in it is written percent-encoded (%40, %2F).",
    "2BP01": "Something of yours depends on a table of this dataset: {}. Drop it, load, and create"
    " it again.",
    "3D000": f"There is no such database on the Postgres server: {{}}. Create it, or correct"
    f" {SETTING}.",
    "3F": "A schema of this dataset is gone: {}. Run again: the load creates it.",
    "40": "Postgres gave up a transaction that came into conflict with another one: {}. Run again:"
    " nothing was lost.",
    "42501": f"The Postgres role has not the rights that a load needs: {{}}. {GRANTS}",
    "42939": "Postgres keeps schema names that begin with pg_ for itself. Give another name with"
    " --dataset.",
    "42601": "The Postgres server does not know a statement that a load needs: {}. Use Postgres 12"
    " or newer.",
    "42": "A table of this dataset is not as the loader made it: {}. Undo what was changed in it,"
    " or use another dataset.",
    "53100": "The disk of the Postgres server is full. Free some space there and run again:"
    " nothing was lost.",
    "53200": "The Postgres server is out of memory: {}. Run again when it has less to do.",
    "53300": "The Postgres server, database or role has too many connections: {}. Close some, or"
    " raise the limit, and run again.",
    "53": "The Postgres server has reached one of its limits: {}. Raise the limit and run again:"
    " nothing was lost.",
    "54": "A row is larger than Postgres allows: {}.",
    "55P03": "A table is locked by another session for longer than lock_timeout allows. End that"
    " session, or raise lock_timeout, and run again.",
    "57014": "Postgres cancelled a statement: {}. Raise statement_timeout for the role that loads"
    " (ALTER ROLE ... SET statement_timeout = 0) and run again.",
    "57P03": "Postgres does not accept connections now: {}. Run again when it does.",
    "57P04": f"The Postgres database was dropped: {{}}. Create it, or correct {SETTING}.",
    "57P05": "Postgres ended an idle session: {}. Raise idle_session_timeout for the role and run"
    " again.",
    "57": "Postgres ended the connection: {}. Run again when the server is up.",
    "58": "The Postgres server cannot read or write its files: {}. Look into its log.",
    "P0": "A trigger or a function of yours refuses a row: {}. Drop or change it and run again.",
    "0A000": "The Postgres server does not know a statement that a load needs: {}. Use Postgres 12"
    " or newer.",
    "XX": "The Postgres server reports an internal error: {}. Look into its log.",
}

# An error before a session begins has no SQLSTATE. It is recognized by the text of libpq. If the
# server uses another language than English, its own message is shown.
_BY_TEXT: tuple[tuple[str, str], ...] = (
    (
        r"could not translate host name|Name or service not known|nodename nor servname",
        f"The host of the Postgres server is not known: {{}}. Check the host in {SETTING}; a"
        " character such as @ or / in a password is written percent-encoded (%40, %2F).",
    ),
    (
        r"Connection refused",
        f"No server listens there: {{}}. Check host and port in {SETTING}, and that Postgres runs"
        " and accepts TCP connections.",
    ),
    (
        r"invalid (integer value|port number)",
        f"The port in {SETTING} is no port number: it is a number from 1 to 65535, mostly 5432.",
    ),
    (
        r"timeout expired|timed out|No route to host|Network is unreachable",
        f"The Postgres server does not answer: {{}}. Check host and port in {SETTING}, the network"
        " and the firewall.",
    ),
    (
        r"password authentication failed|no password supplied|empty password",
        _BY_STATE["28P01"],
    ),
    (r'database ".*" does not exist', _BY_STATE["3D000"]),
    (
        r'role ".*" does not exist',
        f"There is no such role on the Postgres server: {{}}. Create it, or correct the user in"
        f" {SETTING}.",
    ),
    (
        r"not permitted to log in",
        "The Postgres role may not log in: {}. Allow it with: ALTER ROLE ... LOGIN.",
    ),
    (
        r"server does not support SSL",
        f"The Postgres server does not offer SSL, which sslmode in {SETTING} demands. Switch SSL on"
        " in the server, or set sslmode=prefer.",
    ),
    (
        r"invalid sslmode value|weak sslmode|sslmode value",
        f"The sslmode in {SETTING} is not known. There are: disable, allow, prefer, require,"
        " verify-ca, verify-full.",
    ),
    (
        r"root certificate file|could not read root certificate|certificate file",
        f"A certificate that sslmode in {SETTING} needs is not there: {{}}. Name the file with"
        " sslrootcert=, or use sslmode=require.",
    ),
    (
        r"certificate verify failed|does not match host name|SSL error|sslv3|tlsv1",
        f"The SSL connection to Postgres failed: {{}}. Check sslmode and the certificates in"
        f" {SETTING}.",
    ),
    (
        r"no pg_hba.conf entry|pg_hba.conf rejects",
        "The Postgres server does not let this host, user and database in: {}. Add an entry to its"
        " pg_hba.conf, or set sslmode=require if it only lets SSL in.",
    ),
    (
        r"too many (clients|connections)|remaining connection slots|connection limit",
        _BY_STATE["53300"],
    ),
    (
        r"system is (starting up|shutting down|in recovery|not yet accepting)|recovery mode",
        _BY_STATE["57P03"],
    ),
    (
        r"not currently accepting connections",
        "The Postgres database accepts no connections: {}. Allow them with: ALTER DATABASE ..."
        " ALLOW_CONNECTIONS true.",
    ),
    (
        r"invalid URI query parameter|invalid connection option \"[\w]+\"",
        f"An option in {SETTING} is not known to Postgres: {{}}. Correct or remove it.",
    ),
    (
        r"invalid dsn|missing \"=\" after|missing key/value separator|invalid percent-encoded",
        f"{SETTING} cannot be read: it has the form postgresql://user:password@host:5432/database,"
        " without +psycopg2 or another driver; special characters in the password are"
        " percent-encoded.",
    ),
    (
        r"definition of service|service file",
        "The service named for the Postgres connection is not defined: {}. Check PGSERVICE and"
        " PGSERVICEFILE.",
    ),
    (
        r"expected authentication request|invalid response to SSL|unsupported frontend protocol",
        f"What answers at that host and port is no Postgres server. Check host and port in"
        f" {SETTING}.",
    ),
    (
        r"connection to server on socket|server running locally",
        f"No Postgres server listens on this machine's socket: {{}}. Give a host in {SETTING}.",
    ),
    (
        r"invalid value for parameter|unrecognized configuration parameter|invalid command-line",
        f"Postgres refuses a parameter of {SETTING}: {{}}. Correct or remove it.",
    ),
    (r"No space left|could not extend file|disk full", _BY_STATE["53100"]),
    (
        r"server closed the connection|connection already closed|could not send|could not receive"
        r"|terminating connection|Connection reset|connection has been closed|connection not open",
        _BY_STATE["08"],
    ),
)


def explain(error: BaseException) -> str | None:
    """The sentence for an error of psycopg2; None if it is none, or says nothing by itself."""
    if not type(error).__module__.startswith("psycopg2"):
        return None
    text = str(error)
    said = _said(error)
    state = getattr(error, "pgcode", None)
    if state and "role" in said and "does not exist" in said:
        state = None
    if state and (sentence := _BY_STATE.get(state) or _BY_STATE.get(state[:2])):
        return sentence.format(said)
    if type(error).__name__ == "InterfaceError":
        return None  # that the connection is closed follows from what happened before
    for pattern, sentence in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return sentence.format(said)
    return f"Postgres refuses the load: {said}. Check {SETTING} and the server's log."


def _said(error: BaseException) -> str:
    """What the server or the driver says, in one line, without values of rows."""
    text = words_of(error)
    # every address of a host is tried; what matters is said of the last
    text = re.sub(r"^.*?(FATAL|ERROR):\s+", "", text)
    return text.rstrip(".: ")
