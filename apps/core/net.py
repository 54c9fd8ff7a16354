"""Outbound HTTP to addresses that users name: the guard against reaching what is ours.

The name is resolved once, every answer is checked, and the connection goes to the checked address
with the name in Host and SNI: a second lookup, which could answer differently, never happens. Only
http and https; no proxy from the environment; no redirect unless asked for, each hop checked anew.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from django.conf import settings

from apps.core.errors import DomainError, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_REDIRECTS = 3
MAX_URL = 4096
MAX_HOST = 253
LOWEST_FREE_PORT = 1024
LOW_PORTS = frozenset({80, 443})
AGENT = "polymux"
# Credentials stay with the origin they were meant for.
PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

# Global on paper, and still nobody's business (reliability.md row 36).
_DENIED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "64:ff9b:1::/48",
        "100::/64",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SIIT = ipaddress.ip_network("::ffff:0:0:0/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


class OutboundRefused(DomainError):
    """The address, port or scheme is not for outbound requests."""

    kind = Kind.FORBIDDEN
    code = "outbound_refused"
    message = "This address may not be reached from here."


class OutboundFailed(DomainError):
    """The other side did not answer, or not in a form we take."""

    kind = Kind.UPSTREAM
    code = "outbound_failed"
    message = "The address did not answer."


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. `body` is decompressed; `headers` are lower-case; `url` is where it came from."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Target:
    """A checked place to connect to: the URL with its host, and the address behind it."""

    url: httpx.URL
    address: Address


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request as the caller asked for it."""

    method: str
    headers: dict[str, str]
    content: bytes | None


def check_address(text: str | Address) -> Address:
    """The address, if it is public in every disguise it can wear; `OutboundRefused`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise OutboundRefused from None
    for shape in (address, *_disguises(address)):
        if not _is_public(shape):
            raise OutboundRefused
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None or address in _COMPATIBLE or address in _SIIT:
            return int(address) > 1  # judged by the address inside; `::` and `::1` are not
        if address in _NAT64:
            return True
    if any(address.version == net.version and address in net for net in _DENIED):
        return False
    hidden = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not hidden


def _disguises(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address carries."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    number, found = int(address), []
    low = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address.ipv4_mapped is not None or any(
        address in net for net in (_NAT64, _SIIT, _COMPATIBLE)
    ):
        found.append(low)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(low)
    return list(found)


async def check_url(url: str, *, allow: Sequence[str] | None = None) -> Target:
    """Where `url` leads, every answer of the resolver checked; `OutboundRefused`, `OutboundFailed`."""
    parsed = _parsed(url)
    host, port = parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80)
    allowed = [*settings.OUTBOUND_ALLOW, *(allow or ())]
    by_name = _is_allowed_name(host, allowed)
    answers = [ipaddress.ip_address(text) for text in await resolve(host, port)]
    free = by_name or all(_is_allowed_network(answer, allowed) for answer in answers)
    if not free:
        if port < LOWEST_FREE_PORT and port not in LOW_PORTS:
            raise OutboundRefused("This port may not be reached from here.")
        for answer in answers:
            if not _is_allowed_network(answer, allowed):
                check_address(answer)
    return Target(parsed, answers[0])


def _parsed(url: str) -> httpx.URL:
    odd = any(ord(char) < 33 or (ord(char) > 126 and char.isnumeric()) for char in url)
    if odd or len(url) > MAX_URL or "\\" in url:
        raise OutboundRefused("This is not a URL we request.")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise OutboundRefused("This is not a URL we request.") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise OutboundRefused("Only plain http and https URLs are requested.")
    if len(parsed.host) > MAX_HOST or not 0 < (parsed.port or 80) < 65_536 or parsed.port == 0:
        raise OutboundRefused("This is not a URL we request.")
    return parsed


async def resolve(host: str, port: int) -> list[str]:
    """The addresses behind a name, in the resolver's order; `OutboundFailed` for none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OutboundFailed("The host name does not resolve.") from None
    answers = list(dict.fromkeys(str(row[4][0]) for row in found))
    if not answers:
        raise OutboundFailed("The host name does not resolve.")
    return answers


def _is_allowed_name(host: str, allowed: Sequence[str]) -> bool:
    folded = host.lower().rstrip(".")
    return any(
        folded == entry.lower() or (entry.startswith(".") and folded.endswith(entry.lower()))
        for entry in allowed
    )


