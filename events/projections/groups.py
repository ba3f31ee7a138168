"""Groups and their members."""

from events.groups import GroupCreated, MemberAdded, MemberRemoved
from events.projections import on

on(GroupCreated)("""
    insert into groups (group_name, display_name, description, group_type, creator, created_at)
    select it.group_name, it.display_name, it.description, it.group_type, it.creator, event.at
    from   event, jsonb_populate_record(null::groups, event.data) as it
    returning *
""")

on(GroupCreated)("""
    insert into group_members (group_name, username)
    select event.data ->> 'group_name', event.data ->> 'creator'
    from   event
""")

on(MemberAdded)("""
    insert into group_members (group_name, username)
    select event.data ->> 'group_name', event.data ->> 'username'
    from   event
    returning *
""")

on(MemberRemoved)("""
    delete from group_members
    using  event
    where  group_members.group_name = event.data ->> 'group_name'
    and    group_members.username = event.data ->> 'username'
    returning group_members.*
""")
