"""Rules for pull requests: opening, voting, merging, rebasing and flagging."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

from app.core.commit_references import ApplyCommitReference
from app.core.flags import FlagCommit
from app.core.merges import MergePullRequest, RebasePullRequest
from app.core.pull_requests import (
    AssignPullRequest,
    ClosePullRequest,
    CommentOnPullRequest,
    EditPullRequest,
    OpenPullRequest,
    ReopenPullRequest,
    SubscribeToPullRequest,
)
from app.core.refs import RecordRefs
from tests.walk.model import COMMIT, READ, TICKET, Project, Pull
from tests.walk.people import people
from tests.walk.projects import BRANCHES, REFERENCES_PLUGIN, Projects, split_path
from tests.walk.tracker import assignees
from tests.walk.world import Answer, Who, exercises, projects, pulls

MERGED_BEFORE = "Nothing to do, changes were already merged"


class Pulls(Projects):
    def pull(self, at: tuple[str, int]) -> Pull | None:
        project = self.project(at[0])
        return project.pulls.get(at[1]) if project else None

    def may_change_pull_request(self, who: Who, at: tuple[str, int], level: int, *others: str | None) -> bool:
        project = self.project(at[0])
        if project is None or at[1] not in project.pulls or not project.requests:
            return False
        return self.model.level(who.name, project) >= level or who.name in others

    def change_pull_request(self, who: Who, at: tuple[str, int], end: str, *, allowed: bool, **form: Any) -> Any | None:
        """Change a pull request and return it as it is shown then; None if the change was refused."""
        path, number = at
        if not self.post(who, path, f"/pull-request/{number}{end}", allowed=allowed, **form).accepted:
            return None
        return self.view(f"/{path}/pull-request/{number}")

    @rule(target=pulls, who=people, path=projects, source=projects, branch=st.sampled_from(BRANCHES))
    @exercises(OpenPullRequest)
    def open_pull_request(self, who: Who, path: str, source: str, branch: str) -> Any:
        target, origin = self.project(path), self.project(source)
        form = {f"repo_from{'' if name == 'repo' else f'_{name}'}": value for name, value in split_path(source).items()}
        form |= {"title": "Change", "branch_to": "main", "branch_from": branch, "initial_comment": "Please"}
        if target is None or origin is None:
            return multiple()
        self.run(self.forge.idle())  # a repository may not have been created yet
        may = target.requests and self.model.level(who.name, origin) >= COMMIT and branch in origin.branches
        # The token must be valid for the source.
        whole = who if who.token == "other" else who._replace(token="whole")
        answer = self.post(whole, path, "/pull-request/new", allowed=may, **form, allow_rebase="1")
        if not answer.accepted:
            return multiple()
        number = answer.body["id"]
        assert number == target.numbers + 1
        target.pulls[number] = Pull(who.name, "Change")
        assert self.view(f"/pull-requests/{answer.body['uid']}")["id"] == number
        return path, number

    def check_pull_request(self, project: Project, number: int, shown: Any) -> None:
        pull = project.pulls[number]
        assert (shown["id"], shown["title"], shown["status"]) == (number, pull.title, pull.status), (pull, shown)
        assert (shown["user"]["name"], (shown["assignee"] or {}).get("name")) == (pull.author, pull.assignee)
        assert len([each for each in shown["comments"] if not each["notification"]]) == pull.comments

    @rule(who=people, at=pulls, text=st.sampled_from(("Hm", "+1", "-1")), line=st.booleans())
    @exercises(CommentOnPullRequest)
    def comment_on_pull_request(self, who: Who, at: tuple[str, int], text: str, line: bool) -> None:
        form = {"commit": "0" * 40, "filename": "own", "row": "3", "tree_id": "1" * 40} if line else {}
        shown = self.change_pull_request(
            who, at, "/comment", allowed=self.may_change_pull_request(who, at, READ), comment=text, **form
        )
        pull = self.pull(at)
        if shown and pull:
            pull.comments += 1
            assert (shown["comments"][-1]["comment"], shown["comments"][-1]["line"]) == (text, 3 if line else None)

    @rule(who=people, at=pulls, title=st.sampled_from(("Change", "Better change")))
    @exercises(EditPullRequest)
    def edit_pull_request(self, who: Who, at: tuple[str, int], title: str) -> None:
        pull = self.pull(at)
        may = pull is not None and self.may_change_pull_request(who, at, TICKET, pull.author, pull.assignee)
        shown = self.change_pull_request(who, at, "", allowed=may, title=title, initial_comment="so")
        if shown and pull:
            pull.title = title
            assert (shown["title"], shown["initial_comment"]) == (title, "so")

    @rule(who=people, at=pulls, assignee=assignees)
    @exercises(AssignPullRequest)
    def assign_pull_request(self, who: Who, at: tuple[str, int], assignee: str) -> None:
        pull = self.pull(at)
        may = pull is not None and self.may_change_pull_request(who, at, TICKET, pull.assignee)
        shown = self.change_pull_request(who, at, "/assign", allowed=may, assignee=assignee)
        if shown and pull:
            pull.assignee = assignee or None
            assert (shown["assignee"] or {}).get("name") == pull.assignee

    @rule(who=people, at=pulls)
    @exercises(ClosePullRequest)
    def close_pull_request(self, who: Who, at: tuple[str, int]) -> None:
        pull = self.pull(at)
        may = (
            pull is not None and pull.status != "Merged" and self.may_change_pull_request(who, at, COMMIT, pull.author)
        )
        shown = self.change_pull_request(who, at, "/close", allowed=may)
        if shown and pull:
            pull.status = shown["status"]
            assert pull.status == "Closed"

    @rule(who=people, at=pulls)
    @exercises(ReopenPullRequest)
    def reopen_pull_request(self, who: Who, at: tuple[str, int]) -> None:
        pull = self.pull(at)
        may = (
            pull is not None and pull.status == "Closed" and self.may_change_pull_request(who, at, COMMIT, pull.author)
        )
        shown = self.change_pull_request(who, at, "/reopen", allowed=may)
        if shown and pull:
            pull.status = shown["status"]
            assert pull.status == "Open"

    @rule(who=people, at=pulls, wait=st.booleans())
    @exercises(MergePullRequest, RecordRefs, ApplyCommitReference)
    def merge_pull_request(self, who: Who, at: tuple[str, int], wait: bool) -> None:
        pull, may = self.pull(at), self.may_change_pull_request(who, at, COMMIT)
        address, form = f"/pull-request/{at[1]}/merge", {"wait": str(int(wait))}
        asked = self.post(who, at[0], address, allowed=may, **form)
        if pull is None:
            return
        if not wait:
            self.run(self.forge.idle())
            pull.status = self.view(f"/{at[0]}/pull-request/{at[1]}")["status"] if asked.accepted else pull.status
        elif asked.accepted or asked.body.get("errors") == MERGED_BEFORE:
            assert pull.status == "Open"
            pull.status = "Merged"
        self._apply_commit_references(at[0])

    def _apply_commit_references(self, path: str) -> None:
        """Copy what the commits of a merge have done, if the project applies commit references."""
        project = self.project(path)
        if project is not None and REFERENCES_PLUGIN in project.plugins:
            self.run(self.forge.idle())
            self.copy_statuses(project)

    @rule(who=people, at=pulls)
    @exercises(RebasePullRequest, RecordRefs)
    def rebase_pull_request(self, who: Who, at: tuple[str, int]) -> None:
        pull = self.pull(at)
        # Those who may write to its source may rebase it; the model does not know them.
        shown = self.change_pull_request(who, at, "/rebase", allowed=pull is not None and pull.status == "Open")
        assert not shown or shown["status"] == "Open"

    @rule(who=people, at=pulls, wanted=st.booleans())
    @exercises(SubscribeToPullRequest)
    def subscribe_to_pull_request(self, who: Who, at: tuple[str, int], wanted: bool) -> None:
        self.change_pull_request(
            who, at, "/subscribe", allowed=self.may_change_pull_request(who, at, READ), status=str(int(wanted))
        )

    @rule(who=people, at=pulls, uid=st.sampled_from(("ci", "lint")), percent=st.sampled_from(("0", "50", "100")))
    @exercises(FlagCommit)
    def flag_pull_request(self, who: Who, at: tuple[str, int], uid: str, percent: str) -> None:
        form = {"username": "CI", "comment": "Tests", "url": "https://ci.example/1", "uid": uid, "percent": percent}
        if self.change_pull_request(who, at, "/flag", allowed=self.may_change_pull_request(who, at, READ), **form):
            shown = self.view(f"/{at[0]}/pull-request/{at[1]}/flag")["flags"]
            assert int(percent) in [each["percent"] for each in shown]

    @rule(who=people, path=projects, status=st.sampled_from(("success", "failure")))
    @exercises(FlagCommit)
    def flag_commit(self, who: Who, path: str, status: str) -> None:
        commits = self.get(f"/{path}/git/branches?with_commits=1")
        heads: dict[str, str] = commits.body["branches"] if commits.status == 200 else {}
        for head in sorted(heads)[:1]:
            form = {"username": "CI", "comment": "Tests", "url": "https://ci.example/2", "uid": "push"}
            address = f"/c/{heads[head]}/flag"
            answer: Answer = self.post(who, path, address, status=status, **form)
            if answer.accepted:
                flags = self.view(f"/{path}{address}")["flags"]
                assert [each["status"] for each in flags if each["comment"] == "Tests"].count(status)
