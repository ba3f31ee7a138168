"""Where a user may aim this machine. Decided when the connection is made, on the address it is made to."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from app.outgoing.failures import Failure, OutgoingError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
ResolvedAddress = tuple[int, int, int, str, SocketAddress]  # as getaddrinfo gives it

PORTS = frozenset({80, 443})
CONNECT_TIMEOUT = 5.0  # seconds until there is a connection, looking up the name included
MAX_ADDRESSES = 8  # addresses of one name that are tried
# A slow name server, which a user may have chosen, keeps its thread beyond any deadline: so these are not the threads
# that git works in, and enough for everybody else.
MAX_LOOKUPS = ThreadPoolExecutor(256, thread_name_prefix="lookup")

# All of IPv6's global unicast. Outside lie the forms that only wrap an IPv4 address: ::/96, ::ffff:0:0/96,
# ::ffff:0:0:0/96, 64:ff9b::/96 and 64:ff9b:1::/48, of which Python takes some for global.
UNICAST = IPv6Network("2000::/3")
# What Python, in one version or another, takes for global although it is none or wraps another address.
BLOCKED_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments: gateways and their like
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # where Azure's machines find their host
        "2001::/23",  # protocol assignments, Teredo's 2001::/32 among them
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
ISATAP = 0x00005EFE  # before the IPv4 address in the lower half, but for two bits
UNSPECIFIED: dict[int, Address] = {4: IPv4Address("240.0.0.1"), 6: IPv6Address("100::1")}


class AddressRefused(OSError):
    """The guard lets nothing go there. An OSError, so that whoever connects tries the name's next address."""


def is_public(address: Address) -> bool:
    """Whether this is a global unicast address that means itself, and not another one inside of it."""
    if isinstance(address, IPv6Address) and (address not in UNICAST or address.scope_id or _isatap(address)):
        return False
    return (
        address.is_global and not address.is_multicast and not any(address in network for network in BLOCKED_NETWORKS)
    )


def _isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFCFFFFFF == ISATAP


def is_own_address(address: Address) -> bool:
    """Whether it is this machine's own. Nothing is sent to find out."""
    if not _can_bind(address):
        return False
    # With net.ipv4.ip_nonlocal_bind a machine binds everybody's addresses; then it is asked what it would send from.
    return not _can_bind(UNSPECIFIED[address.version]) or _source(address) == address


def _can_bind(address: Address) -> bool:
    with _datagrams(address) as probe, suppress(OSError):
        probe.bind((str(address), 0))
        return True
    return False


def _source(address: Address) -> Address | None:
    with _datagrams(address) as probe, suppress(OSError):
        probe.connect((str(address), 9))
        return ip_address(probe.getsockname()[0])
    return None


def _datagrams(address: Address) -> socket.socket:
    return socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)


@dataclass(frozen=True)
class Guard:
    """The rule: public addresses at the usual ports, and besides whatever lies in `networks`.

    A network allows the addresses it holds as they are written, at any port: 10.0.0.0/8 does not allow
    ::ffff:10.0.0.1, which ::ffff:10.0.0.0/104 does.
    """

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = PORTS

    def allows(self, address: Address, port: int) -> bool:
        if any(address in network for network in self.networks):
            return True
        return port in self.ports and is_public(address) and not is_own_address(address)

    def socket(self, answer: ResolvedAddress) -> socket.socket:
        """A socket for what may be connected to; nothing has been sent yet. Raises Refusal."""
        family, kind, protocol, _, (host, port, *_) = answer
        try:
            address = ip_address(str(host))
        except ValueError:
            raise AddressRefused from None
        if not isinstance(port, int) or not self.allows(address, port):
            raise AddressRefused
        return socket.socket(family, kind, protocol)


async def resolve(host: str, port: int) -> list[ResolvedAddress]:
    """The addresses of a name or literal, at least one. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    try:
        answers = await asyncio.get_running_loop().run_in_executor(MAX_LOOKUPS, ask)
    except ValueError:  # what cannot be a name at all
        answers = []
    if not answers:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return list(answers[:MAX_ADDRESSES])


async def connect(guard: Guard, host: str, port: int, deadline: float = CONNECT_TIMEOUT) -> socket.socket:
    """A socket connected to one of the addresses that the guard allows, tried in turn. Raises Failed."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    try:
        async with asyncio.timeout_at(end):
            answers = await resolve(host, port)
    except TimeoutError:
        raise OutgoingError(Failure.TIMEOUT) from None
    except OSError:
        raise OutgoingError(Failure.UNRESOLVED) from None
    failure = Failure.REFUSED
    for nth, answer in enumerate(answers):
        share = (end - loop.time()) / (len(answers) - nth)
        tried = await _try(guard, answer, share)
        if isinstance(tried, socket.socket):
            return tried
        failure = tried or failure
    raise OutgoingError(failure)


async def _try(guard: Guard, answer: ResolvedAddress, deadline: float) -> socket.socket | Failure | None:
    """A connected socket, or why there is none; None if the guard refused."""
    try:
        with ExitStack() as opened:
            sock = opened.enter_context(guard.socket(answer))
            sock.setblocking(False)
            async with asyncio.timeout(deadline):
                await asyncio.get_running_loop().sock_connect(sock, answer[4])
            opened.pop_all()
            return sock
    except AddressRefused:
        return None
    except TimeoutError:
        return Failure.TIMEOUT
    except OSError:
        return Failure.UNREACHABLE
