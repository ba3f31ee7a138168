-- The schema of the last release, 0.1.0, with which schema.sql and the steps beside this file are compared.
-- The whole database as it is today, read top to bottom.
--
-- Two schemas. `public` holds what is true: commands, the log, its numbering, secrets, leases.
-- `live` holds the read tables, which are nothing but the log told again: `polyforge rebuild`
-- fills a twin of `live` from the log and swaps it in. Every connection's search_path is
-- `live, public`.

-- ---------------------------------------------------------------- the record (events/log.py)

-- What people asked for. The id doubles as the task id a client may poll.
create table commands (
    id      uuid        primary key,
    name    text        not null,                    -- 'open-issue'
    body    jsonb       not null,
    actor   text        not null,                    -- a username, or '' for the forge itself
    request text        not null default '',         -- the request id that carried it
    at      timestamptz not null default now()
);

-- What happened because of it. Rows are added, never changed.
create table events (
    position   bigint      generated always as identity primary key,
    txid       xid8        not null default pg_current_xact_id(),
    id         uuid        not null default uuidv7(),
    stream     text        not null,                 -- 'issue-7/12': one story, told in versions
    version    int         not null check (version > 0),
    type       text        not null,                 -- 'issue.opened'
    data       jsonb       not null,
    actor      text        not null,
    project_id bigint,                               -- whose story it is part of; null for users
    command_id uuid        not null references commands,
    cause      bigint      references events,        -- the event this one answers, if a worker wrote it
    request    text        not null default '',
    at         timestamptz not null default now(),
    constraint one_event_per_version unique (stream, version),
    constraint one_answer_per_cause  unique (cause, stream, type)
);

-- An event is a fact: nobody may change or remove one.
create function refuse_to_rewrite_history() returns trigger language plpgsql as $$
begin
    raise exception 'events are added, never changed';
end $$;

create trigger events_are_never_changed
    before update or delete on events
    for each row execute function refuse_to_rewrite_history();

-- The one total order: a dense number for every settled event. The leading relay writes it.
create table numbers (
    seq      bigint primary key check (seq > 0),
    position bigint not null unique references events
);

-- What has not been numbered yet: written with the event, removed with its number, and therefore small.
create table unnumbered (
    position bigint not null primary key,
    txid     xid8   not null
);

-- ---------------------------------------------------------------- work (workers/)

-- Who does what only one may do: 'relay'. The token fences off a holder that lost its lease.
create table leases (
    name   text        primary key,
    holder text        not null,
    token  bigint      not null default 1,
    until  timestamptz not null
);

-- What is due: one row per event and reaction, written in the transaction that numbers the event.
create table work (
    position    bigint      not null references events,
    reaction    text        not null,                -- 'create-repository'
    queue       text        not null,                -- 'git', 'mirror' or 'follow'
    attempts    int         not null default 0,      -- also the fencing token of the present lease
    due_at      timestamptz not null default now(),
    lease_until timestamptz,                         -- null: nobody is at it
    done_at     timestamptz,
    irrevocable boolean     not null default false,  -- past the point where it can be cancelled
    primary key (position, reaction)
);

-- For the sweep, which looks only at what is still open.
create index open_work on work (due_at) where done_at is null;

-- Pushes that git may have finished and the log does not know of yet. Whoever dies in between leaves a row
-- behind, and its refs are looked at again when the lease has run out (app/core/pushes.py).
create table open_pushes (
    push_id     uuid        primary key,
    project_id  bigint      not null,
    actor       text        not null,
    lease_until timestamptz not null
);

