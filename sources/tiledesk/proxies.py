"""Finds the proxy for an address in the environment."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import urllib.request
from dataclasses import dataclass, field

import httpx

from .addresses import is_this_machine
from .errors import BadSetting

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True)
class Proxy:
    """A proxy. ``str()`` gives its address without user name and password, safe to print.

    Attributes:
        variable: the environment variable that names the proxy.
        auth: its user name and password, if it needs them.
    """

    scheme: str
    host: str
    port: int
    variable: str
    auth: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {host}:{self.port} ({self.variable})"


def proxy_for(base_url: str) -> Proxy | None:
    """The proxy for an address, from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

    The variables may be in upper or lower case; lower case takes precedence. Addresses of this
    machine never use a proxy.

    Raises:
        BadSetting: the variable does not hold the address of a proxy, or the kind of proxy is not
            supported.
    """
    url = httpx.URL(base_url)
    named = urllib.request.getproxies()
    scheme = url.scheme if named.get(url.scheme) else "all"
    value = named.get(scheme, "").strip()
    if not value or is_this_machine(url.host) or _is_excepted(url, named.get("no", "")):
        return None
    return _parsed(value, _variable(scheme))


def _variable(scheme: str) -> str:
    """The name of the variable, in the case the environment uses."""
    name = f"{scheme}_proxy"
    spellings = [key for key in os.environ if key.lower() == name and os.environ[key]]
    if name in spellings:
        return name
    return spellings[0] if spellings else "the system's settings"


def _parsed(value: str, variable: str) -> Proxy:
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme and url.host and url.scheme not in _PORTS:
        raise BadSetting(
            f"{variable} names a proxy of the kind {url.scheme}. Proxies of the kinds http, https,"
            " socks5 and socks5h can be used."
        )
    # usually a password with characters that are not percent-encoded
    is_address = url.host and url.path in ("", "/") and not url.query and "#" not in value
    if not is_address or not 0 < (url.port or 1) < 65536:
        raise BadSetting(
            f"{variable} is not the address of a proxy, such as http://HOST:PORT. In a user name or"
            " password, characters such as @ : / # have to be percent-encoded."
        )
    if url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise BadSetting(
            f"{variable} names a SOCKS proxy, which needs another package:"
            " pip install 'tiledesk-dlt[socks]'."
        )
    auth = (url.username, url.password) if url.username or url.password else None
    return Proxy(url.scheme, url.host, url.port or _PORTS[url.scheme], variable, auth)


def _is_excepted(url: httpx.URL, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` covers the address.

    An entry is ``*``, a host (which covers its subdomains), an IP address or a network. Each may
    have a port.
    """
    host, port = url.host.rstrip(".").lower(), url.port or _PORTS[url.scheme]
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        name, wanted = entry.rpartition("://")[2].rstrip("/"), ""
        # the colon may belong to an IPv6 address without brackets
        if match := re.fullmatch(r"(\[.+\]|[^:]+):([0-9]+)", name):
            name, wanted = match[1], match[2]
        if wanted and int(wanted) != port:
            continue
        if name == "*" or (name and _matches(host, name.strip("[]"))):
            return True
    return False


def _matches(host: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
