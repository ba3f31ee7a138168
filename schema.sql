-- The current database schema, from top to bottom.
--
-- There are two schemas. `public` holds the truth: commands, the log, its numbering, secrets, leases.
-- `live` holds the read tables, which are derived from the log: `polyforge rebuild` fills a copy of
-- `live` from the log and swaps it in. The search_path of every connection is `live, public`.

-- ---------------------------------------------------------------- the log (events/log.py)

-- Accepted commands. The id is also the id of the task that a client may poll.
create table commands (
    id      uuid        primary key,
    name    text        not null,                    -- 'open-issue'
    body    jsonb       not null,
    actor   text        not null,                    -- a username, or '' for the forge itself
    request text        not null default '',         -- the id of the HTTP request
    at      timestamptz not null default now()
);

-- Events, the results of commands. Rows are added, never changed.
create table events (
    position   bigint      generated always as identity primary key,
    txid       xid8        not null default pg_current_xact_id(),
    id         uuid        not null default uuidv7(),
    stream     text        not null,                 -- 'issue-7/12'; versions count within a stream
    version    int         not null check (version > 0),
    type       text        not null,                 -- 'issue.opened'
    data       jsonb       not null,
    actor      text        not null,
    project_id bigint,                               -- null: not about a project
    command_id uuid        not null references commands,
    cause      bigint      references events,        -- the event that a worker reacted to with this one
    request    text        not null default '',
    at         timestamptz not null default now(),
    constraint one_event_per_version unique (stream, version),
    constraint one_answer_per_cause  unique (cause, stream, type)
);

-- The database refuses to change or delete events.
create function refuse_to_rewrite_history() returns trigger language plpgsql as $$
begin
    raise exception 'events are added, never changed';
end $$;

create trigger events_are_never_changed
    before update or delete on events
    for each row execute function refuse_to_rewrite_history();

-- The total order of events: a dense number for every settled event, assigned by the leading relay.
create table numbers (
    seq      bigint primary key check (seq > 0),
    position bigint not null unique references events
);

-- Events without a number. A row is added with the event and deleted when it is numbered, so the table stays small.
create table unnumbered (
    position bigint not null primary key,
    txid     xid8   not null
);

-- ---------------------------------------------------------------- work (workers/)

-- Leases of roles that only one process may have at a time: 'relay'. The token fences off a holder that lost its lease.
create table leases (
    name   text        primary key,
    holder text        not null,
    token  bigint      not null default 1,
    until  timestamptz not null
);

-- Worker processes, and until when each of them counts as alive (app/stores/heartbeats.py).
create table heartbeats (
    holder      uuid        primary key,
    alive_until timestamptz not null
);

-- Work for the workers: one row per event and reaction, written in the transaction that numbers the event.
create table work (
    position    bigint      not null references events,
    reaction    text        not null,                -- 'create-repository'
    queue       text        not null,                -- 'git', 'mirror' or 'follow'
    attempts    int         not null default 0,      -- also the fencing token of the current lease
    due_at      timestamptz not null default now(),
    lease_until timestamptz,                         -- null: no worker holds it
    done_at     timestamptz,
    irrevocable boolean     not null default false,  -- past its point of no return: it cannot be cancelled
    project_id  bigint      not null,                -- of the event; 0 if it is about none
    holder      uuid,                                -- the worker process that took the lease
    failures    int         not null default 0,      -- attempts that ended with an error of the work itself
    primary key (position, reaction)
);

-- For the workers: projects take turns.
create index due_work on work (queue, project_id, due_at, position) where done_at is null;

-- For the sweep, which reads only unfinished work.
create index open_work on work (due_at) where done_at is null;

-- Processes that may be moving refs and have not recorded that in the log yet. They hold the lock of the repository
-- (app/git/locks.py). A row without a locked repository was left by a process that has ended; the refs of the project
-- are then compared with the log (app/core/pushes.py).
create table open_pushes (
    push_id    uuid        primary key,
    project_id bigint      not null,
    actor      text        not null,
    begun_at   timestamptz not null default now(),
    due_at     timestamptz not null default now(),   -- later if it could not be finished
    failures   int         not null default 0,       -- attempts to finish it
    pull_request int                                 -- the number of the one that is being merged
);
create index open_pushes_of_a_project on open_pushes (project_id);

-- Projects whose refs on disk were those in the log, with a hash of the files and of the rows at that time, so that they
-- are compared again only after a change (app/core/ref_comparison.py).
create table ref_fingerprints (
    project_id bigint primary key,
    disk       bytea  not null,
    log        bytea  not null
);