-- When each mirror is looked at again. The token fences off a worker that lost its lease (workers/mirrors.py).
create table mirrors (
    project_id  bigint      primary key,
    due_at      timestamptz not null,
    failures    int         not null default 0,      -- in a row
    lease_until timestamptz,                         -- null: nobody is at it
    token       uuid,
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index due_mirrors on mirrors (due_at);

-- ---------------------------------------------------------------- deliveries (workers/delivery.py)

-- Where a subscription's events go and what signs them; an address may be as good as a password.
create table subscription_endpoints (
    subscription_id uuid        primary key,
    url             text        not null,
    secret          text        not null,
    previous_secret text,                            -- signs beside the new one until the time is up
    previous_until  timestamptz,
    headers         jsonb       not null default '{}',
    kept_at         timestamptz not null default now()
);

-- One row per event and subscription that asked for it, written in the statement that numbers the event.
create table deliveries (
    delivery_id     uuid        primary key default uuidv7(),
    subscription_id uuid        not null,
    lane            bigint      not null,            -- events of one lane are sent in order
    seq             bigint      not null,            -- 0: a ping, which is in no log
    position        bigint      references events,
    status          text        not null default 'waiting'
                    check (status in ('waiting', 'delivered', 'failed', 'suppressed')),
    reason          text,                            -- why it was suppressed
    attempts        int         not null default 0,  -- of the present round; redelivery begins another
    parts           int         not null default 0,  -- messages that were taken, where the event is several
    created_at      timestamptz not null default now(),
    ended_at        timestamptz,
    constraint ended_or_waiting check ((status = 'waiting') = (ended_at is null))
);
create index deliveries_of_a_subscription on deliveries (subscription_id, delivery_id);
create index waiting_deliveries on deliveries (subscription_id, lane, seq, delivery_id) where status = 'waiting';
create index ended_deliveries on deliveries (ended_at) where ended_at is not null;

create table delivery_attempts (
    delivery_id uuid        not null references deliveries on delete cascade,
    at          timestamptz not null,
    status      int,                                 -- of HTTP; null when there was no answer
    duration_ms int         not null,
    error       text,                                -- a class of failure, never what the other side said
    excerpt     text,                                -- the beginning of the answer
    primary key (delivery_id, at)
);

-- Lanes with something to send, and no others. The token fences off a worker that lost its lease.
create table lanes (
    subscription_id uuid        not null,
    lane            bigint      not null,
    due_at          timestamptz not null,            -- when its first delivery may be sent
    news            int         not null default 1,  -- how often something was added
    lease_until     timestamptz,                     -- null: nobody is at it
    token           uuid,
    primary key (subscription_id, lane),
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index due_lanes on lanes (due_at);

-- How an endpoint has been doing lately.
create table circuits (
    subscription_id uuid        primary key,
    failures        int         not null,            -- in a row, over all of its lanes
    failing_since   timestamptz not null,
    open_until      timestamptz not null             -- nothing is sent before
);

-- ---------------------------------------------------------------- secrets (app/core/credentials.py)

-- Secrets are hashed and live here alone: the log knows a token's id and prefix, never its hash.
create table passwords (
    username text primary key,
    hash     text not null                           -- argon2id
);

create table token_secrets (
    hash     bytea primary key,                      -- SHA-256 of the token
    token_id uuid  not null unique
);

-- What a project signs or logs in with elsewhere, and therefore has to be known in full: never in an event, a log line
-- or a listing. 'hook_token' is the key of its webhooks' signatures, 'mirror_login' what a mirror logs in with.
create table project_secrets (
    project_id bigint not null,
    name       text   not null,
    secret     text   not null,
    primary key (project_id, name)
);

-- The first answer to a request that carried an Idempotency-Key, kept for a day.
create table idempotency_keys (
    principal  text        not null,
    key        text        not null,
    request    bytea       not null,                 -- SHA-256 of method, path and body
    command_id uuid        not null,                 -- what the request's command is called, whoever carries it out
    status     int,                                  -- null while the first request is in flight
    headers    jsonb,
    body       bytea,
    at         timestamptz not null default now(),
    primary key (principal, key),
    constraint answered_whole check ((status is null) = (body is null))
);
create index idempotency_keys_by_age on idempotency_keys (at);

-- Which schema this is; `polyforge migrate` brings an older one here.
create table schema_version (version int not null);
insert into schema_version values (5);

-- Project ids are handed out before the event that uses them is written; gaps do no harm.
create sequence project_ids;
create sequence comment_ids;

-- ================================================================ read tables (events/projections/)

create schema live;
set search_path = live, public;

-- events/projections/users.py
create table users (
    username   text        primary key,
    fullname   text        not null,
    email      text        not null,
    admin      boolean     not null,
    created_at timestamptz not null
);
create unique index one_user_per_name on users (lower(username));
create unique index one_user_per_email on users (lower(email));

create table tokens (
    token_id    uuid        primary key,
    username    text        not null,
    prefix      text        not null,                -- 'pf_Ab3dE': enough to recognise it by
    description text        not null,
    acls        text[],                              -- null: everything its user may do
    project_id  bigint,                              -- null: any project
    expires_at  timestamptz,
    revoked_at  timestamptz,
    created_at  timestamptz not null
);
create index tokens_of_a_user on tokens (username, token_id);

-- events/projections/groups.py
create table groups (
    group_name   text        primary key,
    display_name text        not null,
    description  text,
    group_type   text        not null check (group_type in ('user', 'admin')),
    creator      text        not null,
    created_at   timestamptz not null
);
create unique index one_group_per_name on groups (lower(group_name));

create table group_members (
    group_name text not null,
    username   text not null,
    primary key (group_name, username)
);
create index groups_of_a_user on group_members (username);

-- events/projections/projects.py
create table projects (
    project_id     bigint      primary key,
    address        text        not null,             -- how it is looked up: 'fork/ann/' || lower('ns/name')
    path           text        not null,             -- '[fork/ann/][ns/]name'
    owner          text        not null,
    owner_fullname text        not null,
    name           text        not null,
    namespace      text,
    forker         text,                             -- null unless it is a fork made the Pagure way
    parent_id      bigint,
    ancestors      bigint[]    not null default '{}', -- the parent first, then its parent, …
    description    text        not null,
    url            text,
    avatar_email   text,
    private        boolean     not null,
    topics         text[]      not null default '{}',
    settings       jsonb       not null default '{}', -- what differs from the defaults
    plugins        jsonb       not null default '{}', -- name → {fields, secrets: names of those kept apart}
    access         jsonb       not null default '{"user": {}, "group": {}}', -- name → {level, branches}
    blocked        text[]      not null default '{}', -- usernames that may not post here
    milestones     jsonb       not null default '{}',
    priorities     jsonb       not null default '{}',
    milestones_keys text[]     not null default '{}', -- their names, in the order in which they are shown
    default_priority text,                           -- the name of a priority
    close_status   text[]      not null default '{}',
    custom_keys    jsonb       not null default '[]', -- [name, type, options?, notify?] each
    last_number    int         not null default 0,   -- of issues and pull requests, which share one counter
    revision       bigint      not null,             -- the last event that changed what may be decided here
    head           text,                             -- 'main'; null until the repository exists
    head_version   int         not null default 0,   -- of the stream 'ref-<project>/HEAD'
    default_branch text        not null,             -- what HEAD was to be when the repository was made
    storage        text        not null default 'default',
    mirrored_from  text,                             -- the address it is a mirror of, without user and password
    mirror_failure text,                             -- why the mirror could not be brought up to date; null: it could
    created_at     timestamptz not null,
    modified_at    timestamptz not null,
    constraint forks_have_a_parent check (forker is null or parent_id is not null),
    constraint mirrors_alone_fail check (mirror_failure is null or mirrored_from is not null)
);
create unique index one_project_per_address on projects (address);
create index projects_by_name on projects (lower(name), project_id);
create index public_projects_by_name on projects (lower(name), project_id) include (name) where not private;
create index projects_by_pattern on projects (lower(name) text_pattern_ops);
create index projects_of_an_owner on projects (owner, lower(name), project_id);
create index projects_of_a_namespace on projects (namespace, lower(name), project_id);
create index projects_by_topic on projects using gin (topics);
create index mirrors_among_projects on projects (project_id) where mirrored_from is not null;

-- The same grants as in projects.access, to be found by who holds them.
create table access (
    project_id bigint not null,
    party       text   not null check (party in ('user', 'group')),
    name       text   not null,
    level      text   not null check (level in ('ticket', 'collaborator', 'commit', 'admin')),
    branches   text,                                 -- globs, comma separated; what a collaborator may push to
    primary key (project_id, party, name),
    constraint collaborators_have_branches check ((level = 'collaborator') = (branches is not null))
);
create index access_of_somebody on access (party, name, level);

-- What somebody has said they want to hear of; without a row their access decides.
create table watches (
    project_id bigint  not null,
    username   text    not null,
    issues     boolean not null,
    commits    boolean not null,
    primary key (project_id, username)
);

-- Listings count what everybody may see on every page, so the count is kept.
create table project_counts (
    visibility text   primary key,                   -- 'public' or 'private'
    total      bigint not null
);

-- events/projections/repositories.py
create table refs (
    project_id bigint not null,
    ref        text   not null,                      -- 'refs/heads/main'
    object     text   not null,                      -- what the ref points at
    commit     text   not null,                      -- the same, peeled
    version    int    not null,                      -- of the stream 'ref-<project>/<ref>'
    primary key (project_id, ref)
);

-- events/projections/issues.py
create table issues (
    project_id      bigint      not null,
    number          int         not null,
    uid             text        not null,            -- 32 hex digits
    title           text        not null,
    content         text        not null,
    status          text        not null default 'Open',
    close_status    text,
    author          text        not null,
    author_fullname text        not null,
    assignee          text,
    assignee_fullname text,
    private         boolean     not null,
    tags            text[]      not null,
    milestone       text,
    priority        int,
    comments        int         not null default 0,
    version         int         not null,            -- of the stream 'issue-<project>/<number>'
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    closed_at       timestamptz,
    closed_by       text,
    closed_by_fullname text,
    custom_fields   jsonb       not null default '{}', -- name → value, only those that have one
    depends         int[]       not null default '{}', -- numbers of the issues it waits for
    related_prs     jsonb       not null default '[]', -- {id, title} of pull requests about it, the newest first
    boards          jsonb       not null default '{}', -- the boards it is on: name → {status, rank}
    primary key (project_id, number) include (private, author, assignee) -- pages are counted off in the index alone
);
create index issues_by_dependency on issues using gin (depends);
create index issues_on_boards on issues (project_id) where boards <> '{}';
create unique index one_issue_per_uid on issues (uid);
create index issues_by_status on issues (project_id, status, number) include (private, author, assignee);
create index issues_by_milestone on issues (project_id, milestone, number) where milestone is not null;
create index issues_by_close_status on issues (project_id, close_status, number) where close_status is not null;
create index issues_by_priority on issues (project_id, priority, number) where priority is not null;
create index private_issues on issues (project_id, status) where private;
create index issues_by_tag on issues using gin (tags);
create index issues_of_an_author on issues (author, created_at);
create index issues_of_an_assignee on issues (assignee, created_at) where assignee is not null;

-- Listings count a status on every page, so the counts are kept.
create table issue_counts (
    project_id bigint  not null,
    status     text    not null,
    private    boolean not null,
    total      bigint  not null,
    primary key (project_id, status, private)
);

create table issue_comments (
    comment_id      bigint      primary key,
    project_id      bigint      not null,
    number          int         not null,
    comment         text        not null,
    author          text        not null,
    author_fullname text        not null,
    notification    boolean     not null default false, -- written by the forge in the author's name
    created_at      timestamptz not null
);
create index comments_of_an_issue on issue_comments (project_id, number, comment_id);

-- Who has said that they do, or do not, want to hear of an issue, whatever they watch.
create table issue_subscriptions (
    project_id bigint  not null,
    number     int     not null,
    username   text    not null,
    subscribed boolean not null,
    primary key (project_id, number, username)
);

-- Which issues came with which files, which lie on disk by project (app/attachments.py).
create table issue_files (
    project_id bigint not null,
    name       text   not null,
    number     int    not null,
    primary key (project_id, name, number)
);

create table issue_tags (
    project_id  bigint not null,
    tag         text   not null,
    color       text   not null default 'DeepSkyBlue',
    description text   not null default '',
    primary key (project_id, tag)
);

-- events/projections/boards.py
create table boards (
    project_id bigint  not null,
    board      text    not null,
    active     boolean not null,
    tag        text    not null,                     -- what an issue is tagged with when it is put there
    statuses   jsonb   not null default '[]',        -- by rank: {name, rank, default, bg_color, close, close_status}
    primary key (project_id, board)
);

-- events/projections/pull_requests.py
create table pull_requests (
    project_id         bigint      not null,         -- the target
    number             int         not null,         -- from the counter that issues have too
    uid                text        not null,         -- 32 hex digits
    title              text        not null,
    initial_comment    text,
    branch             text        not null,         -- what it is to be merged into
    branch_from        text        not null,
    repo_from          bigint,                       -- the source; null for one that lies elsewhere
    remote_git         text,
    status             text        not null default 'Open' check (status in ('Open', 'Closed', 'Merged')),
    author             text        not null,
    author_fullname    text        not null,
    assignee           text,
    assignee_fullname  text,
    closed_by          text,
    closed_by_fullname text,
    closed_at          timestamptz,
    commit_start       text,                         -- the oldest commit it brings
    commit_stop        text,                         -- the newest
    merge_status       text        not null default 'unknown'
                       check (merge_status in ('unknown', 'NO_CHANGE', 'FFORWARD', 'CONFLICTS', 'MERGE')),
    allow_rebase       boolean     not null,
    issues             int[]       not null default '{}', -- that the description is about
    commit_issues      int[]       not null default '{}', -- that the commits are about
    tags               text[]      not null default '{}',
    score              jsonb       not null default '{}', -- username → their latest vote, 1 or -1
    comments           int         not null default 0,
    version            int         not null,         -- of the stream 'pull-request-<project>/<number>'
    created_at         timestamptz not null,
    updated_on         timestamptz not null,
    last_updated       timestamptz not null,
    primary key (project_id, number),
    constraint from_here_or_elsewhere check (repo_from is null or remote_git is null)
);
create unique index one_pull_request_per_uid on pull_requests (uid);
create index pull_requests_by_status on pull_requests (project_id, status, number);
create index pull_requests_by_source on pull_requests (repo_from, branch_from) where status = 'Open';
create index pull_requests_of_an_author on pull_requests (author, created_at);

-- The same for pull requests.
create table pull_request_counts (
    project_id bigint not null,
    status     text   not null,
    total      bigint not null,
    primary key (project_id, status)
);

create table pull_request_comments (
    comment_id      bigint      primary key,
    project_id      bigint      not null,
    number          int         not null,
    comment         text        not null,
    commit          text,                            -- with one it is about a line, and no vote
    tree            text,
    filename        text,
    line            int,
    author          text        not null,
    author_fullname text        not null,
    notification    boolean     not null default false,
    created_at      timestamptz not null
);
create index comments_of_a_pull_request on pull_request_comments (project_id, number, comment_id);

create table pull_request_subscriptions (
    project_id bigint  not null,
    number     int     not null,
    username   text    not null,
    subscribed boolean not null,
    primary key (project_id, number, username)
);

-- What other programs have said of a commit.
create table commit_flags (
    project_id  bigint      not null,
    commit      text        not null,
    uid         text        not null,
    username    text        not null,                -- the program's name
    status      text        not null,
    percent     int,
    comment     text        not null,
    url         text        not null,
    author      text        not null,                -- whose token it was
    author_fullname text    not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    primary key (project_id, commit, uid)
);

-- events/projections/activity.py
create table activity (
    project_id  bigint      not null,
    activity_id bigint      not null,                -- the event's position, 65536 apart
    username    text        not null,
    type        text        not null
                check (type in ('created', 'commented', 'closed', 'reopened', 'merged', 'committed')),
    subject     text        not null check (subject in ('project', 'issue', 'pull request', 'commit')),
    number      int,                                 -- of an issue or a pull request
    commit      text,
    at          timestamptz not null,
    primary key (project_id, activity_id),
    constraint numbered_in_the_tracker check ((subject in ('issue', 'pull request')) = (number is not null)),
    constraint commits_have_an_id      check ((subject = 'commit') = (commit is not null))
);
-- A user's days: counted over a year, and told one by one.
create index activity_of_a_user on activity (username, at);

-- events/projections/subscriptions.py
create table subscriptions (
    subscription_id uuid        primary key,
    owner           text,                            -- whose right to see the events is asked at every delivery;
                                                     -- null: a project's web hook, which is sent what is public
    token_id        uuid,                            -- ends with this token; null: with nobody's
    project_id      bigint,                          -- null: all that its owner may read
    types           text[],                          -- whole names or families, 'issue.*'; null: all
    format          text        not null check (format in ('standard', 'pagure', 'cloudevents')),
    ordered         boolean     not null,
    host            text        not null,            -- of its address, to recognise it by
    hook            text,                            -- a web hook's address, as the project's option says it
    gone            jsonb,                           -- a web hook's project as it was, once it is deleted
    status          text        not null check (status in ('active', 'inactive', 'paused', 'ended')),
    reason          text,                            -- why it is paused or has ended
    created_at      timestamptz not null,
    changed_at      timestamptz not null,
    constraint owned_or_hook check ((owner is null) = (hook is not null))
);
create index subscriptions_of_a_project on subscriptions (project_id, subscription_id);
create index subscriptions_of_an_owner on subscriptions (owner, subscription_id);

-- events/projections/tasks.py
create table tasks (
    task_id    uuid        primary key,              -- the command's id
    kind       text        not null,                 -- 'create-project'
    status     text        not null default 'queued' -- → running → succeeded, failed or cancelled
               check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    stage      text,
    percent    int         check (percent between 0 and 100),
    error      text,
    result     text,                                 -- the path of what was made
    attempts   int         not null default 0,
    actor      text        not null,
    project_id bigint,
    origin     bigint      not null,                 -- the event that asks for the work
    position   bigint      not null,                 -- the latest event about it
    cancel_requested boolean not null default false,
    created_at timestamptz not null,
    started_at timestamptz,
    ended_at   timestamptz,
    constraint final_means_ended check ((status in ('succeeded', 'failed', 'cancelled')) = (ended_at is not null)),
    constraint failed_means_why  check ((status = 'failed') = (error is not null))
);
create index tasks_of_an_actor on tasks (actor, created_at);
create index tasks_by_age on tasks (created_at, task_id);
create index tasks_of_a_project on tasks (project_id, created_at, task_id);
