"""Rules for branches, tags and aliases that are created through the API, and for the default branch."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from app.core.commit_references import ApplyCommitReference
from app.core.refs import RecordRefs
from tests.walk.model import ADMINISTER, COMMIT
from tests.walk.people import people
from tests.walk.projects import ALIAS, BRANCHES, Projects
from tests.walk.world import Who, exercises, projects

branches = st.sampled_from(("main", *BRANCHES))


class Refs(Projects):
    def move(self, who: Who, path: str, end: str, level: int, *, allowed: bool = True, **form: str) -> bool:
        """Change the refs of a project and return whether it was accepted."""
        self.run(self.forge.idle())  # the repository may not have been created yet
        may = allowed and self.has_level(who, path, level)
        run_every_rule = self.post(who, path, end, allowed=may, **form).accepted
        project = self.project(path)
        if run_every_rule and project:
            self.check_branches(project)
        return run_every_rule

    @rule(who=people, path=projects, name=st.sampled_from(("fresh", *BRANCHES)), start=branches)
    @exercises(RecordRefs, ApplyCommitReference)
    def create_branch(self, who: Who, path: str, name: str, start: str) -> None:
        project = self.project(path)
        may = project is not None and start in project.branches and name not in project.branches
        if may and project and self.has_level(who, path, COMMIT):
            project.branches.add(name)  # undone below if it was refused
            if not self.move(who, path, "/git/branch", COMMIT, branch=name, from_branch=start):
                project.branches.discard(name)
        else:
            self.move(who, path, "/git/branch", COMMIT, allowed=may, branch=name, from_branch=start)

    @rule(who=people, path=projects, name=st.sampled_from(("v1", "v2")), at=branches)
    @exercises(RecordRefs)
    def create_git_tag(self, who: Who, path: str, name: str, at: str) -> None:
        project = self.project(path)
        may = project is not None and at in project.branches
        form = {"tagname": name, "commit_hash": at, "message": "So", "force": "1"}
        if self.move(who, path, "/git/tags", COMMIT, allowed=may, **form):
            assert name in self.view(f"/{path}/git/tags")["tags"]

    @rule(who=people, path=projects, name=branches)
    @exercises(RecordRefs, ApplyCommitReference)
    def set_default_branch(self, who: Who, path: str, name: str) -> None:
        project = self.project(path)
        may = project is not None and name in project.branches
        if self.move(who, path, "/git/branches", ADMINISTER, allowed=may, branch_name=name) and project:
            project.head = name
            assert self.view(f"/{path}/git/branches")["default"] == name

    @rule(who=people, path=projects, existing=branches, drop=st.booleans())
    @exercises(RecordRefs, ApplyCommitReference)
    def alias(self, who: Who, path: str, existing: str, drop: bool) -> None:
        project = self.project(path)
        may = project is not None and existing in project.branches
        end = "/git/alias/drop" if drop else "/git/alias/new"
        if self.move(who, path, end, COMMIT, allowed=may, alias_from=ALIAS, alias_to=existing):
            pair = (f"refs/heads/{ALIAS}", f"refs/heads/{existing}")
            assert (pair in self.view(f"/{path}/git/alias").items()) is not drop
