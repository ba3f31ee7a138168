"""What may be asked about pull requests and about the flags of commits."""

from app.database import Database, Row
from app.errors import NotFound

THREAD = """
    case when pull_requests.comments > 0 then
        (select jsonb_agg(to_jsonb(said) order by said.comment_id)
         from   pull_request_comments as said
         where  said.project_id = pull_requests.project_id and said.number = pull_requests.number)
    end as thread
"""


async def find(db: Database, project_id: int, number: int, *, thread: bool = True) -> Row:
    """A pull request of the project, with its comments."""
    comments = THREAD if thread else "null as thread"
    found = await db.fetchrow(
        f"select pull_requests.*, {comments} from pull_requests where project_id = $1 and number = $2",
        project_id,
        number,
    )
    if found is None:
        raise NotFound("pull request")
    return found


async def next_comment_id(db: Database) -> int:
    fresh: int = await db.fetchval("select nextval('comment_ids')")
    return fresh


async def subscribed(db: Database, project_id: int, number: int, username: str) -> bool | None:
    """What somebody has said of it; None when nothing."""
    choice: bool | None = await db.fetchval(
        "select subscribed from pull_request_subscriptions where project_id = $1 and number = $2 and username = $3",
        project_id,
        number,
        username,
    )
    return choice


async def flag(db: Database, project_id: int, commit: str, uid: str) -> Row | None:
    return await db.fetchrow(
        "select * from commit_flags where project_id = $1 and commit = $2 and uid = $3", project_id, commit, uid
    )


async def opened_from(db: Database, project_id: int, branch: str) -> list[Row]:
    """The open pull requests that bring what is on this branch of this project."""
    return await db.fetch(
        "select * from pull_requests where repo_from = $1 and branch_from = $2 and status = 'Open' order by created_at",
        project_id,
        branch,
    )
