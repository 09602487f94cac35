"""HTTP clients for servers on this machine."""

from __future__ import annotations

import ssl

import httpx

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody, and has read no file of certificates: reading one takes longer than most tests."""


def local_client(timeout: float = 5.0) -> httpx.AsyncClient:
    """A client that reaches plain HTTP on this machine, whatever proxies the environment names."""
    return httpx.AsyncClient(timeout=timeout, verify=NO_TLS, trust_env=False)
