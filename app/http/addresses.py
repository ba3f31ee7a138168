"""Where a request comes from."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from app.http.keys import SETTINGS

Networks = Sequence[IPv4Network | IPv6Network]
CLIENT_PREFIX = 64  # bits of an IPv6 address that one client usually has to itself

# Headers that proxies add. A request with one of them does not come from the peer itself.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


def parse_address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Parse an address; IPv4 in IPv6 is IPv4. None if it is not an address."""
    try:
        address = ip_address((text or "").strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_in(address: IPv4Address | IPv6Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def is_forwarded(request: web.BaseRequest) -> bool:
    return any(name in request.headers for name in FORWARDED)


def client_address(request: web.Request) -> str:
    """Return the address of the client, as limits count it: the first one, from the right, that is no trusted proxy."""
    trusted = request.config_dict[SETTINGS].trusted_proxies
    address = parse_address(request.remote)
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    while is_in(address, trusted) and forwarded and (before := parse_address(forwarded.pop())) is not None:
        address = before
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, CLIENT_PREFIX), strict=False))
    return str(address)
