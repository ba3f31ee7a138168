"""Issues on boards."""

import asyncio
from typing import Any

import pytest

from app.core.issue_metadata import AddDependency
from app.queries import issues
from events.projections import rebuild
from tests.conftest import Client
from tests.pagure.test_boards import (
    BACKLOG,
    DONE,
    PROGRESS,
    STATUSES,
    invalid_boards,
    make_boards,
    run_before_call,
    send_json,
)
from tests.pagure.trackers import Tracker, invalid_input, refusal

NO_TICKET = refusal("ENOCODE", "No ticket found with this identifier")
NO_STATUS = refusal("ENOCODE", "No status provided or default status found")
MANDATORY = invalid_boards("The 'rank' and 'status' fields are mandatory.")
WAITS = refusal("ENOCODE", "You cannot close a ticket that has ticket depending that are still open.")


async def find_uid(who: Client, number: int = 1) -> str:
    """Find the uid of an issue in the log."""
    await who.forge.numbered()
    opened = (await who.get("/v1/events?types=issue.opened&limit=1000"))[1]["events"]
    return [str(event["data"]["uid"]) for event in opened if event["data"]["number"] == number][-1]


async def add_to_board(who: Client, board: str, **places: Any) -> tuple[int, Any]:
    """Add issues by number, as in `i1=("Backlog", 0)`."""
    body = {key[1:]: {"status": status, "rank": rank} for key, (status, rank) in places.items()}
    return await send_json(who, f"/nethack/boards/{board}/add_issue", body)


async def find_places(tracker: Tracker, number: int = 1) -> dict[str, tuple[str, int]]:
    """Return the status and rank of an issue by board."""
    found = (await tracker.view(number)).get("boards", [])
    return {each["board"]["name"]: (each["status"]["name"], each["rank"]) for each in found}


async def list_notes(tracker: Tracker, number: int = 1) -> list[str]:
    comments = (await tracker.view(number))["comments"]
    return [comment["comment"] for comment in comments if comment["notification"]]


async def test_an_issue_moved_over_a_board_is_tagged_closed_and_reopened(tracker: Tracker) -> None:
    alice = tracker.alice
    await make_boards(alice, "dev")
    await tracker.issue(tag="pet")
    assert "boards" not in await tracker.view()
    [board] = (await alice.pagure("/nethack/boards"))[1]["boards"]
    assert await add_to_board(alice, "dev", i1=("In Progress", 7)) == (200, {"board": board})
    shown = await tracker.view()
    assert shown["boards"] == [{"board": board, "status": PROGRESS, "rank": 7}]
    assert (shown["tags"], shown["status"]) == (["dev", "pet"], "Open")
    remark = shown["comments"][-1]
    assert (remark["comment"], remark["user"]["name"]) == ("Issue tagged with: dev", "alice")

    body = {await find_uid(alice): {"status": "Done", "rank": 1}}
    assert await send_json(alice, "/nethack/boards/dev/update_issue", body) == (200, {"board": board})
    shown = await tracker.view()
    assert shown["boards"] == [{"board": board, "status": DONE, "rank": 1}]
    assert (shown["status"], shown["close_status"], shown["closed_by"]["name"]) == ("Closed", "Fixed", "alice")

    assert (await add_to_board(alice, "dev", i1=("Backlog", 0)))[0] == 200
    shown = await tracker.view()
    assert shown["boards"] == [{"board": board, "status": BACKLOG, "rank": 0}]
    assert (shown["status"], shown["close_status"]) == ("Open", None)
    assert await list_notes(tracker) == [
        "Issue tagged with: dev",
        "Issue status updated to: Closed (was: Open)\nIssue close_status updated to: Fixed",
        "Issue status updated to: Open (was: Closed)",
    ]


