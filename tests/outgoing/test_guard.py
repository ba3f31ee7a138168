"""Addresses that the guard allows and refuses."""

import asyncio
import json
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.config import Settings
from app.outgoing import guard as guards
from app.outgoing.failures import Failure, OutgoingError
from app.outgoing.guard import MAX_ADDRESSES, Address, Guard, connect, is_own_address, is_public, resolve
from tests.outgoing.conftest import ALLOWED_HOST, BLOCKED_HOST, Listener, Names, run_server

# The special-purpose address registries, multicast and reserved addresses, and the host of virtual machines on Azure.
SPECIAL_V4 = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
168.63.129.16/32
"""
SPECIAL_V6 = """
::1 :: ::ffff:8.8.8.8 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ff0e::1 100::1 5f00::1 4000::1 64:ff9b::808:808
64:ff9b:1::1 2001::1 2001:2::1 2001:4:112::1 2001:20::1 2001:db8::1 2002:808:808::1 3fff::1 2606:4700::1111%eth0
"""
SPECIAL = [ip_network(network) for network in SPECIAL_V4.split()]
ANY_V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IN_SPECIAL = st.sampled_from(SPECIAL).flatmap(
    lambda network: st.integers(int(network[0]), int(network[-1])).map(IPv4Address)
)
ANY_V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
GLOBAL_V6 = st.integers(0x2 << 124, (0x4 << 124) - 1)
# Ways to embed an IPv4 address in an IPv6 address; `noise` fills the remaining bits.
EMBEDDINGS: dict[str, Callable[[int, int], int]] = {
    "mapped": lambda v4, noise: 0xFFFF << 32 | v4,
    "compatible": lambda v4, noise: v4,
    "translated": lambda v4, noise: 0xFFFF << 48 | v4,
    "NAT64": lambda v4, noise: 0x64FF9B << 96 | v4,
    "NAT64 of a run_site, whole": lambda v4, noise: 0x64FF9B0001 << 80 | noise % 2**48 << 32 | v4,
    "NAT64 of a run_site, cut": lambda v4, noise: (
        0x64FF9B0001 << 80 | v4 >> 16 << 64 | (v4 & 0xFFFF) << 40 | noise % 2**40
    ),
    "6to4": lambda v4, noise: 0x2002 << 112 | v4 << 80 | noise % 2**80,
    "Teredo, server": lambda v4, noise: 0x2001 << 112 | v4 << 64 | noise % 2**64,
    "Teredo, client": lambda v4, noise: 0x2001 << 112 | noise % 2**64 << 32 | v4 ^ 0xFFFFFFFF,
    "ISATAP": lambda v4, noise: noise >> 64 << 64 | 0x5EFE << 32 | v4,
    "ISATAP, universal": lambda v4, noise: noise >> 64 << 64 | 0x02005EFE << 32 | v4,
}


def allows(address: str, *networks: str, port: int = 443) -> bool:
    return Guard(tuple(map(ip_network, networks))).allows(ip_address(address), port)


@given(st.one_of(ANY_V4, IN_SPECIAL))
def test_all_of_ipv4_but_special_purpose_networks_is_public(address: IPv4Address) -> None:
    assert is_public(address) == (not any(address in network for network in SPECIAL))


@given(st.sampled_from(list(EMBEDDINGS)), st.one_of(IN_SPECIAL, ANY_V4), GLOBAL_V6)
@example("mapped", IPv4Address("10.0.0.1"), 0)
@example("NAT64", IPv4Address("127.0.0.1"), 0)
def test_no_ipv4_address_gets_through_inside_of_an_ipv6_address(form: str, v4: IPv4Address, noise: int) -> None:
    assert not is_public(IPv6Address(EMBEDDINGS[form](int(v4), noise)))


@given(st.one_of(ANY_V4, IN_SPECIAL, ANY_V6))
@example(IPv4Address("127.0.0.1"))
def test_by_default_only_public_addresses_are_allowed(address: Address) -> None:
    assert Guard().allows(address, 443) <= is_public(address)


@given(ANY_V6.filter(lambda address: address not in ip_network("2000::/3")))
def test_only_global_unicast_of_ipv6_is_public(address: IPv6Address) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "192.31.196.1", "2606:4700::1111", "2a00:1450::5efe", "2400::1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert allows(address)


@pytest.mark.parametrize(
    "address", [*SPECIAL_V6.split(), *(str(end) for network in SPECIAL for end in (network[0], network[-1]))]
)
def test_special_addresses_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not allows(address)


@pytest.mark.parametrize(("port", "allowed"), [(80, True), (443, True), (22, False), (25, False), (8080, False)])
def test_public_addresses_are_allowed_at_ports_80_and_443(port: int, allowed: bool) -> None:
    assert allows("8.8.8.8", port=port) is allowed


def test_a_configured_network_is_allowed_at_any_port_and_nothing_else_is() -> None:
    assert allows("10.1.0.1", "10.1.0.0/16", port=8080)
    assert not allows("8.8.8.8", "10.1.0.0/16", port=8080)
    assert not allows("10.2.0.1", "10.1.0.0/16")
    assert not allows("::ffff:10.1.0.1", "10.1.0.0/16")
    assert allows("::ffff:10.1.0.1", "::ffff:10.1.0.0/112")
    assert not allows("10.1.0.1", "::ffff:10.1.0.0/112")
    assert not allows("::1", "0.0.0.0/0")
    assert allows("fe80::1%eth0", "fe80::/10")


def test_the_setting_accepts_valid_networks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYFORGE_WEBHOOK_ALLOW", raising=False)
    assert Settings().webhook_allow == []
    monkeypatch.setenv("POLYFORGE_WEBHOOK_ALLOW", json.dumps(["10.1.0.0/16", "fd00::/8"]))
    assert Settings().webhook_allow == [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    for typo in ("10.1.0.1/16", "intranet.example", ""):
        monkeypatch.setenv("POLYFORGE_WEBHOOK_ALLOW", json.dumps([typo]))
        with pytest.raises(ValidationError):
            Settings()


def test_a_machine_knows_its_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_own_address(ip_address(BLOCKED_HOST))
    assert not is_own_address(ip_address("8.8.8.8"))
    # As if it were set up to bind any address.
    monkeypatch.setattr(guards, "_can_bind", lambda address: True)
    assert is_own_address(ip_address(BLOCKED_HOST))
    assert not is_own_address(ip_address("8.8.8.8"))


async def test_a_machines_own_addresses_are_refused_even_if_public(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    monkeypatch.setattr(guards, "is_public", lambda address: True)
    with pytest.raises(OutgoingError, match=r"^refused$"):
        await connect(Guard(ports=frozenset({listener.port})), BLOCKED_HOST, listener.port)
    assert await listener.is_untouched()


@pytest.mark.parametrize(
    "host", ["", "a" * 300, "a..example", "\0", "nowhere.example", "\ud800.example", "empty.example"]
)
async def test_a_host_without_an_address_cannot_be_connected_to(guard: Guard, names: Names, host: str) -> None:
    names["empty.example"] = [[]]
    with pytest.raises(OutgoingError, match=r"^unresolved$") as caught:
        await connect(guard, host, 443)
    assert caught.value.failure is Failure.UNRESOLVED


def test_no_socket_is_created_for_anything_but_an_address() -> None:
    everything: Any = Guard((ip_network("0.0.0.0/0"), ip_network("::/0")))
    for host in ("localhost", "", 127, b"127.0.0.1"):
        with pytest.raises(guards.AddressRefused):
            everything.socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, 80)))


async def test_only_a_few_addresses_of_a_name_are_tried(names: Names) -> None:
    names["many.example"] = [[f"127.0.1.{n}" for n in range(1, 200)]]
    assert len(await resolve("many.example", 80)) == MAX_ADDRESSES


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, guard: Guard, names: Names
) -> None:
    # The first of the two addresses never answers.
    loop = asyncio.get_running_loop()
    real = loop.sock_connect

    async def silent(sock: socket.socket, address: Any) -> None:
        await (asyncio.Event().wait() if address[0] == "127.0.0.3" else real(sock, address))

    monkeypatch.setattr(loop, "sock_connect", silent)
    names["two.example"] = [["127.0.0.3", ALLOWED_HOST]]
    both = Guard((ip_network(ALLOWED_HOST), ip_network("127.0.0.3")))

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async with run_server(nothing) as port:
        (await connect(both, "two.example", port, 1.0)).close()
        with pytest.raises(OutgoingError, match=r"^timeout$"):
            await connect(both, "127.0.0.3", port, 0.1)
