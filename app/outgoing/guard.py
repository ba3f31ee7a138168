"""The guard: decides whether the forge may connect to an address, at the moment when it connects."""

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
ResolvedAddress = tuple[int, int, int, str, SocketAddress]  # as returned by getaddrinfo

PORTS = frozenset({80, 443})
CONNECT_TIMEOUT = 5.0  # seconds to resolve the name and to connect
MAX_ADDRESSES = 8  # addresses of one name that are tried
# A slow name server, which a user may have chosen, occupies a thread beyond any deadline. So lookups have threads of
# their own, enough of them that slow ones do not delay the others.
LOOKUP_EXECUTOR = ThreadPoolExecutor(256, thread_name_prefix="lookup")

# All global unicast addresses of IPv6. The forms that only wrap an IPv4 address are outside: ::/96, ::ffff:0:0/96,
# ::ffff:0:0:0/96, 64:ff9b::/96 and 64:ff9b:1::/48, some of which Python considers global.
UNICAST = IPv6Network("2000::/3")
# Networks that some version of Python considers global although they are not, or wrap another address.
BLOCKED_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments, gateways among them
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # the host of virtual machines on Azure
        "2001::/23",  # protocol assignments, 2001::/32 of Teredo among them
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
ISATAP = 0x00005EFE  # precedes the IPv4 address in the lower half; two of its bits may vary
UNASSIGNED: dict[int, Address] = {4: IPv4Address("240.0.0.1"), 6: IPv6Address("100::1")}  # of no machine


class AddressRefused(OSError):
    """The guard does not allow the address. An OSError, so that callers try the next address of the name."""


def is_public(address: Address) -> bool:
    """Return whether this is a global unicast address that does not wrap another address."""
    if isinstance(address, IPv6Address) and (address not in UNICAST or address.scope_id or _is_isatap(address)):
        return False
    return (
        address.is_global and not address.is_multicast and not any(address in network for network in BLOCKED_NETWORKS)
    )


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFCFFFFFF == ISATAP


def is_own_address(address: Address) -> bool:
    """Return whether the address belongs to this machine. Sends nothing."""
    if not _can_bind(address):
        return False
    # With net.ipv4.ip_nonlocal_bind any address can be bound; then the source address of the route decides.
    return not _can_bind(UNASSIGNED[address.version]) or _find_source(address) == address


def _can_bind(address: Address) -> bool:
    with _open_udp_socket(address) as probe, suppress(OSError):
        probe.bind((str(address), 0))
        return True
    return False


def _find_source(address: Address) -> Address | None:
    with _open_udp_socket(address) as probe, suppress(OSError):
        probe.connect((str(address), 9))
        return ip_address(probe.getsockname()[0])
    return None


def _open_udp_socket(address: Address) -> socket.socket:
    return socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)


@dataclass(frozen=True)
class Guard:
    """Allows public addresses at `ports`, and addresses in `networks` at any port.

    Wrapped addresses are not unwrapped: 10.0.0.0/8 does not allow ::ffff:10.0.0.1, ::ffff:10.0.0.0/104 does.
    """

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = PORTS

    def allows(self, address: Address, port: int) -> bool:
        if any(address in network for network in self.networks):
            return True
        return port in self.ports and is_public(address) and not is_own_address(address)

    def socket(self, answer: ResolvedAddress) -> socket.socket:
        """Create a socket to connect to an allowed address; nothing is sent. Raises AddressRefused."""
        family, kind, protocol, _, (host, port, *_) = answer
        try:
            address = ip_address(str(host))
        except ValueError:
            raise AddressRefused from None
        if not isinstance(port, int) or not self.allows(address, port):
            raise AddressRefused
        return socket.socket(family, kind, protocol)


async def resolve(host: str, port: int) -> list[ResolvedAddress]:
    """Resolve a name or literal to at least one address. Raises OSError."""
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    try:
        answers = await asyncio.get_running_loop().run_in_executor(LOOKUP_EXECUTOR, lookup)
    except ValueError:  # not a valid name
        answers = []
    if not answers:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return list(answers[:MAX_ADDRESSES])


async def connect(guard: Guard, host: str, port: int, deadline: float = CONNECT_TIMEOUT) -> socket.socket:
    """Connect to the first allowed address that accepts the connection. Raises OutgoingError."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    try:
        async with asyncio.timeout_at(ends_at):
            answers = await resolve(host, port)
    except TimeoutError:
        raise OutgoingError(Failure.TIMEOUT) from None
    except OSError:
        raise OutgoingError(Failure.UNRESOLVED) from None
    failure = Failure.REFUSED
    for index, answer in enumerate(answers):
        share = (ends_at - loop.time()) / (len(answers) - index)  # leaves time for the remaining addresses
        result = await _try_address(guard, answer, share)
        if isinstance(result, socket.socket):
            return result
        failure = result or failure
    raise OutgoingError(failure)


async def _try_address(guard: Guard, answer: ResolvedAddress, deadline: float) -> socket.socket | Failure | None:
    """Return a connected socket or the failure; None if the guard refused the address."""
    try:
        with ExitStack() as stack:
            sock = stack.enter_context(guard.socket(answer))
            sock.setblocking(False)
            async with asyncio.timeout(deadline):
                await asyncio.get_running_loop().sock_connect(sock, answer[4])
            stack.pop_all()
            return sock
    except AddressRefused:
        return None
    except TimeoutError:
        return Failure.TIMEOUT
    except OSError:
        return Failure.UNREACHABLE
