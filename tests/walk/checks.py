"""Invariants of every walk: listings agree with single views, rows with the log, and everything with the model."""

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
from tests.walk.world import SECRET, exercises, projects

# Queries that compare redundant columns and counts with their source. None may return a row.
CONSISTENCY_CHECKS = {
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
    "grants, reversed": """
        select project_id, party, name from access
        except
        select project_id, party, held.key from projects,
               jsonb_each(access) as parties (party, holders), jsonb_each(holders) as held""",
    "rows of deleted projects": " union all ".join(
        f"select '{table}', project_id from {table} where project_id not in (select project_id from projects)"
        for table in (
            "access", "watches", "boards", "refs", "issues", "issue_comments", "issue_files", "issue_subscriptions",
            "issue_tags", "issue_counts", "pull_requests", "pull_request_comments", "pull_request_subscriptions",
            "pull_request_counts", "commit_flags",
        )
    ),
    "unfinished tasks": "select task_id, kind from tasks where ended_at is null",
}  # fmt: skip
RECORDED = "select data::text as text from events union all select body::text from commands"
PAGES = ("/projects?per_page=100", "/groups?per_page=100", "/users")
PROJECT_PAGES = (
    "",
    "/issues?status=all&per_page=100",
    "/pull-requests?status=all",
    "/tags",
    "/watchers",
    "/git/branches",
)


