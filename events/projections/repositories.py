"""Projections of refs, so that listing branches and tags touches no disk."""

from events.projections import projection
from events.repositories import HeadMoved, MirrorChanged, RefUpdated, RepositoryCreated

projection(RepositoryCreated)("""
    update projects
    set    head = event.data ->> 'head'
    from   event
    where  projects.project_id = event.project_id
    returning projects.*
""")

projection(HeadMoved)("""
    update projects
    set    head = event.data ->> 'new', head_version = event.version
    from   event
    where  projects.project_id = event.project_id
    returning projects.*
""")

projection(MirrorChanged)("""
    update projects
    set    mirror_failure = event.data ->> 'failure'
    from   event
    where  projects.project_id = event.project_id
    returning projects.*
""")

projection(RepositoryCreated)("""
    insert into refs (project_id, ref, object, commit, version)
    select event.project_id, it ->> 0, it ->> 1, it ->> 2, 0
    from   event, jsonb_array_elements(event.data -> 'refs') as it
""")

projection(RefUpdated)("""
    insert into refs (project_id, ref, object, commit, version)
    select event.project_id, event.data ->> 'ref', event.data ->> 'new', event.data ->> 'commit', event.version
    from   event
    on conflict (project_id, ref) do update
    set    object = excluded.object, commit = excluded.commit, version = excluded.version
    returning *
""")
