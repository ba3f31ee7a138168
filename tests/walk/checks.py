"""What has to be so wherever a walk has led: listings are like single views, rows like the log, all like the model."""

import asyncio
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from events.projections import rebuild
from tests.walk.boards import Boards
from tests.walk.hooks import Hooks
from tests.walk.model import ADMIN, EVERYBODY, NOBODY, PEOPLE, Issue, Project
from tests.walk.pulls import Pulls
from tests.walk.refs import Refs
from tests.walk.world import SECRET, asks, projects

# What is counted or written twice, and the same counted or read afresh. No row is how it should be.
AGREE = {
    "comments of issues": """
        select project_id, number from issues
        where comments <> (select count(*) from issue_comments as c
                           where c.project_id = issues.project_id and c.number = issues.number)""",
    "comments of pull requests": """
        select project_id, number from pull_requests
        where comments <> (select count(*) from pull_request_comments as c
                           where c.project_id = pull_requests.project_id and c.number = pull_requests.number)""",
    "counts of projects": """
        select visibility from project_counts
        where total <> (select count(*) from projects where private = (visibility = 'private'))""",
    "counts of issues": """
        select project_id, status, private from issue_counts as kept
        where total <> (select count(*) from issues
                        where issues.project_id = kept.project_id and issues.status = kept.status
                        and   issues.private = kept.private)""",
    "counts of pull requests": """
        select project_id, status from pull_request_counts as kept
        where total <> (select count(*) from pull_requests
                        where pull_requests.project_id = kept.project_id and pull_requests.status = kept.status)""",
    "numbers": """
        select project_id from projects
        where last_number <> (select count(*) from issues where issues.project_id = projects.project_id)
                           + (select count(*) from pull_requests
                              where pull_requests.project_id = projects.project_id)""",
    "grants": """
        select project_id, party, held.key, held.value from projects,
               jsonb_each(access) as parties (party, holders), jsonb_each(holders) as held
        except
        select project_id, party, name, jsonb_build_object('level', level, 'branches', branches) from access""",
    "grants, the other way": """
        select project_id, party, name from access
        except
        select project_id, party, held.key from projects,
               jsonb_each(access) as parties (party, holders), jsonb_each(holders) as held""",
    "what a project leaves behind": " union all ".join(
        f"select '{table}', project_id from {table} where project_id not in (select project_id from projects)"
        for table in (
            "access", "watches", "boards", "refs", "issues", "issue_comments", "issue_files", "issue_subscriptions",
            "issue_tags", "issue_counts", "pull_requests", "pull_request_comments", "pull_request_subscriptions",
            "pull_request_counts", "commit_flags",
        )
    ),
    "tasks that nobody is at": "select task_id, kind from tasks where ended_at is null",
}  # fmt: skip
RECORDED = "select data::text as text from events union all select body::text from commands"
PAGES = ("/projects?per_page=100", "/groups?per_page=100", "/users")
OF_A_PROJECT = (
    "",
    "/issues?status=all&per_page=100",
    "/pull-requests?status=all",
    "/tags",
    "/watchers",
    "/git/branches",
)


