"""Chooses the trusted certificate authorities, and explains why a certificate is not trusted."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

import certifi

from .errors import BadSetting

SETTING = "sources.tiledesk.ca_bundle"
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_PRIVATE_CA = (
    f"If it is signed by a certificate authority of your own, set {SETTING} or SSL_CERT_FILE to"
    " that authority's certificate (a PEM file)."
)


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """The TLS context that verifies the server's certificate.

    It trusts the authorities in `ca_bundle`. Without that, it trusts those that the environment
    names or, if it names none, those of certifi.

    Args:
        ca_bundle: a PEM file, or a folder of PEM files prepared by ``openssl rehash``.

    Raises:
        BadSetting: a file or folder does not exist, cannot be read, or holds no certificate.
    """
    if ca_bundle:
        named = [(SETTING, ca_bundle)]
    else:
        named = _of_environment("SSL_CERT_FILE", "SSL_CERT_DIR")
        named = named or _of_environment("REQUESTS_CA_BUNDLE")
    if not named:
        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in named:
        _load(context, name, path)
    return context


def _of_environment(*variables: str) -> list[tuple[str, str]]:
    """The paths in these environment variables, each with the variable's name. A ``_DIR`` may hold
    several."""
    return [
        (name, path)
        for name in variables
        for path in os.environ.get(name, "").split(os.pathsep if name.endswith("_DIR") else "\0")
        if path
    ]


def _load(context: ssl.SSLContext, name: str, path: str) -> None:
    try:
        if Path(path).is_dir():
            if not any(_HASHED.fullmatch(entry) for entry in os.listdir(path)):
                raise BadSetting(
                    f"{name}: the folder {path} holds no certificates under the names that OpenSSL"
                    f" looks for. Run: openssl rehash {path}"
                )
            context.load_verify_locations(capath=path)
            return
        before = context.cert_store_stats()["x509"]
        context.load_verify_locations(cafile=path)
        is_empty = context.cert_store_stats()["x509"] == before
    except ssl.SSLError:
        is_empty = True
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a path"
        raise BadSetting(f"{name}: {path} cannot be read: {why}.") from None
    if is_empty:
        raise BadSetting(f"{name}: {path} holds no certificate that can be read. It is a PEM file.")


def problem(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Says what is wrong with the certificate of `host`, and what to do."""
    what = str(error.verify_message).rstrip(".")
    if "expired" in what or "not yet valid" in what:
        cure = "Renew it on the server, and check the clock of this machine."
    elif "mismatch" in what:
        cure = "Set sources.tiledesk.base_url to the name that the certificate was made for."
    else:
        cure = _PRIVATE_CA
    return f"The certificate of {host} is not accepted: {what}. {cure}"
