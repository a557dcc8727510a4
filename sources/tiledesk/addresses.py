"""Checks base URLs and project ids before the first call."""

from __future__ import annotations

import ipaddress
import re
import socket

import httpx

from . import errors

# the path of a project, or of the sign-in or the list of projects
_BELOW_THE_API = re.compile(r"/[0-9a-fA-F]{24}(/|$)|/(auth/signin|projects)/*$")


def checked_base_url(base_url: str, allow_http: bool = False) -> str:
    """The base URL, without surrounding blanks and trailing slashes.

    Raises:
        BadSetting: it cannot be the address of an API, or it is plain http to another machine and
            that is not allowed.
    """
    base_url = base_url.strip()
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    is_address = url.scheme in ("http", "https") and url.host and 0 < (url.port or 80) < 65536
    if not is_address or "?" in base_url or "#" in base_url:
        wrong = ""
        if base_url and "//" not in base_url:
            wrong = ": it has no https:// in front"
        elif is_address:
            wrong = ": what follows the ? or # does not belong to it"
        raise errors.BadSetting(
            f"sources.tiledesk.base_url is not an address like https://api.tiledesk.com/v3{wrong}."
        )
    if url.userinfo:
        raise errors.BadSetting(
            "sources.tiledesk.base_url must not hold a user name or password: they belong to"
            " sources.tiledesk.credentials."
        )
    if _BELOW_THE_API.search(url.path):
        raise errors.BadSetting(
            "sources.tiledesk.base_url is not an address like https://api.tiledesk.com/v3: it ends"
            " before the project's id or the name of a call, as in /v3, /api, or no path at all."
        )
    if url.scheme == "http" and not allow_http and not is_this_machine(url.host):
        raise errors.BadSetting(
            "sources.tiledesk.base_url is plain http: anyone on the network path could read the"
            " password and the conversations. Use https; or, across a network that you trust, set"
            " sources.tiledesk.allow_http to true."
        )
    return str(url).rstrip("/")


def is_this_machine(host: str) -> bool:
    """Whether a host name or IP address means this machine, without a DNS query."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))  # 127.1 is a valid short form
        except (OSError, ValueError):
            return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def checked_project_id(project_id: str) -> str:
    """The project id in lower case, as the API writes it.

    Raises:
        BadSetting: it is not 24 hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{24}", project_id.strip()):
        raise errors.BadSetting(
            "sources.tiledesk.project_id is not a project id: it is the 24 characters in the"
            " dashboard's address after /project/."
        )
    return project_id.strip().lower()
