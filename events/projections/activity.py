"""What people did in public, event by event, as the pages of users tell it.

Private projects and private issues leave no trace here. Nothing that is public becomes private later; an event that
makes it so would have to take its rows away.
"""

from events.event import Event
from events.issues import IssueCommented, IssueOpened, IssueUpdated
from events.projections import projection
from events.projects import ProjectCreated, ProjectDeleted, ProjectDiscarded
from events.pull_requests import PullRequestCommented, PullRequestMerged, PullRequestOpened, PullRequestUpdated
from events.repositories import CommitsLanded

# Ids follow the log, with room for what one event tells of several people.
ID = "event.position << 16"
COLUMNS = "project_id, activity_id, username, type, subject, number, commit, at"
PUBLIC = "from event join projects on projects.project_id = event.project_id and not projects.private"
OPEN_ISSUE = f"""{PUBLIC}
    join   issues on issues.project_id = event.project_id and issues.number = (event.data ->> 'number')::int
                     and not issues.private"""
AUTHOR = "event.data ->> 'author'"
# Only what people say: a comment that the forge writes for them is the change of which it tells.
STATUS = "case event.data #>> '{changed,status}' when 'Closed' then 'closed' else 'reopened' end"
CHANGES_STATUS = "where event.data -> 'changed' ? 'status'"


def activity_sql(event: type[Event], subject: str, type: str, username: str, source: str) -> None:
    """Of such an event, who did what (an SQL expression each) to which issue or pull request."""
    projection(event)(f"""
        insert into activity ({COLUMNS})
        select event.project_id, {ID}, {username}, {type}, '{subject}', (event.data ->> 'number')::int, null, event.at
        {source}
    """)


projection(ProjectCreated)(f"""
    insert into activity ({COLUMNS})
    select event.project_id, {ID}, event.data ->> 'owner', 'created', 'project', null, null, event.at
    from   event
    where  not (event.data ->> 'private')::boolean
""")

activity_sql(IssueOpened, "issue", "'created'", AUTHOR, f"{PUBLIC} where not (event.data ->> 'private')::boolean")
activity_sql(IssueCommented, "issue", "'commented'", AUTHOR, OPEN_ISSUE)
activity_sql(IssueUpdated, "issue", STATUS, "event.actor", f"{OPEN_ISSUE} {CHANGES_STATUS}")
activity_sql(PullRequestOpened, "pull request", "'created'", AUTHOR, PUBLIC)
activity_sql(PullRequestCommented, "pull request", "'commented'", AUTHOR, PUBLIC)
activity_sql(PullRequestUpdated, "pull request", STATUS, "event.actor", f"{PUBLIC} {CHANGES_STATUS}")
activity_sql(PullRequestMerged, "pull request", "'merged'", "event.actor", PUBLIC)

# The newest is told first, and comes last.
projection(CommitsLanded)(f"""
    insert into activity ({COLUMNS})
    select event.project_id, ({ID}) + jsonb_array_length(event.data -> 'commits') - landed.n,
           landed.it ->> 1, 'committed', 'commit', null, landed.it ->> 0, event.at
    {PUBLIC}, jsonb_array_elements(event.data -> 'commits') with ordinality as landed (it, n)
    where  landed.it ->> 1 is not null
""")

projection(ProjectDeleted, ProjectDiscarded)("""
    delete from activity
    using  event
    where  activity.project_id = event.project_id
""")
