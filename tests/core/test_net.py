"""Outbound requests reach public places only, whatever the address wears and whoever redirects."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import ipaddress
import ssl
import time
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.core import net
from apps.core.clock import now
from apps.core.net import OutboundFailed, OutboundRefused, check_address, check_url, fetch

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_our_own_is_refused(address):
    with pytest.raises(OutboundRefused):
        check_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_taken(address):
    assert check_address(address) == ipaddress.ip_address(address)


@pytest.mark.parametrize("address", PRIVATE[:-2])
def test_a_name_that_leads_to_our_own_is_refused(address, monkeypatch):
    names(monkeypatch, {"harmless.example": ["1.1.1.1", address.split("%")[0]]})
    with pytest.raises(OutboundRefused):
        asyncio.run(check_url("https://harmless.example/"))


def names(monkeypatch, book, seen=None):
    async def resolve(host, port):
        if seen is not None:
            seen.append(host)
        if host not in book:
            raise OutboundFailed
        return book[host]

    monkeypatch.setattr(net, "resolve", resolve)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
        "http://①②⑦.⓪.⓪.①/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://user:pass@1.1.1.1/",
        "http://1.1.1.1@127.0.0.1/",
        "http://1.1.1.1:22/",
        "http://1.1.1.1:0/",
        "http://1.1.1.1:99999/",
        "ftp://1.1.1.1/",
        "file:///etc/passwd",
        "gopher://1.1.1.1/",
        "unix:///var/run/docker.sock",
        "//1.1.1.1/",
        "http:///x",
        "http://1.1.1.1/\x00",
        "http://1.1.1.1/\r\nX: y",
        "http://1.1.1.1\\@127.0.0.1/",
        "http://" + "a" * 5000,
        "",
    ],
)
def test_a_url_that_leads_home_is_refused(url):
    with pytest.raises((OutboundRefused, OutboundFailed)):
        asyncio.run(check_url(url))


# --- Against a real socket ------------------------------------------------------------------------


@dataclass
class Place:
    """A server on loopback: it answers what it was given and remembers what it was sent."""

    answers: list[bytes]
    port: int = 0
    requests: list[str] = field(default_factory=list)

    async def answer(self, reader, writer):
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.decode("latin-1"))
        writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
        await writer.drain()
        if b"slow" in head:
            await asyncio.sleep(5)


def reply(body=b"hello", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def visit(*answers, url="http://127.0.0.1:{port}/a?b=1", method="GET", tls=None, **wanted):
    """(what fetch said, the place) for one `fetch` of a place that gives `answers`."""
    place = Place(list(answers))
    wanted.setdefault("allow", ["127.0.0.1"])

    async def run():
        server = await asyncio.start_server(place.answer, "127.0.0.1", 0, ssl=tls)
        place.port = server.sockets[0].getsockname()[1]
        place.answers = [one.replace(b"{port}", str(place.port).encode()) for one in place.answers]
        try:
            return await fetch(method, url.format(port=place.port), **wanted)
        except (OutboundFailed, OutboundRefused) as error:
            return error
        finally:
            server.close()
            await asyncio.sleep(0.01)  # both ends see that it is over

    return asyncio.run(run()), place


def test_an_allowed_place_is_read():
    found, place = visit(reply(X_Mark="1"))
    assert (found.status, found.body, found.headers["x-mark"]) == (200, b"hello", "1")
    assert place.requests[0].startswith("GET /a?b=1 HTTP/1.1")


def test_nothing_is_sent_to_a_refused_place():
    refused, place = visit(reply(), allow=[])
    assert isinstance(refused, OutboundRefused)
    assert place.requests == []


def test_a_name_is_resolved_once_and_kept_in_host(monkeypatch):
    seen = []
    names(monkeypatch, {"inside.example": ["127.0.0.1"]}, seen)
    found, place = visit(reply(), url="http://inside.example:{port}/", allow=["inside.example"])
    assert found.status == 200
    assert seen == ["inside.example"]
    assert f"Host: inside.example:{place.port}" in place.requests[0]


def test_operators_may_allow_hosts_and_networks(settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8"]
    assert visit(reply(), allow=None)[0].status == 200
    settings.OUTBOUND_ALLOW = ["10.0.0.0/8"]
    assert isinstance(visit(reply(), allow=None)[0], OutboundRefused)


def test_a_proxy_in_the_environment_is_ignored(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert visit(reply())[0].status == 200


def moved(to, status="302 Found"):
    return reply(b"", status, Location=to)


def test_redirects_are_not_followed_unless_asked():
    found, place = visit(moved("http://127.0.0.1:{port}/b"), reply())
    assert found.status == 302
    assert len(place.requests) == 1


def test_a_redirect_is_followed_when_asked():
    found, place = visit(moved("/b"), reply(), redirects=1)
    assert (found.status, len(place.requests)) == (200, 2)
    assert found.url.endswith("/b")


def test_each_hop_is_checked_anew():
    for to in ("http://169.254.169.254/latest", "http://[::1]/", "file:///etc/passwd"):
        refused, place = visit(moved(to), reply(), redirects=3)
        assert isinstance(refused, OutboundRefused), to
        assert len(place.requests) == 1


def test_redirects_end():
    failed, place = visit(moved("/again"), redirects=99)
    assert isinstance(failed, OutboundFailed)
    assert len(place.requests) == net.MAX_REDIRECTS + 1


def test_credentials_stay_with_their_origin(monkeypatch):
    names(monkeypatch, {"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"]})
    secrets = {"Authorization": "Bearer s", "Cookie": "c=1", "X-API-Key": "k", "X-Other": "stays"}
    found, place = visit(
        moved("http://b.example:{port}/"),
        reply(),
        url="http://a.example:{port}/",
        allow=["a.example", "b.example"],
        headers=secrets,
        redirects=1,
    )
    assert found.status == 200
    first, second = (request.lower() for request in place.requests)
    for name in ("authorization:", "cookie:", "x-api-key:"):
        assert name in first
        assert name not in second
    assert "x-other: stays" in second


def test_a_post_becomes_a_get_and_is_not_passed_on(monkeypatch):
    _, place = visit(
        moved("/b", "303 See Other"), reply(), method="POST", content=b"x", redirects=1
    )
    assert [request.split()[0] for request in place.requests] == ["POST", "GET"]
    names(monkeypatch, {"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"]})
    refused, place = visit(
        moved("http://b.example:{port}/", "307 Temporary Redirect"),
        url="http://a.example:{port}/",
        allow=["a.example", "b.example"],
        method="POST",
        content=b"x",
        redirects=1,
    )
    assert isinstance(refused, OutboundRefused)


def test_a_long_answer_is_cut_off():
    failed, _ = visit(reply(b"x" * 5000), max_bytes=4999)
    assert isinstance(failed, OutboundFailed)
    assert visit(reply(b"x" * 5000), max_bytes=5000)[0].status == 200


def test_a_bomb_is_counted_as_it_opens():
    bomb = gzip.compress(b"\x00" * 50_000_000)
    failed, _ = visit(reply(bomb, Content_Encoding="gzip"), max_bytes=100_000)
    assert isinstance(failed, OutboundFailed)
    found, _ = visit(reply(gzip.compress(b"small"), Content_Encoding="gzip"))
    assert found.body == b"small"


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_a_body_we_cannot_read_fails(encoding):
    failed, _ = visit(reply(b"not compressed", Content_Encoding=encoding))
    assert isinstance(failed, OutboundFailed)


def test_a_slow_drip_ends_at_the_deadline():
    begun = time.monotonic()
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"
    failed, _ = visit(slow, url="http://127.0.0.1:{port}/slow", timeout=0.3)
    assert isinstance(failed, OutboundFailed)
    assert time.monotonic() - begun < 3


def test_an_error_repeats_nothing_of_the_answer():
    failed, _ = visit(b"HTTP/1.1 secret words\r\n\r\n")
    assert isinstance(failed, OutboundFailed)
    assert "secret" not in str(failed)


@pytest.fixture
def own_certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody but its owner has signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - timedelta(1)).not_valid_after(today + timedelta(1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(here, critical=False).sign(key, hashes.SHA256())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    told = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path / "own.pem"
    path.write_bytes(told + signed.public_bytes(encoding))
    return path


# anyio leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_server_that_proves_nothing_is_refused(own_certificate, monkeypatch):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own_certificate)
    failed, place = visit(reply(), url="https://127.0.0.1:{port}/", tls=tls)
    assert isinstance(failed, OutboundFailed)
    assert place.requests == []
    del failed  # its traceback holds the socket
    gc.collect()
    # Control: who trusts that certificate is answered.
    trusting = ssl.create_default_context(cafile=own_certificate)
    monkeypatch.setattr(net, "_tls", lambda: trusting)
    answer, _ = visit(reply(), url="https://127.0.0.1:{port}/", tls=tls)
    assert answer.body == b"hello"
