"""The HTTP client below the providers: framing, and what it refuses."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from apps.engine.providers.wire import Chunked, Transport


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 40))
def test_a_chunked_body_is_the_same_however_it_is_cut(parts, size):
    raw = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    raw += b"0\r\nTrailer: x\r\n\r\n"
    chunked = Chunked()
    body = b"".join(chunked.feed(raw[i : i + size]) for i in range(0, len(raw), size))
    assert body == b"".join(parts)
    assert chunked.done


@pytest.mark.parametrize("raw", [b"-5\r\n", b"0x1\r\n", b"\r\n", b"2\r\nabc\r\n", b"fffffffff\r\n"])
def test_a_malformed_chunk_is_refused(raw):
    with pytest.raises(httpx.RemoteProtocolError):
        Chunked().feed(raw)


async def _get(answer: bytes, *, close: bool = True) -> httpx.Response:
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not close:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(transport=Transport(), timeout=0.5) as http:
        try:
            return await http.get(f"http://127.0.0.1:{port}/")
        finally:
            await asyncio.sleep(0.02)  # for the server to see us go


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_a_reply_is_read(answer, body):
    response = await _get(answer)
    assert response.content == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
    ],
)
async def test_an_odd_reply_is_refused(answer):
    with pytest.raises(httpx.RemoteProtocolError):
        await _get(answer)


async def test_a_silent_server_times_out():
    with pytest.raises(httpx.ReadTimeout):
        await _get(b"HTTP/1.1 200 OK\r\n", close=False)


def _self_signed(pem):
    """Write a key and a certificate for localhost that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


async def test_a_self_signed_certificate_is_refused(tmp_path):
    pem = tmp_path / "both.pem"
    _self_signed(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    class Serve(asyncio.Protocol):
        def connection_made(self, transport):
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            transport.close()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trusting = Transport()
    trusting.tls = ssl.create_default_context(cafile=str(pem))
    async with server:
        async with httpx.AsyncClient(transport=trusting) as http:
            assert (await http.get(f"https://localhost:{port}/")).content == b"hi"
        async with httpx.AsyncClient(transport=Transport()) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"https://localhost:{port}/")
        await asyncio.sleep(0.1)