-- The polling schedule of mirrors. The token fences off a worker that lost its lease (workers/mirrors.py).
create table mirrors (
    project_id  bigint      primary key,
    due_at      timestamptz not null,
    failures    int         not null default 0,      -- in a row
    lease_until timestamptz,                         -- null: no worker holds it
    token       uuid,
    holder      uuid,                                -- the worker process that took the lease
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index due_mirrors on mirrors (due_at);

-- ---------------------------------------------------------------- deliveries (workers/delivery.py)

-- URLs, secrets and headers of subscriptions. They are not in the log, since a URL may contain credentials, and are
-- sealed here (app/stores/sealed.py).
create table subscription_endpoints (
    subscription_id uuid        primary key,
    project_id      bigint,                          -- of a web hook, which signs with its project's hook token
    url             text        not null,            -- sealed, as are the secrets and headers
    secret          text,                            -- null: of a web hook
    previous_secret text,                            -- also signs until previous_until
    previous_until  timestamptz,
    headers         text,                            -- a JSON object; null: of a web hook
    kept_at         timestamptz not null default now(),
    constraint web_hooks_have_only_a_url check (num_nonnulls(secret, headers) = case when project_id is null then 2 else 0 end)
);
create index endpoints_of_a_project on subscription_endpoints (project_id) where project_id is not null;

-- One row per event and subscription that wants it, written by the statement that numbers the event.
create table deliveries (
    delivery_id     uuid        primary key default uuidv7(),
    subscription_id uuid        not null,
    lane            bigint      not null,            -- deliveries of a lane are sent in order
    seq             bigint      not null,            -- 0: a ping, which is no event
    position        bigint      references events,
    status          text        not null default 'waiting'
                    check (status in ('waiting', 'delivered', 'failed', 'suppressed')),
    reason          text,                            -- why it was suppressed
    attempts        int         not null default 0,  -- since it was created or last redelivered
    parts           int         not null default 0,  -- messages accepted so far, if the event takes several
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
    status      int,                                 -- HTTP status; null: no answer
    duration_ms int         not null,
    error       text,                                -- a class of failure, never text from the other side
    excerpt     text,                                -- the beginning of the answer's body
    primary key (delivery_id, at)
);

-- Lanes with something to send; an empty lane has no row. The token fences off a worker that lost its lease.
create table lanes (
    subscription_id uuid        not null,
    lane            bigint      not null,
    due_at          timestamptz not null,            -- when its first delivery may be sent
    news            int         not null default 1,  -- how often deliveries were added
    lease_until     timestamptz,                     -- null: no worker holds it
    token           uuid,
    holder          uuid,                            -- the worker process that took the lease
    primary key (subscription_id, lane),
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index due_lanes on lanes (due_at);

-- Circuit breakers of endpoints that fail.
create table circuits (
    subscription_id uuid        primary key,
    failures        int         not null,            -- in a row, over all of its lanes
    failing_since   timestamptz not null,
    open_until      timestamptz not null             -- nothing is sent before this
);

-- ---------------------------------------------------------------- secrets (app/core/credentials.py)

-- Hashed secrets, stored only here: the log has a token's id and prefix, never its hash.
create table passwords (
    username text primary key,
    hash     text not null                           -- argon2id
);

create table token_secrets (
    hash     bytea primary key,                      -- SHA-256 of the token
    token_id uuid  not null unique
);

-- Secrets that a project signs or logs in with elsewhere, so they are sealed, not hashed, and never put into an event, a
-- log line or a listing. 'hook_token' is the signing key of its web hooks, 'mirror_login' the login of a mirror.
create table project_secrets (
    project_id bigint not null,
    name       text   not null,
    secret     text   not null,                      -- sealed (app/stores/sealed.py)
    primary key (project_id, name)
);

-- A sealed text that is known: it tells whether the keys, which are outside of the database, are the right ones.
create table secrets_check (
    id     int  primary key check (id = 1),
    sealed text not null
);

-- The first answer to a request with an Idempotency-Key, kept for a day.
create table idempotency_keys (
    principal  text        not null,
    key        text        not null,
    request    bytea       not null,                 -- SHA-256 of method, path and body
    command_id uuid        not null,                 -- the id of the request's command, also for repetitions
    status     int,                                  -- null while the first request is in flight
    headers    jsonb,
    body       bytea,
    outcome    jsonb,                                 -- what the command stored; null until it is, or if it is secret
    project    jsonb,                                 -- the row of the project as it was before the command
    at         timestamptz not null default now(),
    primary key (principal, key),
    constraint answered_whole check ((status is null) = (body is null))
);
create index idempotency_keys_by_age on idempotency_keys (at);
create index idempotency_keys_by_command on idempotency_keys (command_id);

-- The version of this schema; `polyforge migrate` upgrades an older one.
create table schema_version (version int not null);
insert into schema_version values (9);

-- Ids are reserved before the event that uses them is written; gaps do no harm.
create sequence project_ids;
create sequence comment_ids;

-- ================================================================ read tables (events/projections/)

create schema live;
set search_path = live, public;

-- events/projections/users.py
create table users (
    username   text        primary key,
    user_id    bigint      not null,                 -- the position of its user.created
    fullname   text        not null,
    email      text        not null,
    admin      boolean     not null,
    created_at timestamptz not null
);
create unique index one_user_per_name on users (lower(username));
create unique index one_user_per_id on users (user_id);
create unique index one_user_per_email on users (lower(email));

create table tokens (
    token_id    uuid        primary key,
    username    text        not null,
    prefix      text        not null,                -- 'pf_Ab3dE': lets the owner recognise the token
    description text        not null,
    acls        text[],                              -- null: everything that its user may do
    project_id  bigint,                              -- null: any project
    expires_at  timestamptz,
    revoked_at  timestamptz,
    created_at  timestamptz not null
);
create index tokens_of_a_user on tokens (username, token_id);

-- events/projections/groups.py
create table groups (
    group_name   text        primary key,
    group_id     bigint      not null,                 -- the position of its group.created
    display_name text        not null,
    description  text,
    group_type   text        not null check (group_type in ('user', 'admin')),
    creator      text        not null,
    created_at   timestamptz not null
);
create unique index one_group_per_id on groups (group_id);
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
    address        text        not null,             -- the key of lookups: 'fork/ann/' || lower('ns/name')
    path           text        not null,             -- '[fork/ann/][ns/]name'
    owner          text        not null,
    owner_fullname text        not null,
    name           text        not null,
    namespace      text,
    forker         text,                             -- null unless it is a fork as in Pagure
    parent_id      bigint,
    ancestors      bigint[]    not null default '{}', -- the parent first, then its parent, …
    description    text        not null,
    url            text,
    avatar_email   text,
    private        boolean     not null,
    topics         text[]      not null default '{}',
    settings       jsonb       not null default '{}', -- only those that differ from the defaults
    plugins        jsonb       not null default '{}', -- name → {fields, secrets: names of the secret fields}
    access         jsonb       not null default '{"user": {}, "group": {}}', -- name → {level, branches}
    blocked        text[]      not null default '{}', -- usernames that may not post here
    milestones     jsonb       not null default '{}',
    priorities     jsonb       not null default '{}',
    milestones_keys text[]     not null default '{}', -- their names in the order of display
    default_priority text,                           -- the name of a priority
    close_status   text[]      not null default '{}',
    custom_keys    jsonb       not null default '[]', -- [name, type, options?, notify?] each
    last_number    int         not null default 0,   -- of issues and pull requests, which share one counter
    revision       bigint      not null,             -- the last event that changed what decisions depend on
    head           text,                             -- 'main'; null until the repository exists
    head_version   int         not null default 0,   -- of the stream 'ref-<project>/HEAD'
    default_branch text        not null,             -- the branch of HEAD that the repository is created with
    storage        text        not null default 'default',
    mirrored_from  text,                             -- the source URL of a mirror, without user and password
    mirror_failure text,                             -- why the last update of the mirror failed; null: it worked
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

-- The same grants as in projects.access, for lookups by user or group.
create table access (
    project_id bigint not null,
    party       text   not null check (party in ('user', 'group')),
    name       text   not null,
    level      text   not null check (level in ('ticket', 'collaborator', 'commit', 'admin')),
    branches   text,                                 -- comma-separated globs of what a collaborator may push to
    primary key (project_id, party, name),
    constraint collaborators_have_branches check ((level = 'collaborator') = (branches is not null))
);
create index access_of_somebody on access (party, name, level);

-- Users' explicit choices of notifications; without a row the default depends on their access.
create table watches (
    project_id bigint  not null,
    username   text    not null,
    issues     boolean not null,
    commits    boolean not null,
    primary key (project_id, username)
);

-- Stored counts, since every page of a listing shows the total.
create table project_counts (
    visibility text   primary key,                   -- 'public' or 'private'
    total      bigint not null
);

-- events/projections/repositories.py
create table refs (
    project_id bigint not null,
    ref        text   not null,                      -- 'refs/heads/main'
    object     text   not null,                      -- the object that the ref points at
    commit     text   not null,                      -- the same, peeled to a commit
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
    depends         int[]       not null default '{}', -- numbers of the issues that it depends on
    related_prs     jsonb       not null default '[]', -- {id, title} of pull requests about it, the newest first
    boards          jsonb       not null default '{}', -- the boards that it is on: name → {status, rank}
    primary key (project_id, number) include (private, author, assignee) -- for index-only scans of pages
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

-- Stored counts, since every page of a listing shows the total of a status.
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
    note            jsonb,                           -- the content of a comment of the forge (events/notes.py)
    author          text        not null,
    author_fullname text        not null,
    notification    boolean     not null default false, -- written by the forge in the author's name
    created_at      timestamptz not null,
    constraint a_note_has_no_text check (note is null or comment = '')
);
create index comments_of_an_issue on issue_comments (project_id, number, comment_id);

-- Users' explicit choices to be notified about an issue, whatever they watch.
create table issue_subscriptions (
    project_id bigint  not null,
    number     int     not null,
    username   text    not null,
    subscribed boolean not null,
    primary key (project_id, number, username)
);

-- The files attached to issues. They are stored on disk by project (app/attachments.py).
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
    tag        text    not null,                     -- the tag that an issue gets when it is put on the board
    statuses   jsonb   not null default '[]',        -- by rank: {name, rank, default, bg_color, close, close_status}
    primary key (project_id, board)
);

-- events/projections/pull_requests.py
create table pull_requests (
    project_id         bigint      not null,         -- the target
    number             int         not null,         -- from the counter that issues use too
    uid                text        not null,         -- 32 hex digits
    title              text        not null,
    initial_comment    text,
    branch             text        not null,         -- the target branch
    branch_from        text        not null,         -- the source branch
    repo_from          bigint,                       -- the source project; null: a remote repository
    remote_git         text,
    status             text        not null default 'Open' check (status in ('Open', 'Closed', 'Merged')),
    author             text        not null,
    author_fullname    text        not null,
    assignee           text,
    assignee_fullname  text,
    closed_by          text,
    closed_by_fullname text,
    closed_at          timestamptz,
    commit_start       text,                         -- its oldest commit
    commit_stop        text,                         -- its newest commit
    merge_status       text        not null default 'unknown'
                       check (merge_status in ('unknown', 'NO_CHANGE', 'FFORWARD', 'CONFLICTS', 'MERGE')),
    allow_rebase       boolean     not null,
    issues             int[]       not null default '{}', -- mentioned by the description
    commit_issues      int[]       not null default '{}', -- mentioned by the commits
    tags               text[]      not null default '{}',
    score              jsonb       not null default '{}', -- username → latest vote, 1 or -1
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

-- Stored counts, as for issues.
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
    note            jsonb,                           -- the content of a comment of the forge (events/notes.py)
    commit          text,                            -- set on an inline comment, which is never a vote
    tree            text,
    filename        text,
    line            int,
    author          text        not null,
    author_fullname text        not null,
    notification    boolean     not null default false,
    created_at      timestamptz not null,
    constraint a_note_has_no_text check (note is null or comment = '')
);
create index comments_of_a_pull_request on pull_request_comments (project_id, number, comment_id);

create table pull_request_subscriptions (
    project_id bigint  not null,
    number     int     not null,
    username   text    not null,
    subscribed boolean not null,
    primary key (project_id, number, username)
);

-- Flags that programs such as CI systems set on commits.
create table commit_flags (
    project_id  bigint      not null,
    commit      text        not null,
    uid         text        not null,
    username    text        not null,                -- the program's name
    status      text        not null,
    percent     int,
    comment     text        not null,
    url         text        not null,
    author      text        not null,                -- the owner of the token that was used
    author_fullname text    not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    primary key (project_id, commit, uid)
);

-- events/projections/activity.py
create table activity (
    project_id  bigint      not null,
    activity_id bigint      not null,                -- the event's position times 65536, plus an index
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
-- For a user's calendar of a year and lists of a day.
create index activity_of_a_user on activity (username, at);

-- events/projections/subscriptions.py
create table subscriptions (
    subscription_id uuid        primary key,
    owner           text,                            -- the user whose right to read is checked at every delivery;
                                                     -- null: a project's web hook, which gets public events only
    token_id        uuid,                            -- the token that it ends with; null: none
    project_id      bigint,                          -- null: everything that its owner may read
    types           text[],                          -- whole names or families, 'issue.*'; null: all
    format          text        not null check (format in ('standard', 'pagure', 'cloudevents')),
    ordered         boolean     not null,
    host            text        not null,            -- of its URL, lets the owner recognise it
    hook            int,                             -- a web hook's place in the project's setting, from 1
    gone            jsonb,                           -- a web hook's project from before its deletion
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
    error      text,                                 -- a FailureReason of events/tasks.py
    error_params jsonb     not null default '{}',    -- the parameters of the reason
    result     text,                                 -- the path of the project
    attempts   int         not null default 0,
    actor      text        not null,
    project_id bigint,
    origin     bigint      not null,                 -- the event that asked for the work
    position   bigint      not null,                 -- the latest event of the task
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
