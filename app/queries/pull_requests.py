"""Queries of pull requests, their comments and the flags of commits."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, func, select, text

from app.database import Database, Row
from app.errors import NotFound, Subject
from app.queries import refs
from app.queries.filters import ItemFilter, build_conditions, select_stored_count
from app.queries.paging import Listing, Page, paginate_numbered
from app.queries.projects import WHOLE_AS_JSON
from events.tables import pull_request_counts, pull_requests

THREAD = """
    case when pull_requests.comments > 0 then
        (select jsonb_agg(to_jsonb(each) order by each.comment_id)
         from   pull_request_comments as each
         where  each.project_id = pull_requests.project_id and each.number = pull_requests.number)
    end as thread
"""


# Unfinished work of some kinds on a pull request.
OPEN_WORK = """
    select 1
    from   work join events using (position)
    where  work.done_at is null and work.reaction = any ($3)
    and    events.project_id = $1 and (events.data ->> 'number')::int = $2
"""
MOVES = ["merge-pull-request", "rebase-pull-request"]

# The source project.
SOURCE = f"(select {WHOLE_AS_JSON} from projects where projects.project_id = pull_requests.repo_from) as source"


async def find(db: Database, project_id: int, number: int, *, thread: bool = True) -> Row:
    """Find a pull request by number, with its source and, if asked for, its comments. Raises NotFound."""
    comments = THREAD if thread else "null as thread"
    found = await db.fetchrow(
        f"select pull_requests.*, {SOURCE}, {comments} from pull_requests where project_id = $1 and number = $2",
        project_id,
        number,
    )
    if found is None:
        raise NotFound(Subject.PULL_REQUEST)
    return found


async def is_subscribed(db: Database, project_id: int, number: int, username: str) -> bool | None:
    """A user's choice to be notified about the pull request; None if they made none."""
    choice: bool | None = await db.fetchval(
        "select subscribed from pull_request_subscriptions where project_id = $1 and number = $2 and username = $3",
        project_id,
        number,
        username,
    )
    return choice


async def find_flag(db: Database, project_id: int, commit: str, uid: str) -> Row | None:
    return await db.fetchrow(
        "select * from commit_flags where project_id = $1 and commit = $2 and uid = $3", project_id, commit, uid
    )


async def list_heads(db: Database, project_id: int) -> dict[str, str]:
    """List the branches of a project with their heads."""
    return await refs.list_branches(db, project_id)


async def may_have_moved(db: Database, project_id: int, number: int) -> bool:
    """Whether an unfinished merge or rebase of the pull request passed its point of no return, so that an earlier
    attempt may have moved the branch.
    """
    begun: bool = await db.fetchval(f"select exists ({OPEN_WORK} and work.irrevocable)", project_id, number, MOVES)
    return begun


async def find_merge_start(db: Database, project_id: int, number: int, ref: str) -> str | None:
    """Find where a ref pointed before the pull request was merged into it; None if that is not recorded."""
    old: str | None = await db.fetchval(
        """
        select   data ->> 'old'
        from     events
        where    stream = $1 and type = 'ref.updated' and (data ->> 'pull_request')::int = $2
        order by version desc
        limit    1
        """,
        f"ref-{project_id}/{ref}",
        number,
    )
    return old


async def list_unknown(db: Database, project_id: int, branch: str, *, below: int | None, limit: int) -> list[Row]:
    """List open pull requests for a branch whose merge status is unknown, the highest numbers first.

    `below` leaves out this number and higher ones.
    """
    return await db.fetch(
        """
        select   number, commit_stop
        from     pull_requests
        where    project_id = $1 and branch = $2 and status = 'Open' and merge_status = 'unknown'
        and      ($3::int is null or number < $3)
        order by number desc
        limit    $4
        """,
        project_id,
        branch,
        below,
        limit,
    )


async def list_unmerged_from(db: Database, project_id: int) -> list[Row]:
    """List the pull requests from this project to others that were not merged."""
    return await db.fetch(
        """
        select   project_id, number, branch_from
        from     pull_requests
        where    repo_from = $1 and project_id <> $1 and status <> 'Merged'
        order by project_id, number
        """,
        project_id,
    )


async def list_opened_from(db: Database, project_id: int, branch: str) -> list[Row]:
    """List the open pull requests whose source is this branch of this project."""
    return await db.fetch(
        "select * from pull_requests where repo_from = $1 and branch_from = $2 and status = 'Open' order by created_at",
        project_id,
        branch,
    )


async def find_by_uid(db: Database, uid: str) -> Row:
    found = await db.fetchrow(
        f"select pull_requests.*, {SOURCE}, {THREAD} from pull_requests where uid = $1",
        uid,
    )
    if found is None:
        raise NotFound(Subject.PULL_REQUEST)
    return found


async def find_comment(db: Database, project_id: int, number: int, comment_id: int) -> Row:
    found = await db.fetchrow(
        "select * from pull_request_comments where comment_id = $3 and project_id = $1 and number = $2",
        project_id,
        number,
        comment_id,
    )
    if found is None:
        raise NotFound(Subject.COMMENT)
    return found


async def find_with_flags(db: Database, project_id: int, number: int) -> list[Row]:
    """List the flags of the newest commit of a pull request, each with the uid of the pull request.

    Without flags there is one row, which has no author. Raises NotFound.
    """
    rows = await db.fetch(
        """
        select   pull_requests.uid as pull_request_uid, commit_flags.*
        from     pull_requests
        left join commit_flags on commit_flags.project_id = pull_requests.project_id
                              and commit_flags.commit = pull_requests.commit_stop
        where    pull_requests.project_id = $1 and pull_requests.number = $2
        order by commit_flags.updated_at, commit_flags.uid
        """,
        project_id,
        number,
    )
    if not rows:
        raise NotFound(Subject.PULL_REQUEST)
    return rows


async def list_flags(db: Database, project_id: int, commit: str) -> list[Row]:
    """List the flags of a commit, the latest change last."""
    return await db.fetch(
        "select * from commit_flags where project_id = $1 and commit = $2 order by updated_at, uid", project_id, commit
    )


def apply_filter(query: Select[Any], project_id: int, wanted: ItemFilter) -> Select[Any]:
    return query.where(pull_requests.c.project_id == project_id, *build_conditions(pull_requests, wanted))


async def search(db: Database, project_id: int, wanted: ItemFilter, page: Page) -> Listing:
    """Find a page of a project's pull requests, newest first, each with its source and its comments."""
    columns: list[Any] = [text("pull_requests.*"), text(SOURCE), text(THREAD)]
    keys = apply_filter(select(pull_requests.c.project_id, pull_requests.c.number), project_id, wanted)
    return await paginate_numbered(db, pull_requests, columns, keys, _count(project_id, wanted), page)


def _count(project_id: int, wanted: ItemFilter) -> Select[Any]:
    """Build the query that counts matching pull requests. A filter on the status alone uses the stored counts."""
    if replace(wanted, status=None, not_status=None) == ItemFilter(status=None):
        return select_stored_count(pull_request_counts, project_id, wanted)
    return apply_filter(select(func.count()).select_from(pull_requests), project_id, wanted)


async def is_being_merged(db: Database, project_id: int, number: int) -> bool:
    """Whether a merge of the pull request is due or running."""
    merging: bool = await db.fetchval(f"select exists ({OPEN_WORK})", project_id, number, MOVES[:1])
    return merging