class Checks(Boards, Pulls, Refs, Hooks):
    @rule(path=projects, name=st.sampled_from(EVERYBODY), whole=st.sampled_from((False, False, False, True)))
    @exercises()
    def check_project(self, path: str, name: str, whole: bool) -> None:
        project = self.project(path)
        if project is None:
            assert self.get(f"/{path}").status == 404
            return
        self.run(self.forge.idle())
        self.check_tracker(project, name)
        self.check_pull_requests(project)
        self.check_project_listings(3)
        if whole:
            self.check_rebuild()

    def check_everything(self) -> None:
        self.run(self.forge.idle())
        for project in self.model.projects.values():
            self.check_visibility(project)
            self.check_access(project)
            self.check_tracker(project, ADMIN)
            self.check_tracker(project, NOBODY)
            self.check_visible_issues(project)
            self.check_pull_requests(project)
            self.check_branches(project)
            self.check_watchers(project)
            self.check_plugins(project)
            self.check_boards(project)
            assert set(self.view(f"/{project.path}/tags")["tags"]) == project.tags
        self.check_project_listings(100)
        for name in PEOPLE:
            self.check_user_pages(name)
            self.check_feed(name)
        self.check_group_pages()
        self.check_rebuild()

    def check_rebuild(self) -> None:
        """A rebuild from the log changes neither the rows of any table nor the pages made of them."""
        self.run(self.forge.idle())
        for what, disagree in CONSISTENCY_CHECKS.items():
            rows = self.run(self.forge.db.fetch(disagree))
            assert not rows, (what, rows)
        before, pages = self.run(self.forge.rows()), self.view_pages()
        assert SECRET not in f"{before}{pages}{self.run(self.forge.db.fetch(RECORDED))}"
        self.run(rebuild.rebuild(self.forge.db))
        after = self.run(self.forge.rows())
        assert before.keys() == after.keys()
        for table, rows in before.items():
            assert rows == after[table], table
        assert self.view_pages() == pages

    def view_all(self, paths: Iterable[str], who: str = ADMIN) -> list[Any]:
        """View several pages at once."""

        async def view_all() -> list[Any]:
            return [answer.body for answer in await asyncio.gather(*(self.fetch(path, who) for path in paths))]

        return self.run(view_all())

    def view_pages(self) -> list[Any]:
        projects = [f"/{path}{page}" for path in self.model.projects for page in PROJECT_PAGES]
        return self.view_all([*PAGES, *projects, *(f"/user/{name}" for name in PEOPLE)])

    def check_visibility(self, project: Project) -> None:
        for name in EVERYBODY:
            expected = 200 if self.model.may_read(name, project) else 404
            assert self.get(f"/{project.path}", name).status == expected, (name, project)

    def check_tracker(self, project: Project, name: str) -> None:
        """The listing shows the issues that the user may see, each as its own page does, and filters work."""
        listing = self.get(f"/{project.path}/issues?status=all&per_page=100", name)
        if not (project.tracker and self.model.may_read(name, project)):
            assert listing.status == 404
            return
        found = listing.body["issues"]
        seen = {n: issue for n, issue in project.issues.items() if self.model.may_see_issue(name, project, issue)}
        assert [each["id"] for each in found] == sorted(seen, reverse=True), (name, project)
        assert found == self.view_all([f"/{project.path}/issue/{each['id']}" for each in found], name)
        for each in found:
            self.check_issue(project, each["id"], each)
        for number in project.issues.keys() - seen.keys():
            assert self.get(f"/{project.path}/issue/{number}", name).status == 403
        listings = self.view_all((f"/{project.path}/issues?per_page=100&{query}" for query in FILTERS), name)
        for (query, wanted), narrowed in zip(FILTERS.items(), listings, strict=True):
            numbers = sorted((n for n, issue in seen.items() if wanted(issue)), reverse=True)
            assert [each["id"] for each in narrowed["issues"]] == numbers, (query, name, project)

    def check_visible_issues(self, project: Project) -> None:
        """The listing shows every user exactly the issues that they may see."""
        if not project.tracker:
            return
        for name in EVERYBODY:
            if self.model.may_read(name, project):
                found = self.view(f"/{project.path}/issues?status=all&per_page=100", name)["issues"]
                seen = {n for n, issue in project.issues.items() if self.model.may_see_issue(name, project, issue)}
                assert {each["id"] for each in found} == seen, (name, project)

    def check_pull_requests(self, project: Project) -> None:
        listing = self.get(f"/{project.path}/pull-requests?status=all&per_page=100")
        if not project.requests:
            assert listing.status == 404
            return
        found = listing.body["requests"]
        assert [each["id"] for each in found] == sorted(project.pulls, reverse=True)
        assert listing.body["total_requests"] == len(project.pulls)
        assert found == self.view_all(f"/{project.path}/pull-request/{each['id']}" for each in found)
        for each in found:
            self.check_pull_request(project, each["id"], each)
        for status in ("Open", "Closed", "Merged"):
            narrowed = self.view(f"/{project.path}/pull-requests?status={status}")
            assert narrowed["total_requests"] == [pull.status for pull in project.pulls.values()].count(status)

    def check_watchers(self, project: Project) -> None:
        expected = {
            name: ["issues"] for name in (project.owner, *(_name_watcher(*holder) for holder in project.grants))
        }
        expected |= project.watches
        shown = self.view(f"/{project.path}/watchers")["watchers"]
        assert shown == {name: levels for name, levels in expected.items() if levels}

    def check_project_listings(self, size: int) -> None:
        """The pages of the listing show all public projects, each as its own page does, and filters work."""
        public = sorted((path.rpartition("/")[2].lower(), path) for path, it in self.model.projects.items()
                        if not it.private)  # fmt: skip
        found: list[Any] = []
        for page in range(1, len(public) // size + 2):
            listing = self.view(f"/projects?per_page={size}&page={page}", NOBODY)
            assert listing["total_projects"] == len(public)
            found += listing["projects"]
        assert sorted(each["url_path"] for each in found) == sorted(path for _, path in public)
        assert [each["name"].lower() for each in found] == [name for name, _ in public]
        assert found == self.view_all((f"/{each['url_path']}" for each in found), NOBODY)
        for query, wanted in (
            ("fork=1", lambda it: it.forker is not None),
            ("owner=alice", lambda it: it.owner == "alice"),
            ("username=bob", lambda it: self.has_write_access("bob", it)),
        ):
            narrowed = self.view(f"/projects?per_page=100&{query}")["projects"]
            expected = {path for path, it in self.model.projects.items() if not it.private and wanted(it)}
            assert {each["url_path"] for each in narrowed} == expected, query

    def has_write_access(self, name: str, project: Project) -> bool:
        """Whether the user owns the project or may write to it."""
        writers = {holder for holder, level in project.grants.items() if level != "ticket"}
        groups = {("group", group) for group, members in self.model.groups.items() if name in members}
        return project.owner == name or ("user", name) in writers or bool(groups & writers)

    def check_user_pages(self, name: str) -> None:
        page = self.view(f"/user/{name}?per_page=100")
        theirs = {
            path: it for path, it in self.model.projects.items() if not it.private and self.has_write_access(name, it)
        }
        for key, forked in (("repos", False), ("forks", True)):
            expected = {path for path, it in theirs.items() if (it.forker is not None) == forked}
            assert {each["url_path"] for each in page[key]} == expected, (key, name)
        for who in EVERYBODY:
            listing = self.view(f"/user/{name}/issues?status=all&per_page=100", who)
            for key, column in (("created", "author"), ("assigned", "assignee")):
                shown = {(each["project"]["url_path"], each["id"]) for each in listing[f"issues_{key}"]}
                expected_issues = {
                    (path, number)
                    for path, it in self.model.projects.items() if self.model.may_read(who, it)
                    for number, issue in it.issues.items()
                    if getattr(issue, column) == name and self.model.may_see_issue(who, it, issue)
                }  # fmt: skip
                assert shown == expected_issues, (name, who, key)

    def check_group_pages(self) -> None:
        assert set(self.view("/groups?per_page=100")["groups"]) == self.model.groups.keys()
        for group in self.model.groups:
            self.check_members(group)
            for who in EVERYBODY:
                found = self.view(f"/group/{group}?projects=1&per_page=100", who)["projects"]
                expected = {
                    path for path, it in self.model.projects.items()
                    if ("group", group) in it.grants and self.model.may_read(who, it)
                }  # fmt: skip
                assert {each["url_path"] for each in found} == expected, (group, who)

    def check_feed(self, name: str) -> None:
        """The feed shows no event of a project or issue that the user may not see."""
        events = self.run(self.tokens[name, "whole"].get("/v1/events?limit=1000"))[1]["events"]
        for event in events:
            project = self.project(event["project"]["path"]) if event["project"] else None
            if project is None:
                continue
            assert self.model.may_read(name, project), (name, event)
            issue = project.issues.get(event["data"].get("number", 0))
            if issue is not None and event["type"].startswith("issue."):
                assert self.model.may_see_issue(name, project, issue), (name, event)


def _name_watcher(party: str, name: str) -> str:
    return name if party == "user" else f"@{name}"


def _is_open(issue: Issue) -> bool:
    return issue.status == "Open"


FILTERS = {
    "status=Open": _is_open,
    "status=Closed": lambda issue: not _is_open(issue),
    "tags=pet": lambda issue: _is_open(issue) and "pet" in issue.tags,
    "tags=!pet": lambda issue: _is_open(issue) and "pet" not in issue.tags,
    "assignee=bob": lambda issue: _is_open(issue) and issue.assignee == "bob",
    "author=alice": lambda issue: _is_open(issue) and issue.author == "alice",
    "milestones=v1": lambda issue: _is_open(issue) and issue.milestone == "v1",
    "no_stones=1": lambda issue: _is_open(issue) and issue.milestone is None,
}
