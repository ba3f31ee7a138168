"""The connection pool: connections are shared fairly and never lost."""

import asyncio

import asyncpg
import pytest

from app.database import Database, choose_server, database, is_unavailable


async def backends(db: Database) -> int:
    found: int = await db.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
    )
    return found


async def test_waiting_callers_get_connections_in_order(database_url: str) -> None:
    served: list[int] = []

    async def ask(db: Database, n: int) -> None:
        await db.fetchval("select pg_sleep(0.01)")
        served.append(n)

    async with database(database_url, 2) as db:
        await asyncio.gather(*(ask(db, n) for n in range(20)))
        assert await backends(db) == 2
    assert all(abs(n - place) <= 2 for place, n in enumerate(served))


async def test_a_cancelled_wait_does_not_lose_a_connection(database_url: str) -> None:
    async with database(database_url, 1) as db:
        async with db.acquire():
            waiting = [asyncio.create_task(db.fetchval("select 1")) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        waiting[1].cancel()  # it has been given the connection, but has not resumed yet
        assert await asyncio.wait_for(waiting[2], 5) == 1
        assert await asyncio.wait_for(db.fetchval("select 2"), 5) == 2


async def test_an_interrupted_query_leaves_a_usable_connection(database_url: str) -> None:
    async with database(database_url, 1) as db:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(db.fetchval("select pg_sleep(30)"), 0.1)
        assert await asyncio.wait_for(db.fetchval("select 1"), 5) == 1


async def test_a_terminated_connection_is_replaced(database_url: str) -> None:
    async with database(database_url, 2) as db:
        pid = await db.fetchval("select pg_backend_pid()")
        other = await asyncpg.connect(database_url)
        await other.execute("select pg_terminate_backend($1)", pid)
        await other.close()
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert await asyncio.wait_for(db.fetchval("select pg_backend_pid()"), 5) != pid


async def test_a_statement_is_retried_after_a_deadlock(database_url: str) -> None:
    patient = {"deadlock_timeout": "20s", "search_path": "live, public"}
    other = await asyncpg.connect(database_url, server_settings=patient)
    async with database(database_url, 1) as db:
        await db.execute("set deadlock_timeout = '1s'")
        async with other.transaction():
            await other.execute("lock table users in access exclusive mode")
            reading = asyncio.create_task(
                db.fetchval("select (select count(*) from tasks) + (select count(*) from users)")
            )
            await asyncio.sleep(0.3)  # it has locked one table and waits for the other
            await asyncio.wait_for(other.execute("lock table tasks in access exclusive mode"), 10)
        assert await asyncio.wait_for(reading, 10) == 0
    await other.close()


async def test_a_failed_statement_keeps_the_connection(database_url: str) -> None:
    async with database(database_url, 1) as db:
        for _ in range(3):
            with pytest.raises(asyncpg.DivisionByZeroError):
                await db.fetchval("select 1 / 0")
        assert await db.fetchval("select 1") == 1


async def test_closing_waits_for_leased_connections(database_url: str) -> None:
    async with database(database_url, 1) as db:
        async with db.acquire() as connection:
            closing = asyncio.create_task(db.close())
            await asyncio.sleep(0.05)
            assert await connection.fetchval("select 1") == 1
        await asyncio.wait_for(closing, 5)


async def test_a_database_that_is_being_closed_refuses_instead_of_waiting(database_url: str) -> None:
    async with database(database_url, 1) as db:
        await db.fetchval("select 1")
        await db.close()
        async with asyncio.timeout(5):
            with pytest.raises(asyncpg.InterfaceError):
                await db.fetchval("select 1")


async def test_connections_to_a_server_that_refuses_writes_are_replaced(database_url: str) -> None:
    """As after a fail-over, when the server that was the primary still answers."""
    other = await asyncpg.connect(database_url)
    async with database(database_url, 3) as db:
        async with db.acquire() as first, db.acquire() as second:
            old = {first.get_server_pid(), second.get_server_pid()}
        async with db.acquire() as leased:
            name = await db.fetchval("select current_database()")
            await db.execute("set session default_transaction_read_only = on")
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as refused:
                await db.execute("insert into leases (name, holder, until) values ('x', 'x', now())")
            assert is_unavailable(refused.value)
            assert leased.get_server_pid() in old
        for _ in range(3):
            async with db.acquire() as one, db.acquire() as two:
                assert not {one.get_server_pid(), two.get_server_pid()} & old
        # A server that says so is not connected to at all.
        await other.execute(f"alter database {name} set default_transaction_read_only = on")
        try:
            await db.replace_connections()
            with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as unmatched:
                await db.fetchval("select 1")
            assert is_unavailable(unmatched.value)
        finally:
            await other.execute("set default_transaction_read_only = off")
            await other.execute(f"alter database {name} reset default_transaction_read_only")
            await other.close()
        assert await db.fetchval("select 1") == 1


def test_a_url_may_choose_its_server_itself() -> None:
    assert choose_server("postgresql://a,b/polyforge") == {"target_session_attrs": "read-write"}
    assert choose_server("postgresql://a,b/polyforge?target_session_attrs=primary") == {}