async def test_listings_show_the_boards_without_another_statement(tracker: Tracker, statements: list[str]) -> None:
    await make_boards(tracker.alice, "dev", "ops")
    for _ in range(3):
        await tracker.issue()
    places = ["/nethack/issues?order=asc", "/user/alice/issues?order=asc&assignee=0"]
    asked: list[tuple[int, Any]] = []
    await tracker.alice.pagure(places[1])  # warms the cache of the project
    for _ in range(2):
        for place in places:
            statements.clear()
            _, found = await tracker.alice.pagure(place)
            asked.append((len(statements), found.get("issues", found.get("issues_created"))))
        await add_to_board(tracker.alice, "ops", i1=("Done", 4), i2=("Backlog", 1))
        await add_to_board(tracker.alice, "dev", i2=("Backlog", 2))
    bare, mine, placed, mine_placed = asked
    assert (placed[0], mine_placed[0]) == (bare[0], mine[0])
    assert not any("boards" in issue for issue in (*bare[1], *mine[1]))
    assert [[each["board"]["name"] for each in issue.get("boards", [])] for issue in placed[1]] == [["dev", "ops"], []]
    shown = (await tracker.view(2))["boards"]
    assert placed[1][0]["boards"] == mine_placed[1][0]["boards"] == shown


async def test_a_new_rank_changes_nothing_else(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    await tracker.issue()
    await add_to_board(tracker.alice, "dev", i1=("Done", 1))
    await tracker.alice.post("/nethack/issue/1/status", status="Open")
    before = await tracker.view()
    assert (await add_to_board(tracker.alice, "dev", i1=("Done", 2)))[0] == 200
    after = await tracker.view()
    assert (after["status"], after["comments"]) == ("Open", before["comments"])
    assert await find_places(tracker) == {"dev": ("Done", 2)}


async def test_placing_an_issue_where_it_is_records_nothing(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    await tracker.issue(tag="dev")
    await add_to_board(tracker.alice, "dev", i1=("Backlog", 1))
    assert await list_notes(tracker) == []
    events = await tracker.forge.numbered()
    boards = {"dev": {"active": True, "tag": "dev"}}
    assert (await add_to_board(tracker.alice, "dev", i1=("Backlog", 1)))[0] == 200
    assert (await send_json(tracker.alice, "/nethack/boards", boards))[0] == 200
    assert (await send_json(tracker.alice, "/nethack/boards/dev/status", STATUSES))[0] == 200
    assert await tracker.forge.numbered() == events


async def test_an_unknown_status_means_the_default_one(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    for name in ("Nowhere", "", None, "backlog", "a\nb"):
        number = await tracker.issue()
        await tracker.alice.post(f"/nethack/issue/{number}/status", status="Fixed")
        assert (await add_to_board(tracker.alice, "dev", **{f"i{number}": (name, 1)}))[0] == 200
        assert await find_places(tracker, number) == {"dev": ("Backlog", 1)}
        assert (await tracker.view(number))["status"] == "Open"


async def test_a_status_closes_issues_with_its_close_status(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    gone = {"Gone": {"rank": 1, "default": True, "close": True}, "Late": {"rank": 2, "default": 0, "close": 1}}
    gone["Late"]["close_status"] = "Overtaken"
    await send_json(tracker.alice, "/nethack/boards/dev/status", gone)
    await tracker.issue()
    for name, reason in (("Late", "Overtaken"), ("Gone", None)):
        await add_to_board(tracker.alice, "dev", i1=(name, 1))
        shown = await tracker.view()
        assert (shown["status"], shown["close_status"]) == ("Closed", reason)


async def test_invalid_places_are_refused(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    numbers = [await tracker.issue(), await tracker.issue()]
    uids = [await find_uid(tracker.alice, number) for number in numbers]
    good = {"status": "Done", "rank": 1}
    wrong_ones = [
        *((place, MANDATORY) for place in ({}, {"rank": 1}, {"status": "Done"}, [], None, "Done")),
        *(({**good, "status": each}, invalid_input(status=["Invalid input."])) for each in (1, ["Done"], "a\x00b")),
        *(
            ({**good, "rank": each}, invalid_input(rank=["Invalid input."]))
            for each in ("1", False, {}, 1.5, 2**31, 10**40)
        ),
    ]
    for place, answer in wrong_ones:
        for path, (first, second) in (("add_issue", numbers), ("update_issue", uids)):
            body = {str(first): good, str(second): place}
            assert await send_json(tracker.alice, f"/nethack/boards/dev/{path}", body) == answer, place
    assert await find_places(tracker) == {}


async def test_issues_are_added_by_their_numbers_and_moved_by_their_uids(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    await tracker.issue()
    whole = await tracker.token("alice", None)
    await whole.post("/new", name="other", description="d")
    for _ in range(2):
        await whole.post("/other/new_issue", title="t", issue_content="c")
    mine, elsewhere, good = await find_uid(tracker.alice, 1), await find_uid(whole, 2), {"status": "Done", "rank": 1}
    nobodys = ["2", "0", "-1", "x", "", "１", "9" * 30, "a\x00b", "f" * 32, "F" * 32, elsewhere]
    for path, right, wrong_key in (("add_issue", "1", mine), ("update_issue", mine, "1")):
        for key in (*nobodys, wrong_key):
            body = {right: good, key: good}
            assert await send_json(tracker.alice, f"/nethack/boards/dev/{path}", body) == NO_TICKET, key
    assert await find_places(tracker) == {}


async def test_a_board_without_statuses_takes_no_issues(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    await send_json(tracker.alice, "/nethack/boards", {"ops": {"tag": "dev"}})
    await tracker.issue()
    assert await add_to_board(tracker.alice, "ops", i1=("Done", 1)) == NO_STATUS


async def test_the_number_of_issues_placed_at_once_is_limited(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    places: dict[str, Any] = {f"i{n}": ("Done", 1) for n in range(1, 202)}
    assert await add_to_board(tracker.alice, "dev", **places) == invalid_boards(
        "Up to 200 issues can be placed at once."
    )


async def test_a_board_does_not_close_an_issue_with_open_dependencies(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    for _ in range(3):
        await tracker.issue()
    await tracker.execute(AddDependency, number=2, depends_on=1)
    assert await add_to_board(tracker.alice, "dev", i3=("Backlog", 0), i2=("Done", 1)) == WAITS
    assert (await find_places(tracker, 3), await find_places(tracker, 2)) == ({}, {})
    assert (await add_to_board(tracker.alice, "dev", i2=("Done", 1), i1=("Done", 2)))[0] == 200
    assert [(await tracker.view(number))["status"] for number in (1, 2, 3)] == ["Closed", "Closed", "Open"]
    await add_to_board(tracker.alice, "dev", i2=("Backlog", 1))
    assert await add_to_board(tracker.alice, "dev", i2=("Done", 1), i1=("Backlog", 2)) == WAITS
    assert (await tracker.view(1))["status"] == "Closed"


async def test_issues_of_a_removed_status_move_to_the_default_one(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev", "ops")
    for _ in range(2):
        await tracker.issue()
        await add_to_board(tracker.alice, "ops", i1=("Done", 5))
    await add_to_board(tracker.alice, "dev", i1=("Done", 3), i2=("In Progress", 4))
    fewer = {"Fresh": {"rank": 1, "default": True}, "In Progress": {"rank": 2, "default": False}}
    assert (await send_json(tracker.alice, "/nethack/boards/dev/status", fewer))[0] == 200
    assert await find_places(tracker, 1) == {"dev": ("Fresh", 3), "ops": ("Done", 5)}
    assert await find_places(tracker, 2) == {"dev": ("In Progress", 4)}
    assert (await tracker.view(1))["status"] == "Closed"


@pytest.mark.parametrize("how", ["delete", "replace"])
async def test_issues_of_a_deleted_board_keep_its_tag(tracker: Tracker, how: str) -> None:
    await make_boards(tracker.alice, "dev", "ops")
    await tracker.issue()
    await add_to_board(tracker.alice, "dev", i1=("Done", 1))
    await add_to_board(tracker.alice, "ops", i1=("Done", 2))
    if how == "delete":
        await tracker.alice.post("/nethack/boards/delete", name="dev")
    else:
        await send_json(tracker.alice, "/nethack/boards", {"ops": {"tag": "ops"}})
    shown = await tracker.view()
    assert await find_places(tracker) == {"ops": ("Done", 2)}
    assert (shown["tags"], shown["status"]) == (["dev", "ops"], "Closed")
    boards = {name: {"tag": name} for name in ("dev", "ops")}
    await send_json(tracker.alice, "/nethack/boards", boards)
    assert await find_places(tracker) == {"ops": ("Done", 2)}


async def test_a_private_issue_on_a_board_stays_hidden(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    await tracker.add_person("bob", "commit")
    await tracker.issue(private="1")
    bob = await tracker.token("bob", None)
    carol = await tracker.add_person("carol", "ticket")
    status, body = await add_to_board(bob, "dev", i1=("Done", 1))
    assert (status, body.keys()) == (200, {"board"})
    assert await find_places(tracker) == {"dev": ("Done", 1)}
    await tracker.forge.numbered()
    for reader in (tracker.forge.nobody, carol):
        assert (await reader.pagure("/nethack/issues?status=all"))[1]["issues"] == []
        types = [event["type"] for event in (await reader.get("/v1/events?limit=1000"))[1]["events"]]
        assert "board.statuses-set" in types
        assert "issue.updated" not in types
    [event] = (await bob.get("/v1/events?types=issue.updated"))[1]["events"]
    assert event["data"]["changed"]["boards"] == {"dev": {"status": "Done", "rank": 1}}


async def test_a_status_removed_during_a_move_leaves_nothing(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_boards(tracker.alice, "dev")
    await tracker.issue()

    async def meanwhile() -> None:
        fewer = {"Backlog": {"rank": 1, "default": True}}
        assert (await send_json(tracker.alice, "/nethack/boards/dev/status", fewer))[0] == 200

    run_before_call(monkeypatch, issues, "find_many", meanwhile)
    assert (await add_to_board(tracker.alice, "dev", i1=("Done", 1)))[0] == 200
    assert await find_places(tracker) == {"dev": ("Backlog", 1)}
    assert (await tracker.view())["status"] == "Open"


async def test_concurrent_moves_are_all_applied(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev", "ops", "web")
    await tracker.issue()
    done = await asyncio.gather(
        *(add_to_board(tracker.alice, board, i1=("Done", 1)) for board in ("dev", "ops", "web"))
    )
    assert [status for status, _ in done] == [200] * 3
    assert await find_places(tracker) == {board: ("Done", 1) for board in ("dev", "ops", "web")}
    assert (await tracker.view())["tags"] == ["dev", "ops", "web"]


async def test_a_rebuild_restores_everything_about_boards(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev", "ops", "web", "old")
    for _ in range(3):
        await tracker.issue()
    for board in ("dev", "ops", "web", "old"):
        await add_to_board(tracker.alice, board, i1=("Done", 1), i2=("In Progress", 2))
    await send_json(tracker.alice, "/nethack/boards/ops/status", {"Last": {"rank": 1, "default": True, "close": True}})
    await tracker.alice.post("/nethack/boards/delete", name="old")
    await tracker.alice.request("DELETE", "/api/0/nethack/tag/old")
    await send_json(
        tracker.alice, "/nethack/boards", {"dev": {"tag": "ops"}, "ops": {"tag": "ops"}, "more": {"tag": "web"}}
    )
    whole = await tracker.token("alice", None)
    await whole.post("/new", name="other", description="d")
    await whole.post("/other/tags/new", tag="dev", tag_color="red")
    await send_json(whole, "/other/boards", {"dev": {"tag": "dev"}})
    bound = await tracker.token("alice", "other")
    assert (await bound.post("/other/delete"))[0] == 200
    await tracker.forge.numbered()
    async with asyncio.timeout(10):
        while await tracker.forge.db.fetchval("select count(*) from work where done_at is null"):
            await asyncio.sleep(0.02)
    await tracker.forge.numbered()
    rows, shown = await tracker.forge.rows(), [await tracker.view(number) for number in (1, 2, 3)]
    assert await find_places(tracker, 2) == {"dev": ("In Progress", 2), "ops": ("Last", 2)}
    assert len(rows["boards"]) == 3
    await rebuild.rebuild(tracker.forge.db)
    assert await tracker.forge.rows() == rows
    assert [await tracker.view(number) for number in (1, 2, 3)] == shown
