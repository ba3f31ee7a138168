"""Projections of webhook subscriptions. The relay reads them when it numbers an event, to create its deliveries."""

from events.groups import MemberRemoved
from events.projections import projection
from events.projects import (
    AccessRevoked,
    ProjectConfigured,
    ProjectDeleted,
    ProjectDiscarded,
    ProjectTransferred,
)
from events.subscriptions import SubscriptionChanged, SubscriptionCreated, SubscriptionDeleted
from events.users import TokenRevoked

THIS = "subscriptions.subscription_id = (event.data ->> 'subscription_id')::uuid"
# A project's setting `web_hooks`: ids and hosts, in the order of the setting.
HOOKS = """
    select (item ->> 'id')::uuid as id, item ->> 'host' as host, place
    from   jsonb_array_elements(case when jsonb_typeof(event.data #> '{settings,web_hooks}') = 'array'
                                     then event.data #> '{settings,web_hooks}' else '[]' end)
           with ordinality as listed (item, place)
"""

projection(SubscriptionCreated)("""
    insert into subscriptions (subscription_id, owner, token_id, project_id, types, format, ordered, host, status,
                               created_at, changed_at)
    select it.subscription_id, event.data ->> 'username', it.token_id, it.project_id, it.types, it.format, it.ordered,
           it.host, it.status, event.at, event.at
    from   event, jsonb_populate_record(null::subscriptions, event.data) as it
    returning *
""")

projection(SubscriptionChanged)(f"""
    update subscriptions
    set    types = case when event.data -> 'changed' ? 'types' then it.types else subscriptions.types end,
           format = coalesce(it.format, subscriptions.format),
           ordered = coalesce(it.ordered, subscriptions.ordered),
           host = coalesce(it.host, subscriptions.host),
           status = coalesce(it.status, subscriptions.status),
           reason = case when it.status is null then subscriptions.reason else it.reason end,
           changed_at = event.at
    from   event, jsonb_populate_record(null::subscriptions, event.data -> 'changed') as it
    where  {THIS}
    returning subscriptions.*
""")

projection(SubscriptionDeleted)(f"""
    delete from subscriptions
    using  event
    where  {THIS}
    returning subscriptions.*
""")

projection(TokenRevoked)("""
    update subscriptions
    set    status = 'ended', reason = 'Its token was revoked.', changed_at = event.at
    from   event
    where  subscriptions.token_id = (event.data ->> 'token_id')::uuid
""")

# Private projects have no web hooks. A URL that is entered again has the same id, so it revives its earlier
# subscription.
projection(ProjectConfigured)(f"""
    insert into subscriptions (subscription_id, project_id, format, ordered, host, hook, status, created_at, changed_at)
    select hook.id, event.project_id, 'pagure', true, hook.host, hook.place, 'active', event.at, event.at
    from   event join projects using (project_id) cross join lateral ({HOOKS}) as hook
    where  not projects.private
    order by hook.id
    on conflict (subscription_id) do update
    set    hook = excluded.hook,
           status = case when subscriptions.status = 'ended' then 'active' else subscriptions.status end,
           reason = case when subscriptions.status = 'ended' then null else subscriptions.reason end,
           changed_at = case when subscriptions.status = 'ended' then excluded.changed_at
               else subscriptions.changed_at end
    where  subscriptions.status = 'ended' or subscriptions.hook <> excluded.hook
""")

projection(ProjectConfigured)(f"""
    update subscriptions
    set    status = 'ended', reason = 'The project''s web hooks do not name it any more.', changed_at = event.at
    from   event
    where  subscriptions.project_id = event.project_id and event.data -> 'settings' ? 'web_hooks'
    and    subscriptions.hook is not null and subscriptions.status <> 'ended'
    and    subscriptions.subscription_id not in (select id from ({HOOKS}) as hook)
""")


def end_without_right(of_event: str, owner: str, revoked: str, left: str) -> str:
    """The SQL that ends the subscriptions to private projects that their owner may not read after the event.

    The tables are as before the event. `of_event` selects the subscriptions that it is about, `owner` is the project's
    owner, `revoked` a condition for the grants in `access` that the event takes away, `left` one for memberships in
    `group_members`. (When two events take the last two rights at the same moment, the next delivery finds out.)
    """
    return f"""
        update subscriptions
        set    status = 'ended', reason = 'Its owner may no longer read the project.', changed_at = event.at
        from   event, projects
        where  {of_event} and subscriptions.project_id = projects.project_id and projects.private
        and    subscriptions.owner <> {owner} and subscriptions.status <> 'ended'
        and    not exists (select 1 from users where users.username = subscriptions.owner and users.admin)
        and    not exists (
                   select 1
                   from   access
                   where  access.project_id = projects.project_id and not ({revoked})
                   and    (access.party = 'user' and access.name = subscriptions.owner
                           or access.party = 'group' and exists (
                               select 1
                               from   group_members
                               where  group_members.group_name = access.name
                               and    group_members.username = subscriptions.owner and not ({left}))))
    """


projection(AccessRevoked)(
    end_without_right(
        of_event="projects.project_id = event.project_id",
        owner="projects.owner",
        revoked="access.party = event.data ->> 'party' and access.name = event.data ->> 'name'",
        left="false",
    )
)
projection(MemberRemoved)(
    end_without_right(
        of_event="subscriptions.owner = event.data ->> 'username'",
        owner="projects.owner",
        revoked="false",
        left="group_members.group_name = event.data ->> 'group_name'",
    )
)
projection(ProjectTransferred)(
    end_without_right(
        of_event="""projects.project_id = event.project_id
                    and not (subscriptions.owner = event.data ->> 'previous'
                             and (event.data ->> 'retained')::boolean)""",
        owner="event.data ->> 'owner'",
        revoked="false",
        left="false",
    )
)

# `gone` keeps the project for active subscriptions, which still have to receive the event of its deletion.
projection(ProjectDeleted, ProjectDiscarded)("""
    update subscriptions
    set    status = 'ended', reason = 'Its project was deleted.', changed_at = event.at,
           gone = case when event.type = 'project.deleted' and subscriptions.status in ('active', 'paused')
               then to_jsonb(projects) - array['settings', 'plugins'] end
    from   event join projects on projects.project_id = event.project_id
    where  subscriptions.project_id = event.project_id
""")
