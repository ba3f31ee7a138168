"""Rules for issues: opening, commenting, changing and closing."""

import uuid
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

from app.actor import Actor
from app.core import commands
from app.core.issue_metadata import AddDependency, AssignIssue, ChangeIssueStatus, SetCustomFields, SetMilestone
from app.core.issues import CommentOnIssue, EditIssue, OpenIssue, SubscribeToIssue
from app.errors import Refused
from tests.walk.model import COMMIT, PEOPLE, TICKET, Issue, Project
from tests.walk.people import people, usernames
from tests.walk.projects import MILESTONES, TAGS
from tests.walk.world import Who, World, exercises, issues, projects

tags = st.sets(st.sampled_from(TAGS), max_size=2)
assignees = st.sampled_from((*PEOPLE, ""))


class Tracker(World):
    def issue(self, at: tuple[str, int]) -> Issue | None:
        """Return the issue, unless its project was deleted; another project may have the path by now."""
        project = self.project(at[0])
        return project.issues.get(at[1]) if project else None

    def may_change(self, who: Who, at: tuple[str, int], *others: str | None, level: int = TICKET) -> bool:
        """Whether the user has the level or is one of `others`, and the issue is visible and the tracker writable."""
        project, issue = self.project(at[0]), self.issue(at)
        if project is None or issue is None or not project.tracker or project.read_only:
            return False
        open_to_all = level == TICKET and project.open_metadata
        held = self.model.level(who.name, project) >= level or who.name in others or open_to_all
        return held and self.model.may_see_issue(who.name, project, issue)

    def change(self, who: Who, at: tuple[str, int], end: str, *, allowed: bool, **form: Any) -> Any | None:
        """Change an issue and return it as it is shown then; None if the change was refused."""
        path, number = at
        if not self.post(who, path, f"/issue/{number}{end}", allowed=allowed, **form).accepted:
            return None
        return self.view(f"/{path}/issue/{number}")

    @rule(
        target=issues, who=people, path=projects, title=st.sampled_from(("Dog", "Cat")), private=st.booleans(),
        wanted=tags, assignee=assignees, milestone=st.sampled_from((*MILESTONES, "")),
    )  # fmt: skip
    @exercises(OpenIssue)
    def open_issue(
        self, who: Who, path: str, title: str, private: bool, wanted: set[str], assignee: str, milestone: str
    ) -> Any:
        project = self.project(path)
        form = {"title": title, "issue_content": "c", "tag": ",".join(sorted(wanted)), "private": str(int(private))}
        form |= {"assignee": assignee, "milestone": milestone, "priority": "1" if milestone else ""}
        may = project is not None and project.tracker and not project.read_only
        answer = self.post(who, path, "/new_issue", allowed=may, **form)
        if not answer.accepted or project is None:
            return multiple()
        number = answer.body["issue"]["id"]
        assert number == project.numbers + 1
        project.issues[number] = Issue(who.name, title, private, wanted, assignee or None, milestone or None)
        project.tags |= wanted
        self.check_issue(project, number, self.view(f"/{path}/issue/{number}"))
        return path, number

    def check_issue(self, project: Project, number: int, shown: Any) -> None:
        """Compare the model's issue with the page that shows it."""
        issue = project.issues[number]
        assert shown["id"] == number
        for name in ("title", "private", "status", "milestone"):
            assert shown[name] == getattr(issue, name), (name, issue, shown)
        assert shown["user"]["name"] == issue.author
        assert (shown["assignee"] or {}).get("name") == issue.assignee, (issue, shown)
        assert set(shown["tags"]) == issue.tags, (issue, shown)
        assert {each["board"]["name"]: each["status"]["name"] for each in shown.get("boards", ())} == issue.boards
        assert {int(each) for each in shown["depends"]} == issue.depends, (issue, shown)
        assert {each["name"]: each["value"] for each in shown["custom_fields"]}.items() <= issue.fields.items()
        assert len([each for each in shown["comments"] if not each["notification"]]) == issue.comments

    @rule(who=people, at=issues)
    @exercises(CommentOnIssue)
    def comment_on_issue(self, who: Who, at: tuple[str, int]) -> None:
        issue, text = self.issue(at), f"walk {self.requests}"
        may = self.may_change(who, at, who.name)
        shown = self.change(who, at, "/comment", allowed=may, comment=text)
        if shown and issue:
            issue.comments += 1
            assert shown["comments"][-1]["comment"] == text

    @rule(who=people, at=issues, status=st.sampled_from(("Open", "Closed", "Fixed")))
    @exercises(ChangeIssueStatus)
    def change_status(self, who: Who, at: tuple[str, int], status: str) -> None:
        issue = self.issue(at)
        may = issue is not None and self.may_change(who, at, issue.author, issue.assignee)
        shown = self.change(who, at, "/status", allowed=may, status=status)
        if shown and issue:
            issue.status = "Open" if status == "Open" else "Closed"
            assert (shown["status"], shown["close_status"]) == (issue.status, "Fixed" if status == "Fixed" else None)

    @rule(who=people, at=issues, milestone=st.sampled_from((*MILESTONES, "")))
    @exercises(SetMilestone)
    def set_milestone(self, who: Who, at: tuple[str, int], milestone: str) -> None:
        issue = self.issue(at)
        shown = self.change(who, at, "/milestone", allowed=self.may_change(who, at), milestone=milestone)
        if shown and issue:
            issue.milestone = milestone or None
            assert shown["milestone"] == issue.milestone

    @rule(who=people, at=issues, assignee=assignees)
    @exercises(AssignIssue)
    def assign_issue(self, who: Who, at: tuple[str, int], assignee: str) -> None:
        issue = self.issue(at)
        may = issue is not None and self.may_change(who, at, issue.assignee)
        shown = self.change(who, at, "/assign", allowed=may, assignee=assignee)
        if shown and issue:
            issue.assignee = assignee or None
            assert (shown["assignee"] or {}).get("name") == issue.assignee

    @rule(who=people, at=issues, reviewer=assignees, docs=st.sampled_from(("", "https://a.example", "no link")))
    @exercises(SetCustomFields)
    def set_custom_fields(self, who: Who, at: tuple[str, int], reviewer: str, docs: str) -> None:
        issue, may = self.issue(at), self.may_change(who, at) and docs != "no link"
        shown = self.change(who, at, "/custom", allowed=may, reviewer=reviewer, docs=docs)
        if shown and issue:
            issue.fields = {name: value for name, value in (("reviewer", reviewer), ("docs", docs)) if value}

    @rule(who=people, at=issues, wanted=st.booleans())
    @exercises(SubscribeToIssue)
    def subscribe_to_issue(self, who: Who, at: tuple[str, int], wanted: bool) -> None:
        self.change(who, at, "/subscribe", allowed=self.may_change(who, at, who.name), status=str(int(wanted)))

    @rule(who=people, at=issues, title=st.sampled_from(("Dog", "Big dog")))
    @exercises(EditIssue)
    def edit_issue(self, who: Who, at: tuple[str, int], title: str) -> None:
        issue = self.issue(at)
        may = issue is not None and self.may_change(who, at, issue.author, level=COMMIT)
        shown = self.change(who, at, "", allowed=may, title=title, issue_content="other")
        if shown and issue:
            issue.title = title
            assert (shown["title"], shown["content"]) == (title, "other")

    @rule(name=usernames, at=issues, other=issues)
    @exercises(AddDependency)
    def add_dependency(self, name: str, at: tuple[str, int], other: tuple[str, int]) -> None:
        """Execute the command directly: no dialect offers it yet."""
        issue = self.issue(at)
        if issue is None:
            return
        project_id = self.view(f"/{at[0]}")["id"]
        command = AddDependency(project_id=project_id, number=at[1], depends_on=other[1])
        try:
            self.run(commands.execute(self.forge.db, Actor(name), command, command_id=uuid.uuid4()))
        except Refused:
            return
        assert self.may_change(Who(name), at)
        project = self.project(at[0])
        assert project is not None
        assert not project.depends_on(other[1], at[1])
        issue.depends.add(other[1])
        assert str(other[1]) in self.view(f"/{at[0]}/issue/{at[1]}")["depends"]
