"""Projects, as addresses find them and listings show them."""

from events.issues import IssueOpened
from events.projections import on
from events.projects import ProjectCreated, ProjectDiscarded, ProjectForked

FORGE = "coalesce((select fullname from users where username = it.owner), it.owner)"

on(ProjectCreated, ProjectForked)(f"""
    insert into projects (project_id, address, path, owner, owner_fullname, name, namespace, forker, parent_id,
                          ancestors, description, url, avatar_email, private, settings, default_branch,
                          revision, created_at, modified_at)
    select it.project_id, it.address, it.path, it.owner, {FORGE}, it.name, it.namespace, it.forker, it.parent_id,
           coalesce(it.ancestors, '{{}}'), it.description, it.url, it.avatar_email, it.private,
           coalesce(it.settings, '{{}}'), it.default_branch, event.position, event.at, event.at
    from   event, jsonb_populate_record(null::projects, event.data) as it
    returning *
""")

on(ProjectDiscarded)("""
    delete from projects
    using  event
    where  projects.project_id = event.project_id
    returning projects.*
""")

# Kept apart for the two visibilities. Created and forked count up, discarded counts down.
on(ProjectCreated, ProjectForked)("""
    insert into project_counts as counts (visibility, total)
    select case when (event.data ->> 'private')::boolean then 'private' else 'public' end, 1
    from   event
    on conflict (visibility) do update set total = counts.total + 1
""")

on(ProjectDiscarded)("""
    update project_counts
    set    total = total - 1
    from   event join projects on projects.project_id = event.project_id
    where  project_counts.visibility = case when projects.private then 'private' else 'public' end
""")

on(IssueOpened)("""
    update projects
    set    last_number = (event.data ->> 'number')::int
    from   event
    where  projects.project_id = event.project_id
""")
