"""Projections of projects, their access, settings, plugins and watches."""

from events.issues import IssueOpened
from events.projections import projection
from events.projections.issues import fullname_sql
from events.projects import (
    AccessGranted,
    AccessRevoked,
    PluginInstalled,
    PluginRemoved,
    ProjectConfigured,
    ProjectCreated,
    ProjectDeleted,
    ProjectDiscarded,
    ProjectForked,
    ProjectTransferred,
    TrackerConfigured,
    UsersBlocked,
    WatchChanged,
)

OWNER_FULLNAME = f"coalesce({fullname_sql('it.owner')}, it.owner)"

projection(ProjectCreated, ProjectForked)(f"""
    insert into projects (project_id, address, path, owner, owner_fullname, name, namespace, forker, parent_id,
                          ancestors, description, url, avatar_email, private, settings, default_branch,
                          mirrored_from, revision, created_at, modified_at)
    select it.project_id, it.address, it.path, it.owner, {OWNER_FULLNAME}, it.name, it.namespace, it.forker,
           it.parent_id, coalesce(it.ancestors, '{{}}'), it.description, it.url, it.avatar_email, it.private,
           coalesce(it.settings, '{{}}'), it.default_branch, it.mirrored_from, event.position, event.at, event.at
    from   event, jsonb_populate_record(null::projects, event.data) as it
    returning *
""")

projection(ProjectDiscarded, ProjectDeleted)("""
    delete from projects
    using  event
    where  projects.project_id = event.project_id
    returning projects.*
""")

# One count per visibility.
projection(ProjectCreated, ProjectForked)("""
    insert into project_counts as counts (visibility, total)
    select case when (event.data ->> 'private')::boolean then 'private' else 'public' end, 1
    from   event
    on conflict (visibility) do update set total = counts.total + 1
""")

projection(ProjectDiscarded, ProjectDeleted)("""
    update project_counts
    set    total = total - 1
    from   event join projects on projects.project_id = event.project_id
    where  project_counts.visibility = case when projects.private then 'private' else 'public' end
""")

projection(IssueOpened)("""
    update projects
    set    last_number = (event.data ->> 'number')::int
    from   event
    where  projects.project_id = event.project_id
""")


def update_project(assignments: str) -> str:
    """The SQL for an update of the project's row. The new revision makes commands that were decided on the old row
    conflict.
    """
    return f"""
        update projects
        set    {assignments}, revision = event.position, modified_at = event.at
        from   event
        where  projects.project_id = event.project_id
        returning projects.*
    """


projection(ProjectConfigured)(update_project("settings = projects.settings || (event.data -> 'settings')"))
projection(UsersBlocked)(update_project("blocked = array(select jsonb_array_elements_text(event.data -> 'usernames'))"))
projection(AccessGranted)(
    update_project("""access = jsonb_set(projects.access, array[event.data ->> 'party', event.data ->> 'name'],
               jsonb_build_object('level', event.data -> 'level', 'branches', event.data -> 'branches'))""")
)
projection(AccessRevoked)(
    update_project("access = projects.access #- array[event.data ->> 'party', event.data ->> 'name']")
)
projection(ProjectTransferred)(
    update_project(f"""owner = event.data ->> 'owner',
           owner_fullname = coalesce({fullname_sql("event.data ->> 'owner'")}, event.data ->> 'owner'),
           access = (projects.access #- array['user', event.data ->> 'owner']) || case
               when (event.data ->> 'retained')::boolean then jsonb_build_object('user',
                   (projects.access -> 'user') - (event.data ->> 'owner') || jsonb_build_object(
                       event.data ->> 'previous', jsonb_build_object('level', 'admin', 'branches', null)))
               else '{{}}'
           end""")
)
projection(PluginInstalled)(
    update_project("""plugins = projects.plugins || jsonb_build_object(event.data ->> 'plugin', jsonb_build_object(
               'fields', event.data -> 'fields', 'secrets', event.data -> 'secrets'))""")
)
projection(PluginRemoved)(update_project("plugins = projects.plugins - (event.data ->> 'plugin')"))
projection(TrackerConfigured)(
    update_project("""milestones = coalesce(event.data #> '{changed,milestones}', projects.milestones),
           priorities = coalesce(event.data #> '{changed,priorities}', projects.priorities),
           custom_keys = coalesce(event.data #> '{changed,custom_keys}', projects.custom_keys),
           default_priority = case when event.data -> 'changed' ? 'default_priority'
               then event.data #>> '{changed,default_priority}' else projects.default_priority end,
           milestones_keys = case when event.data -> 'changed' ? 'milestones_keys'
               then array(select jsonb_array_elements_text(event.data #> '{changed,milestones_keys}'))
               else projects.milestones_keys end,
           close_status = case when event.data -> 'changed' ? 'close_status'
               then array(select jsonb_array_elements_text(event.data #> '{changed,close_status}'))
               else projects.close_status end""")
)

projection(AccessGranted)("""
    insert into access (project_id, party, name, level, branches)
    select it.project_id, it.party, it.name, it.level, it.branches
    from   event, jsonb_populate_record(null::access, event.data) as it
    on conflict (project_id, party, name) do update set level = excluded.level, branches = excluded.branches
""")

projection(AccessRevoked)("""
    delete from access
    using  event
    where  access.project_id = event.project_id
    and    access.party = event.data ->> 'party' and access.name = event.data ->> 'name'
""")

projection(ProjectTransferred)("""
    delete from access
    using  event
    where  access.project_id = event.project_id
    and    access.party = 'user' and access.name = event.data ->> 'owner'
""")

projection(ProjectTransferred)("""
    insert into access (project_id, party, name, level)
    select event.project_id, 'user', event.data ->> 'previous', 'admin'
    from   event
    where  (event.data ->> 'retained')::boolean
""")

projection(WatchChanged)("""
    insert into watches (project_id, username, issues, commits)
    select it.project_id, it.username, it.issues, it.commits
    from   event, jsonb_populate_record(null::watches, event.data) as it
    where  it.issues is not null
    on conflict (project_id, username) do update set issues = excluded.issues, commits = excluded.commits
""")

projection(WatchChanged)("""
    delete from watches
    using  event
    where  watches.project_id = event.project_id and watches.username = event.data ->> 'username'
    and    event.data ->> 'issues' is null
""")

for table in (
    "access", "watches", "refs", "issues", "issue_counts", "issue_comments", "issue_files", "issue_tags",
    "issue_subscriptions", "boards",
):  # fmt: skip
    projection(ProjectDeleted)(f"""
        delete from {table}
        using  event
        where  {table}.project_id = event.project_id
    """)
