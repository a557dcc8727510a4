"""Status codes, proxies, certificates, and answers that come late, large or oddly encoded."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from test_client import Watch
from tiledesk import certificates, errors, statuses
from tiledesk.answers import Answer
from tiledesk.client import TRIES, Client
from tiledesk.credentials import TiledeskCredentials
from tiledesk.observer import Stopped
from tiledesk.proxies import proxy_for
from tiledesk.settings import TiledeskSettings

PATH = "/" + "a" * 24 + "/requests"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


Serving = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serving]:
    """Starts servers that answer each request on a connection by a function or with bytes."""
    listening: list[socket.socket] = []

    def start(answer: Any, context: ssl.SSLContext | None = None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)

        def talk(connection: socket.socket) -> None:
            try:
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                while True:
                    asked = b""
                    while b"\r\n\r\n" not in asked:
                        if not (more := connection.recv(65536)):
                            return
                        asked += more
                    if callable(answer):
                        answer(connection, asked)
                        return
                    connection.sendall(answer)
            except OSError:
                pass
            finally:
                connection.close()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listening:
        listener.close()


def client(address: str, watch: Any = None, scheme: str = "http", **settings: Any) -> Client:
    credentials = TiledeskCredentials()
    credentials.token = "JWT a.b.c"
    settings = {"rate_limit_per_minute": 0, **settings}
    spec = TiledeskSettings(credentials=credentials, base_url=f"{scheme}://{address}", **settings)
    return Client(spec, watch)


def response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# --- the table of statuses ------------------------------------------------------------------------

BODIES = {"JSON": b'{"a":1}', "text": b"oops", "HTML": b"<html>oops", "empty": b""}
TRANSIENT = {408, 421, 425, 429, 449, 460, 499, *range(500, 600)} - {501, 505, 506, 508, 510, 511}


@pytest.mark.parametrize("kind", BODIES)
def test_every_status_is_tried_again_or_not_as_the_table_says(kind: str) -> None:
    strange = {*range(100, 300), 304}
    for status in range(100, 600):
        answer = Answer("/x", status, {}, BODIES[kind])
        read, sign_in = (
            issubclass(statuses.meaning(answer, table).error, errors.Transient)
            for table in (statuses.READ, statuses.SIGN_IN)
        )
        wanted = status in TRANSIENT or (status in strange and (status, kind) != (200, "HTML"))
        assert read == wanted, status
        cut_off = status in (200, 203) and kind in ("text", "empty")
        assert sign_in == (status in TRANSIENT or cut_off), status


NAMED = [
    (400, b'{"error":"Project not found with id: x"}', errors.ProjectNotFound),
    (400, b'{"error":"the project is red"}', errors.Rejected),
    (400, b"Bad Request", errors.Rejected),
    (401, b"Unauthorized", errors.TokenRefused),
    (401, b'{"err":"error ip filter"}', errors.AccessRefused),
    (401, b"<html>", errors.NotTheApi),
    (403, b'{"success":false,"msg":"you dont belong to the project."}', errors.NotAMember),
    (403, b'{"success":false,"msg":"you dont have the required role."}', errors.RoleTooLow),
    (403, b'{"message":"Forbidden"}', errors.AccessRefused),
    (403, b"", errors.AccessRefused),
    (404, b"<html>Cannot GET", errors.NoSuchPath),
    (404, b"404 page not found", errors.NotTheApi),
    (404, b'{"success":false}', errors.Rejected),
    (407, b"", errors.ProxyRefused),
    (422, b"{}", errors.Rejected),
    (500, b'{"err":"error"}', errors.Rejected),
    (500, b'{"success":false,"err":{"name":"CastError"}}', errors.Rejected),
    (500, b'{"success":false,"error":"Invalid timezone: x"}', errors.Rejected),
    (500, b'{"error":"an update of the candidate failed"}', errors.ServerTrouble),
    (500, b'{"err":"CastError and a timezone and a date"}', errors.ServerTrouble),
    (511, b"<html>", errors.NotTheApi),
    (302, b"", errors.NotTheApi),
]


@pytest.mark.parametrize(("status", "body", "error"), NAMED)
def test_a_status_and_its_body_name_the_error(status: int, body: bytes, error: type) -> None:
    assert statuses.meaning(Answer("/x", status, {}, body), statuses.READ).error is error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b'{"success":false}', errors.SignInRefused),
        (422, b'{"errors":[]}', errors.SignInRefused),
        (401, b'{"err":"error ip filter"}', errors.AccessRefused),
        (401, b"<html>", errors.NotTheApi),
        (500, b'{"err":"error"}', errors.ServerTrouble),
        (404, b"<html>", errors.NotTheApi),
    ],
)
def test_a_status_of_the_sign_in_names_the_error(status: int, body: bytes, error: type) -> None:
    assert statuses.meaning(Answer("/x", status, {}, body), statuses.SIGN_IN).error is error


def test_failures_that_mix_make_8_calls_in_all(serve: Serving, slept: list[float]) -> None:
    calls = 0

    def answer(connection: socket.socket, _: bytes) -> None:
        nonlocal calls
        calls += 1
        kinds = [b"429 X", b"503 X\r\nRetry-After: 1", b"502 X", b"200 OK"]
        connection.sendall(response(b"[", b"Connection: close", status=kinds[calls % 4]))

    with pytest.raises(errors.Transient):
        client(serve(answer)).get(PATH)
    assert calls == TRIES == 8
    assert len(slept) == 7


DATES = ["Fri, 01 Jan 99999 00:00:00 GMT", "x", "-1", "1e9", "é"]


@pytest.mark.parametrize("date", [*DATES, "9" * 400, "nan", "Thu, 99 Foo 2026 99:99:99 +9999999"])
def test_no_date_of_a_header_ends_a_load(serve: Serving, slept: list[float], date: str) -> None:
    asked = 0

    def answer(connection: socket.socket, _: bytes) -> None:
        nonlocal asked
        asked += 1
        stamp = b"Date: " + date.encode()
        wait = [b"Retry-After: " + date.encode()] if date != "9" * 400 else []
        status = b"429 X" if asked == 1 else b"200 OK"
        connection.sendall(response(b"[]", stamp, b"Connection: close", *wait, status=status))

    assert client(serve(answer)).get(PATH) == b"[]"
    assert slept == [15]


# --- the first call -------------------------------------------------------------------------------


def test_a_dead_port_is_told_at_the_first_failure_with_what_to_check(slept: list[float]) -> None:
    watch = Watch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.Unreachable):
            client(f"127.0.0.1:{taken.getsockname()[1]}", watch).get(PATH)
    assert "Check sources.tiledesk.base_url" in watch.reasons[0]
    assert len(slept) == 3


# --- late and large -------------------------------------------------------------------------------


def drip(connection: socket.socket, head: bytes = b"") -> None:
    connection.sendall(head)
    while True:
        connection.sendall(b"1")
        time.sleep(0.02)


HEADS = {
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n[",
    "headers": b"HTTP/1.1 200 OK\r\nX: ",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_an_answer_that_drips_ends_at_its_deadline(
    serve: Serving, slept: list[float], head: bytes
) -> None:
    one = client(serve(lambda c, _: drip(c, head)), answer_timeout=1)
    with pytest.raises(errors.NoAnswer, match=r"to the end within 1 .*answer_timeout"):
        one.get(PATH)
    assert len(slept) == 1


def test_lines_that_drip_end_at_the_deadline(serve: Serving) -> None:
    one = client(serve(lambda c, _: drip(c, HEADS["body"])), answer_timeout=1)
    with pytest.raises(errors.NoAnswer, match="answer_timeout"):
        list(one.lines(PATH))


class Stopping(Watch):
    def awaits(self) -> None:
        raise Stopped("now")


@pytest.mark.parametrize("head", [b"", HEADS["body"]])
def test_a_stop_ends_a_read_that_hangs(serve: Serving, head: bytes) -> None:
    def hang(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        connection.recv(1)

    with pytest.raises(Stopped):
        client(serve(hang), Stopping()).get(PATH)


def endless(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"1" * 0x10000 + b"\r\n")


BOMB = gzip.compress(b"[" + b" " * 30_000_000 + b"]")
LARGE = {
    "endless": endless,
    "plain": response(b"[" + b" " * 2_000_000 + b"]"),
    "gzip": response(BOMB, b"Content-Encoding: gzip"),
    "gzip of gzip": response(gzip.compress(BOMB), b"Content-Encoding: gzip, gzip"),
    "deflate": response(zlib.compress(b" " * 30_000_000), b"Content-Encoding: deflate"),
}


@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE.keys())
def test_an_answer_that_is_too_large_names_the_setting(serve: Serving, answer: Any) -> None:
    one = client(serve(answer), max_answer_mb=1)
    with pytest.raises(errors.AnswerTooLarge, match=r"larger than 1 MB.*max_answer_mb"):
        one.get(PATH)
    with pytest.raises(errors.AnswerTooLarge, match="max_answer_mb"):
        list(client(serve(answer), max_answer_mb=0.1).lines(PATH))


def test_a_page_of_100_rows_of_a_megabyte_is_read(serve: Serving) -> None:
    body = b"[" + b",".join([b'"' + b"x" * 1_000_000 + b'"'] * 100) + b"]"
    assert len(client(serve(response(body))).get(PATH)) == len(body)


@pytest.mark.parametrize("name", ["answer_timeout", "max_answer_mb", "read_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_told(name: str, value: float) -> None:
    with pytest.raises(errors.BadSetting, match=name):
        client("127.0.0.1:1", **{name: value})


# --- what browsers read ---------------------------------------------------------------------------

ROW = '[{"text":"é☃"}]'
DEFLATE = zlib.compressobj(wbits=-15)
RAW = DEFLATE.compress(ROW.encode()) + DEFLATE.flush()
PACKED = gzip.compress(ROW.encode())
READABLE = {
    "byte order mark": response(b"\xef\xbb\xbf" + ROW.encode()),
    "utf-16": response(ROW.encode("utf-16")),
    "utf-16 without a mark": response(ROW.encode("utf-16-le")),
    "utf-16 as declared": response(ROW.encode("utf-16-be"), b"Content-Type: text/plain"),
    "a wrong charset": response(ROW.encode(), b"Content-Type: text/json; charset=latin-1"),
    "x-gzip": response(PACKED, b"Content-Encoding: x-gzip"),
    "capitals": response(PACKED, b"CONTENT-ENCODING: GZIP"),
    "identity": response(ROW.encode(), b"Content-Encoding: identity"),
    "gzip in two members": response(
        gzip.compress(ROW[:5].encode()) + gzip.compress(ROW[5:].encode()), b"Content-Encoding: gzip"
    ),
    "gzip with a tail": response(PACKED + b"\0\0\0", b"Content-Encoding: gzip"),
    "deflate": response(zlib.compress(ROW.encode()), b"Content-Encoding: deflate"),
    "raw deflate": response(RAW, b"Content-Encoding: deflate"),
    "both": response(
        zlib.compress(PACKED), b"Content-Encoding: gzip", b"Content-Encoding: deflate"
    ),
    "html by name": response(ROW.encode(), b"Content-Type: text/html"),
    "no type": response(ROW.encode()),
    "names in UTF-8": response(ROW.encode(), "X-Größe: é".encode(), b" more"),
    "names in latin-1": response(ROW.encode(), "X-Größe: é".encode("latin-1")),
    "a line that is no header": response(ROW.encode(), b"oops", b": empty", b"X :blank"),
    "control characters": response(ROW.encode(), b"X: a\x01b"),
    "twice": response(ROW.encode(), b"X: 1", b"X: 2", b"Content-Length: %d" % len(ROW.encode())),
    "1xx": b"HTTP/1.1 103 Early Hints\r\nLi nk: x\r\n\r\n" + response(ROW.encode(), b"Y\xc3: 1"),
    "line feeds": response(ROW.encode(), b"Y\xc3: 1").replace(b"\r\n", b"\n"),
    "203": response(ROW.encode(), status=b"203 Non-Authoritative"),
    "chunk extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(ROW.encode()), ROW.encode()),
}  # fmt: skip


@pytest.mark.parametrize("answer", READABLE.values(), ids=READABLE.keys())
def test_what_a_browser_reads_is_read(serve: Serving, slept: list[float], answer: bytes) -> None:
    assert json.loads(client(serve(answer)).get(PATH)) == json.loads(ROW)
    assert slept == []


def test_a_head_in_small_pieces_is_read(serve: Serving) -> None:
    whole = READABLE["1xx"]

    def answer(connection: socket.socket, _: bytes) -> None:
        for byte in whole:
            connection.sendall(bytes([byte]))

    assert json.loads(client(serve(answer)).get(PATH)) == json.loads(ROW)


UNREADABLE = {
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP"),
    "br": (response(b"x", b"Content-Encoding: br"), "in a way that was not asked for"),
    "half a gzip": (response(PACKED[:20], b"Content-Encoding: gzip"), "cannot be decompressed"),
}


@pytest.mark.parametrize(("answer", "told"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_told(
    serve: Serving, slept: list[float], answer: bytes, told: str
) -> None:
    with pytest.raises(errors.BadAnswer, match=told):
        client(serve(answer)).get(PATH)


@pytest.mark.parametrize("cookie", ["sid=é☃".encode(), b"sid=\xff\xfe", b'sid="a b"'])
def test_a_cookie_is_sent_back_as_it_came(serve: Serving, cookie: bytes) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(
            response(b"[]", b"Set-Cookie: " + cookie + b"; Path=/", b"Connection: close")
        )

    one = client(serve(answer))
    assert one.get(PATH) == one.get(PATH) == b"[]"
    assert b"Cookie: " + cookie + b"\r\n" in asked[1]


def test_a_redirect_is_not_followed_with_the_token(serve: Serving) -> None:
    asked: list[bytes] = []
    other = serve(lambda _, request: asked.append(request))
    moved = response(b"", f"Location: http://{other}/?secret=1".encode(), status=b"302 Found")
    with pytest.raises(errors.NotTheApi, match="another address") as caught:
        client(serve(moved)).get(PATH)
    assert asked == []
    assert "secret" not in str(caught.value)


# --- proxies --------------------------------------------------------------------------------------

FAR = "https://tiledesk.example/v3"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "value", ["proxy:3128", "http://proxy:3128", "http://proxy:3128/", "me:hunter2@proxy:3128"]
)
def test_every_spelling_names_the_proxy_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    proxy = proxy_for(FAR)
    assert str(proxy) == f"the proxy proxy:3128 ({name})"
    assert "hunter2" not in repr(proxy)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost", "127.1", "0.0.0.0"]
)
def test_this_machine_has_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "proxy:3128")
    assert proxy_for(f"http://{host}:3000") is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_used"),
    [
        ("*", "a.example", False),
        ("a.example", "a.example", False),
        ("example", "a.example", False),
        (".example", "a.example", False),
        ("*.example", "a.example", False),
        ("A.Example", "a.example", False),
        ("x, a.example", "a.example", False),
        ("x a.example", "a.example", False),
        ("a.example:443", "a.example", False),
        ("a.example:8443", "a.example", True),
        ("b.example", "a.example", True),
        ("ample", "a.example", True),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", False),
        ("10.1.2.3:443", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("fd00::1", "[fd00::1]", False),
        ("[fd00::1]", "[fd00::1]", False),
        ("[fd00::1]:443", "[fd00::1]", False),
        ("[fd00::1]:80", "[fd00::1]", True),
        ("", "a.example", True),
        (",", "a.example", True),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_excepts_what_it_names(
    monkeypatch: pytest.MonkeyPatch, name: str, no_proxy: str, host: str, is_used: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    monkeypatch.setenv(name, no_proxy)
    assert (proxy_for(f"https://{host}/v3") is not None) == is_used


@pytest.mark.parametrize(
    "value",
    ["http://", "http://me:hun#ter2@p:1", "http://me:80/ter2@p:1", "http://p:port", "p:99999",
     "ftp://me:hunter2@p:1", "socks4://me:hunter2@p:1", "me:hun?ter2@p:1", "://", "http://[::1"],
)  # fmt: skip
def test_a_proxy_that_cannot_be_is_told_without_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(errors.BadSetting, match="HTTPS_PROXY") as caught:
        proxy_for(FAR)
    assert "ter2" not in f"{caught.value!r}{caught.value.__context__!r}"


def through(monkeypatch: pytest.MonkeyPatch, proxy: str, name: str, scheme: str) -> Client:
    monkeypatch.setenv(name, proxy)
    return client("tiledesk.example", scheme=scheme, allow_http=True)


@pytest.mark.parametrize(("scheme", "name"), [("http", "HTTP_PROXY"), ("https", "ALL_PROXY")])
def test_a_proxy_that_wants_a_password_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, serve: Serving, slept: list[float], scheme: str, name: str
) -> None:
    address = serve(response(b"", status=b"407 Proxy Authentication Required"))
    with pytest.raises(errors.ProxyRefused, match=rf"^The proxy {address} \({name}\) asks") as told:
        through(monkeypatch, f"me:hunter2@{address}", name, scheme).get(PATH)
    assert "hunter2" not in str(told.value)
    assert slept == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dead_proxy_is_not_told_as_a_dead_server(
    monkeypatch: pytest.MonkeyPatch, slept: list[float], scheme: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        one = through(monkeypatch, address, f"{scheme}_proxy", scheme)
        with pytest.raises(errors.Unreachable, match=rf"^The proxy {address} \({scheme}_proxy\)"):
            one.get(PATH)


def test_a_socks_proxy_is_used_or_its_package_is_named(
    monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(errors.Unreachable, match=f"^The proxy {address}"):
            through(monkeypatch, f"socks5h://{address}", "ALL_PROXY", "https").get(PATH)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.BadSetting, match=r"pip install 'tiledesk-dlt\[socks\]'"):
        proxy_for(FAR)


def test_plain_http_goes_through_the_proxy_with_its_password(
    monkeypatch: pytest.MonkeyPatch, serve: Serving
) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(response(b"[]"))

    address = serve(answer)
    assert through(monkeypatch, f"me:x@{address}", "HTTP_PROXY", "http").get(PATH) == b"[]"
    assert asked[0].startswith(b"GET http://tiledesk.example/")
    assert b"Basic bWU6eA==" in asked[0]


# --- certificates ---------------------------------------------------------------------------------

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl makes the certificates")


def certificate(folder: Path, name: str, *options: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that signs itself, made out to `name`, and a server's context with it."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test",
         "-addext", f"subjectAltName={name}", "-keyout", key, "-out", cert, *options],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@needs_openssl
@pytest.mark.parametrize("how", ["setting", *BUNDLES])
def test_a_private_authority_can_be_configured(
    serve: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    cert, context = certificate(tmp_path, "IP:127.0.0.1")
    address = serve(response(b"[]"), context)
    settings = {"ca_bundle": str(cert)} if how == "setting" else {}
    if how == "SSL_CERT_DIR":
        subprocess.run([str(OPENSSL), "rehash", tmp_path], check=True, capture_output=True)
        cert = tmp_path
    if how != "setting":
        monkeypatch.setenv(how, str(cert))
    assert client(address, scheme="https", **settings).get(PATH) == b"[]"


@needs_openssl
@pytest.mark.parametrize(
    ("name", "is_trusted", "told"),
    [
        ("IP:127.0.0.1", False, "self.signed certificate.*ca_bundle or SSL_CERT_FILE"),
        ("DNS:other.example", True, "mismatch.*base_url to the name"),
    ],
)
def test_a_certificate_is_told_as_that_at_once(
    serve: Serving, slept: list[float], tmp_path: Path, name: str, is_trusted: bool, told: str
) -> None:
    cert, context = certificate(tmp_path, name)
    address = serve(response(b"[]"), context)
    one = client(address, scheme="https", ca_bundle=str(cert) if is_trusted else None)
    with pytest.raises(errors.CertificateRefused, match=f"certificate of {address}.*{told}"):
        one.get(PATH)
    assert slept == []


def test_a_certificate_that_has_expired_is_told() -> None:
    """openssl makes none that has expired."""
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = "certificate has expired"
    assert certificates.problem(error, "a.example") == (
        "The certificate of a.example is not accepted: certificate has expired. Renew it on the"
        " server, and check the clock of this machine."
    )


@pytest.mark.parametrize("how", ["sources.tiledesk.ca_bundle", *BUNDLES])
@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_bundle_that_cannot_be_read_names_variable_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    settings = {}
    if how in BUNDLES:
        monkeypatch.setenv(how, str(path))
    else:
        settings["ca_bundle"] = str(path)
    with pytest.raises(errors.BadSetting, match=rf"^{how}: {path}"):
        client("tiledesk.example", scheme="https", **settings)


def test_https_to_a_server_without_tls_is_told(serve: Serving, slept: list[float]) -> None:
    def plain(connection: socket.socket, _: bytes) -> None:
        connection.sendall(response(b"[]"))

    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(10)
        plain(connection, b"")
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(errors.BadSetting, match="no TLS is spoken"):
        client(f"127.0.0.1:{listener.getsockname()[1]}", scheme="https").get(PATH)
    listener.close()