class Checks(Boards, Pulls, Refs, Hooks):
    @rule(path=projects, name=st.sampled_from(EVERYBODY), whole=st.sampled_from((False, False, False, True)))
    @asks()
    def look_around(self, path: str, name: str, whole: bool) -> None:
        project = self.project(path)
        if project is None:
            assert self.get(f"/{path}").status == 404
            return
        self.run(self.forge.idle())
        self.tracker_is(project, name)
        self.requests_are(project)
        self.project_listings_are(3)
        if whole:
            self.rebuilt()

    def look_back(self) -> None:
        self.run(self.forge.idle())
        for project in self.model.projects.values():
            self.sees_it(project)
            self.access_is(project)
            self.tracker_is(project, ADMIN)
            self.tracker_is(project, NOBODY)
            self.visible_issues_are(project)
            self.requests_are(project)
            self.branches_are(project)
            self.watchers_are(project)
            self.plugins_are(project)
            self.boards_are(project)
            assert set(self.shown(f"/{project.path}/tags")["tags"]) == project.tags
        self.project_listings_are(100)
        for name in PEOPLE:
            self.user_pages_are(name)
            self.feed_is(name)
        self.group_pages_are()
        self.rebuilt()

    def rebuilt(self) -> None:
        """The rows of every table and the pages made of them are what the log says, told again."""
        self.run(self.forge.idle())
        for what, disagree in AGREE.items():
            rows = self.run(self.forge.db.fetch(disagree))
            assert not rows, (what, rows)
        before, pages = self.run(self.forge.rows()), self.pages()
        assert SECRET not in f"{before}{pages}{self.run(self.forge.db.fetch(RECORDED))}"
        self.run(rebuild.rebuild(self.forge.db))
        after = self.run(self.forge.rows())
        assert before.keys() == after.keys()
        for table, rows in before.items():
            assert rows == after[table], table
        assert self.pages() == pages

    def views(self, paths: Iterable[str], who: str = ADMIN) -> list[Any]:
        """Several pages at once."""

        async def views() -> list[Any]:
            return [answer.body for answer in await asyncio.gather(*(self.look(path, who) for path in paths))]

        return self.run(views())

    def pages(self) -> list[Any]:
        projects = [f"/{path}{page}" for path in self.model.projects for page in OF_A_PROJECT]
        return self.views([*PAGES, *projects, *(f"/user/{name}" for name in PEOPLE)])

    def sees_it(self, project: Project) -> None:
        for name in EVERYBODY:
            expected = 200 if self.model.sees(name, project) else 404
            assert self.get(f"/{project.path}", name).status == expected, (name, project)

    def tracker_is(self, project: Project, name: str) -> None:
        """The listing of issues is what somebody may see of the model's, each as its own page shows it."""
        listing = self.get(f"/{project.path}/issues?status=all&per_page=100", name)
        if not (project.tracker and self.model.sees(name, project)):
            assert listing.status == 404
            return
        found = listing.body["issues"]
        seen = {n: issue for n, issue in project.issues.items() if self.model.sees_issue(name, project, issue)}
        assert [each["id"] for each in found] == sorted(seen, reverse=True), (name, project)
        assert found == self.views([f"/{project.path}/issue/{each['id']}" for each in found], name)
        for each in found:
            self.is_shown(project, each["id"], each)
        for number in project.issues.keys() - seen.keys():
            assert self.get(f"/{project.path}/issue/{number}", name).status == 403
        listings = self.views((f"/{project.path}/issues?per_page=100&{query}" for query in FILTERS), name)
        for (query, wanted), narrowed in zip(FILTERS.items(), listings, strict=True):
            numbers = sorted((n for n, issue in seen.items() if wanted(issue)), reverse=True)
            assert [each["id"] for each in narrowed["issues"]] == numbers, (query, name, project)

    def visible_issues_are(self, project: Project) -> None:
        """Everybody is listed what they may see, and nothing else."""
        if not project.tracker:
            return
        for name in EVERYBODY:
            if self.model.sees(name, project):
                found = self.shown(f"/{project.path}/issues?status=all&per_page=100", name)["issues"]
                seen = {n for n, issue in project.issues.items() if self.model.sees_issue(name, project, issue)}
                assert {each["id"] for each in found} == seen, (name, project)

    def requests_are(self, project: Project) -> None:
        listing = self.get(f"/{project.path}/pull-requests?status=all&per_page=100")
        if not project.requests:
            assert listing.status == 404
            return
        found = listing.body["requests"]
        assert [each["id"] for each in found] == sorted(project.pulls, reverse=True)
        assert listing.body["total_requests"] == len(project.pulls)
        assert found == self.views(f"/{project.path}/pull-request/{each['id']}" for each in found)
        for each in found:
            self.request_is_shown(project, each["id"], each)
        for status in ("Open", "Closed", "Merged"):
            narrowed = self.shown(f"/{project.path}/pull-requests?status={status}")
            assert narrowed["total_requests"] == [pull.status for pull in project.pulls.values()].count(status)

    def watchers_are(self, project: Project) -> None:
        expected = {name: ["issues"] for name in (project.owner, *(_watcher(*holder) for holder in project.grants))}
        expected |= project.watches
        shown = self.shown(f"/{project.path}/watchers")["watchers"]
        assert shown == {name: levels for name, levels in expected.items() if levels}

    def project_listings_are(self, size: int) -> None:
        """The listings of projects, page by page: all that are public, each as its own page shows it."""
        public = sorted((path.rpartition("/")[2].lower(), path) for path, it in self.model.projects.items()
                        if not it.private)  # fmt: skip
        found: list[Any] = []
        for page in range(1, len(public) // size + 2):
            listing = self.shown(f"/projects?per_page={size}&page={page}", NOBODY)
            assert listing["total_projects"] == len(public)
            found += listing["projects"]
        assert sorted(each["url_path"] for each in found) == sorted(path for _, path in public)
        assert [each["name"].lower() for each in found] == [name for name, _ in public]
        assert found == self.views((f"/{each['url_path']}" for each in found), NOBODY)
        for query, wanted in (
            ("fork=1", lambda it: it.forker is not None),
            ("owner=alice", lambda it: it.owner == "alice"),
            ("username=bob", lambda it: self.belongs("bob", it)),
        ):
            narrowed = self.shown(f"/projects?per_page=100&{query}")["projects"]
            expected = {path for path, it in self.model.projects.items() if not it.private and wanted(it)}
            assert {each["url_path"] for each in narrowed} == expected, query

    def belongs(self, name: str, project: Project) -> bool:
        """Whether they own it or may write to it."""
        writers = {holder for holder, level in project.grants.items() if level != "ticket"}
        groups = {("group", group) for group, members in self.model.groups.items() if name in members}
        return project.owner == name or ("user", name) in writers or bool(groups & writers)

    def user_pages_are(self, name: str) -> None:
        page = self.shown(f"/user/{name}?per_page=100")
        theirs = {path: it for path, it in self.model.projects.items() if not it.private and self.belongs(name, it)}
        for key, forked in (("repos", False), ("forks", True)):
            expected = {path for path, it in theirs.items() if (it.forker is not None) == forked}
            assert {each["url_path"] for each in page[key]} == expected, (key, name)
        for who in EVERYBODY:
            listing = self.shown(f"/user/{name}/issues?status=all&per_page=100", who)
            for key, column in (("created", "author"), ("assigned", "assignee")):
                shown = {(each["project"]["url_path"], each["id"]) for each in listing[f"issues_{key}"]}
                expected_issues = {
                    (path, number)
                    for path, it in self.model.projects.items() if self.model.sees(who, it)
                    for number, issue in it.issues.items()
                    if getattr(issue, column) == name and self.model.sees_issue(who, it, issue)
                }  # fmt: skip
                assert shown == expected_issues, (name, who, key)

    def group_pages_are(self) -> None:
        assert set(self.shown("/groups?per_page=100")["groups"]) == self.model.groups.keys()
        for group in self.model.groups:
            self.members_are(group)
            for who in EVERYBODY:
                found = self.shown(f"/group/{group}?projects=1&per_page=100", who)["projects"]
                expected = {
                    path for path, it in self.model.projects.items()
                    if ("group", group) in it.grants and self.model.sees(who, it)
                }  # fmt: skip
                assert {each["url_path"] for each in found} == expected, (group, who)

    def feed_is(self, name: str) -> None:
        """Nobody reads of what they may not see."""
        events = self.run(self.tokens[name, "whole"].get("/v1/events?limit=1000"))[1]["events"]
        for event in events:
            project = self.project(event["project"]["path"]) if event["project"] else None
            if project is None:
                continue
            assert self.model.sees(name, project), (name, event)
            issue = project.issues.get(event["data"].get("number", 0))
            if issue is not None and event["type"].startswith("issue."):
                assert self.model.sees_issue(name, project, issue), (name, event)


def _watcher(party: str, name: str) -> str:
    return name if party == "user" else f"@{name}"


def _open(issue: Issue) -> bool:
    return issue.status == "Open"


FILTERS = {
    "status=Open": _open,
    "status=Closed": lambda issue: not _open(issue),
    "tags=pet": lambda issue: _open(issue) and "pet" in issue.tags,
    "tags=!pet": lambda issue: _open(issue) and "pet" not in issue.tags,
    "assignee=bob": lambda issue: _open(issue) and issue.assignee == "bob",
    "author=alice": lambda issue: _open(issue) and issue.author == "alice",
    "milestones=v1": lambda issue: _open(issue) and issue.milestone == "v1",
    "no_stones=1": lambda issue: _open(issue) and issue.milestone is None,
}
