"""Projections of public activity, as users' profile pages show it.

Private projects and private issues are left out. Nothing public becomes private later; an event type that made it so
would have to delete its rows here.
"""

from events.event import Event
from events.issues import IssueCommented, IssueOpened, IssueUpdated
from events.projections import projection
from events.projects import ProjectCreated, ProjectDeleted, ProjectDiscarded
from events.pull_requests import PullRequestCommented, PullRequestMerged, PullRequestOpened, PullRequestUpdated
from events.repositories import CommitsLanded

# Ids follow the order of the log; the shift leaves room for several entries per event.
ID = "event.position << 16"
COLUMNS = "project_id, activity_id, username, type, subject, number, commit, at"
PUBLIC = "from event join projects on projects.project_id = event.project_id and not projects.private"
PUBLIC_ISSUE = f"""{PUBLIC}
    join   issues on issues.project_id = event.project_id and issues.number = (event.data ->> 'number')::int
                     and not issues.private"""
AUTHOR = "event.data ->> 'author'"
STATUS = "case event.data #>> '{changed,status}' when 'Closed' then 'closed' else 'reopened' end"
CHANGES_STATUS = "where event.data -> 'changed' ? 'status'"


def register_activity(event: type[Event], subject: str, activity_type: str, username: str, source: str) -> None:
    """Project this event into activity of an issue or a pull request.

    `activity_type` and `username` are SQL expressions, `source` is the rest of the query from its `from` on.
    """
    projection(event)(f"""
        insert into activity ({COLUMNS})
        select event.project_id, {ID}, {username}, {activity_type}, '{subject}', (event.data ->> 'number')::int, null,
               event.at
        {source}
    """)


projection(ProjectCreated)(f"""
    insert into activity ({COLUMNS})
    select event.project_id, {ID}, event.data ->> 'owner', 'created', 'project', null, null, event.at
    from   event
    where  not (event.data ->> 'private')::boolean
""")

# Comments that the forge writes in a user's name are no activity of their own: the change that they describe is.
register_activity(IssueOpened, "issue", "'created'", AUTHOR, f"{PUBLIC} where not (event.data ->> 'private')::boolean")
register_activity(IssueCommented, "issue", "'commented'", AUTHOR, PUBLIC_ISSUE)
register_activity(IssueUpdated, "issue", STATUS, "event.actor", f"{PUBLIC_ISSUE} {CHANGES_STATUS}")
register_activity(PullRequestOpened, "pull request", "'created'", AUTHOR, PUBLIC)
register_activity(PullRequestCommented, "pull request", "'commented'", AUTHOR, PUBLIC)
register_activity(PullRequestUpdated, "pull request", STATUS, "event.actor", f"{PUBLIC} {CHANGES_STATUS}")
register_activity(PullRequestMerged, "pull request", "'merged'", "event.actor", PUBLIC)

# The event lists the newest commit first; ids rise with time, so the newest gets the highest one.
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
