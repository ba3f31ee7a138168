"""Projections of a tracker's boards. An issue's row holds its status and rank on each board."""

from events.boards import BoardDefined, BoardDeleted, BoardStatusesSet
from events.projections import projection

projection(BoardDefined)("""
    insert into boards (project_id, board, active, tag)
    select it.project_id, it.board, it.active, it.tag
    from   event, jsonb_populate_record(null::boards, event.data) as it
    on conflict (project_id, board) do update set active = excluded.active, tag = excluded.tag
""")

projection(BoardStatusesSet)("""
    update boards
    set    statuses = event.data -> 'statuses'
    from   event
    where  boards.project_id = event.project_id and boards.board = event.data ->> 'board'
""")

projection(BoardStatusesSet)("""
    update issues
    set    boards = jsonb_set(issues.boards, array[event.data ->> 'board', 'status'],
                              jsonb_path_query_first(event.data, '$.statuses[*] ? (@.default == true).name'))
    from   event
    where  issues.project_id = event.project_id
    and    issues.boards <> '{}' and issues.boards ? (event.data ->> 'board')
    and    not exists (select 1
                       from   jsonb_array_elements(event.data -> 'statuses') as kept
                       where  kept ->> 'name' = issues.boards #>> array[event.data ->> 'board', 'status'])
""")

projection(BoardDeleted)("""
    delete from boards
    using  event
    where  boards.project_id = event.project_id and boards.board = event.data ->> 'board'
""")

projection(BoardDeleted)("""
    update issues
    set    boards = issues.boards - (event.data ->> 'board')
    from   event
    where  issues.project_id = event.project_id
    and    issues.boards <> '{}' and issues.boards ? (event.data ->> 'board')
""")

projection(BoardDefined, BoardStatusesSet, BoardDeleted)("""
    update projects
    set    revision = event.position
    from   event
    where  projects.project_id = event.project_id
""")