def _is_allowed_network(address: Address, allowed: Sequence[str]) -> bool:
    return any(
        net.version == address.version and address in net
        for net in (_network(entry) for entry in allowed)
        if net is not None
    )


@lru_cache(maxsize=256)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


async def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    timeout: float = 20,  # noqa: ASYNC109  (one deadline over all hops is the point)
    max_bytes: int = 2_000_000,
    allow: Sequence[str] | None = None,
    redirects: int = 0,
) -> Fetched:
    """One request to a place a user named, within `timeout` seconds over all.

    `allow` adds hosts and networks to `OUTBOUND_ALLOW`. `redirects`: how many to follow, at most 3.
    Raises `OutboundRefused` (where it leads) and `OutboundFailed` (what came of it); neither repeats
    what the other side said.
    """
    wanted = Wanted(method.upper(), dict(headers or {}), content)
    try:
        async with asyncio.timeout(timeout):
            return await _followed(wanted, url, max_bytes, allow, min(redirects, MAX_REDIRECTS))
    except TimeoutError:
        raise OutboundFailed("The address did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        log.info("outbound request failed: %s", type(error).__name__)
        raise OutboundFailed from None


async def _followed(
    wanted: Wanted, url: str, max_bytes: int, allow: Sequence[str] | None, redirects: int
) -> Fetched:
    for hop in range(redirects + 1):
        target = await check_url(url, allow=allow)
        answer = await _sent(wanted, target, max_bytes)
        place = answer.headers.get("location")
        if answer.status not in _REDIRECTS or not place or not redirects:
            return answer
        if hop == redirects:
            raise OutboundFailed("The address redirects too often.")
        following = target.url.join(place)
        wanted = _redirected(wanted, answer.status, target.url, following)
        url = str(following)
    raise OutboundFailed  # unreachable: the last hop returns or raises


def _redirected(wanted: Wanted, status: int, here: httpx.URL, there: httpx.URL) -> Wanted:
    if here.scheme == "https" and there.scheme != "https":
        raise OutboundRefused("The address redirects to an unencrypted one.")
    same = (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port)
    kept = {
        name: value
        for name, value in wanted.headers.items()
        if name.lower() != "host" and (same or name.lower() not in PRIVATE_HEADERS)
    }
    if status in {307, 308} or wanted.method in {"GET", "HEAD"}:
        if wanted.content and not same:
            raise OutboundRefused("The address passes the request on to another host.")
        return Wanted(wanted.method, kept, wanted.content)
    bodiless = {
        name: value for name, value in kept.items() if not name.lower().startswith("content-")
    }
    return Wanted("GET", bodiless, None)


async def _sent(wanted: Wanted, target: Target, max_bytes: int) -> Fetched:
    place = target.url.copy_with(host=str(target.address))
    headers = {"User-Agent": AGENT, **wanted.headers, "Accept-Encoding": "gzip"}
    headers["Host"] = target.url.netloc.decode("ascii")
    transport = httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False, retries=0)
    async with httpx.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=False, timeout=httpx.Timeout(None)
    ) as client:
        request = client.build_request(
            wanted.method,
            place,
            headers=headers,
            content=wanted.content,
            extensions={"sni_hostname": target.url.host},
        )
        answer = await client.send(request, stream=True)
        try:
            _check_peer(answer, target.address)
            body = await _read(answer, max_bytes)
        finally:
            await answer.aclose()
    return Fetched(answer.status_code, dict(answer.headers), body, str(target.url))


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _check_peer(answer: httpx.Response, wanted: Address) -> None:
    stream = answer.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if not peer or ipaddress.ip_address(str(peer[0]).split("%")[0]) != wanted:
        raise OutboundRefused


async def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    """The body, decompressed as it comes and never further than `max_bytes`."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
        raise OutboundFailed("The answer is compressed in a way we do not read.")
    opened = None if encoding in {"identity", ""} else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body = bytearray()
    try:
        async for chunk in answer.aiter_raw():
            room = max_bytes + 1 - len(body)
            body += opened.decompress(chunk, room) if opened else chunk[:room]
            if len(body) > max_bytes:
                raise OutboundFailed("The answer is too long.")
    except zlib.error:
        raise OutboundFailed("The answer cannot be decompressed.") from None
    return bytes(body)
