"""HTTP clients for servers on this machine, and a server that never comes to its end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody, and has read no file of certificates: reading one takes longer than most tests."""


def local_client(timeout: float = 5.0) -> httpx.AsyncClient:
    """A client that reaches plain HTTP on this machine, whatever proxies the environment names."""
    return httpx.AsyncClient(timeout=timeout, verify=NO_TLS, trust_env=False)


@asynccontextmanager
async def dripping(pause: float = 0.01) -> AsyncIterator[str]:
    """A server's URL: it answers at once with status 200 and then, for as long as anybody listens, with a space after every pause."""

    answering: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*answering)
