"""Projections of groups and their members."""

from events.groups import GroupCreated, MemberAdded, MemberRemoved
from events.projections import projection

projection(GroupCreated)("""
    insert into groups (group_name, group_id, display_name, description, group_type, creator, created_at)
    select it.group_name, event.position, it.display_name, it.description, it.group_type, it.creator, event.at
    from   event, jsonb_populate_record(null::groups, event.data) as it
    returning *
""")

projection(GroupCreated)("""
    insert into group_members (group_name, username)
    select event.data ->> 'group_name', event.data ->> 'creator'
    from   event
""")

projection(MemberAdded)("""
    insert into group_members (group_name, username)
    select event.data ->> 'group_name', event.data ->> 'username'
    from   event
    returning *
""")

projection(MemberRemoved)("""
    delete from group_members
    using  event
    where  group_members.group_name = event.data ->> 'group_name'
    and    group_members.username = event.data ->> 'username'
    returning group_members.*
""")
