"""Rules for projects: creating, forking, sharing, configuring, pushing, transferring and deleting them."""

import uuid
from typing import Any

import pygit2
from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule

from app.core.commit_references import ApplyCommitReference
from app.core.plugins import InstallPlugin, RemovePlugin
from app.core.projects import BlockUsers, ConfigureProject, CreateProject, DeleteProject, ForkProject, TransferProject
from app.core.refs import RecordRefs
from app.core.sharing import GrantAccess, RefreshAccess, RevokeAccess, Watch
from app.core.tags import DefineTag, DeleteTag
from app.core.tracker import ConfigureTracker
from app.core.users import IssueProjectToken
from tests.conftest import git
from tests.walk.model import ADMIN, ADMINISTER, COMMIT, LEVELS, NOBODY, OWN, OWNER, PEOPLE, Project
from tests.walk.people import groups, people, tokens, usernames
from tests.walk.world import SECRET, Who, World, exercises, issues, projects

REFERENCES_PLUGIN = "Pagure"  # the plugin that lets commits close issues
TAGS = ("pet", "food", "bug")
ALIAS = "latest"
BRANCHES = ("topic", "other")
MILESTONES = ("v1", "v2")
WORDS = {
    "milestones": {name: {"date": None, "active": True} for name in MILESTONES},
    "milestones_keys": ["v2", "v1"],
    "priorities": {"1": "High", "2": "Low"},
    "close_status": ["Fixed", "Invalid"],
    "custom_keys": [["reviewer", "text"], ["docs", "link"]],
}
OPTIONS = (
    "issue_tracker", "issue_tracker_read_only", "pull_requests", "open_metadata_access_to_all", "always_merge",
    "disable_non_fast-forward_merges", "Only_assignee_can_merge_pull-request",
)  # fmt: skip
SWITCHES = {
    "issue_tracker": "tracker",
    "issue_tracker_read_only": "read_only",
    "pull_requests": "requests",
    "open_metadata_access_to_all": "open_metadata",
}
WATCHES: dict[str, list[str] | None] = {
    "-1": None, "0": [], "1": ["issues"], "2": ["commits"], "3": ["issues", "commits"],
}  # fmt: skip
plugins = st.sampled_from(("IRC", "Mail", REFERENCES_PLUGIN))


def split_path(path: str) -> dict[str, str]:
    """Split a path into the fields of a form."""
    steps = path.split("/")
    forker = {"username": steps[1]} if steps[0] == "fork" else {}
    rest = steps[2:] if forker else steps
    return {**forker, **({"namespace": rest[0]} if rest[1:] else {}), "repo": rest[-1]}


class Projects(World):
    @rule(
        target=projects, who=people, name=st.sampled_from(("game", "Tool", "web.site")),
        namespace=st.sampled_from((None, None, "rpms", "hackers")), private=st.booleans(), readme=st.booleans(),
        wait=st.booleans(),
    )  # fmt: skip
    @exercises(CreateProject)
    def create_project(
        self, who: Who, name: str, namespace: str | None, private: bool, readme: bool, wait: bool
    ) -> Any:
        form = {"name": name, "description": "d", **({"namespace": namespace} if namespace else {})}
        form |= {flag: "1" for flag, on in (("private", private), ("create_readme", readme)) if on}
        namespace = who.name if private else namespace
        path = f"{namespace}/{name}" if namespace else name
        open_to = namespace in (None, "rpms", who.name) or who.name in self.model.groups.get(namespace or "", ())
        may = path not in self.model.projects and open_to
        asked = self.ask(who, "POST", "/api/0/new", data={**form, "wait": str(int(wait))}, allowed=may)
        if not asked.accepted:
            return multiple()
        branches = {"main"} if readme else set()
        self.model.projects[path] = Project(path, who.name, private, branches=branches)
        assert self.view(f"/{path}", who.name)["access_users"]["owner"] == [who.name]
        return path

    @rule(target=projects, who=people, path=projects, wait=st.booleans())
    @exercises(ForkProject)
    def fork_project(self, who: Who, path: str, wait: bool) -> Any:
        parent, command = self.project(path), split_path(path)
        made = "/".join(
            ["fork", who.name, *([command["namespace"]] if "namespace" in command else []), command["repo"]]
        )
        may = parent is not None and self.model.may_read(who.name, parent) and made not in self.model.projects
        form = {**command, "wait": str(int(wait))}
        whole = who._replace(token="whole" if who.token == "own" else who.token)
        if not self.ask(whole, "POST", "/api/0/fork", data=form, allowed=may).accepted or parent is None:
            return multiple()
        fork = Project(made, who.name, parent.private, parent=path, forker=who.name, branches=set(parent.branches))
        fork.tracker = fork.requests = False
        fork.head = parent.head
        self.model.projects[made] = fork
        assert self.view(f"/{made}", who.name)["parent"]["url_path"] == path
        return made

    def has_level(self, who: Who, path: str, level: int) -> bool:
        project = self.project(path)
        return project is not None and self.model.level(who.name, project) >= level

    @rule(who=people, path=projects, option=st.sampled_from(OPTIONS), on=st.booleans())
    @exercises(ConfigureProject)
    def configure(self, who: Who, path: str, option: str, on: bool) -> None:
        may = self.has_level(who, path, ADMINISTER)
        if self.post(who, path, "/options/update", allowed=may, **{option: str(int(on))}).accepted:
            if option in SWITCHES:
                setattr(self.model.projects[path], SWITCHES[option], on)
            assert self.view(f"/{path}/options")["settings"][option] is on

    @rule(who=people, path=projects, owner=usernames, retain=st.booleans())
    @exercises(TransferProject)
    def transfer(self, who: Who, path: str, owner: str, retain: bool) -> None:
        command = {"main_admin": owner, "retain_access": retain}
        may = self.has_level(who, path, OWN)
        if not self.ask(who, "PATCH", f"/api/0/{path}", path=path, json=command, allowed=may).accepted:
            return
        project = self.model.projects[path]
        if owner != project.owner:
            project.grants.pop(("user", owner), None)
            if retain and who.name == project.owner:
                project.grants["user", project.owner] = "admin"
            project.owner = owner
        assert self.view(f"/{path}")["access_users"]["owner"] == [owner]

    @rule(who=people, path=projects, names=st.sets(usernames, max_size=1))
    @exercises(BlockUsers)
    def block_users(self, who: Who, path: str, names: set[str]) -> None:
        form = {"username": sorted(names)} if names else {}
        if self.post(who, path, "/blockuser", allowed=self.has_level(who, path, ADMINISTER), **form).accepted:
            self.model.projects[path].blocked = names

    @precondition(lambda self: len(self.model.projects) > 2)
    @rule(who=people, path=projects)
    @exercises(DeleteProject)
    def delete_project(self, who: Who, path: str) -> None:
        if self.post(who, path, "/delete", allowed=self.has_level(who, path, ADMINISTER)).accepted:
            del self.model.projects[path]
            assert self.get(f"/{path}").status == 404

    @rule(who=people, path=projects, to=usernames | groups.map("@{}".format), level=st.sampled_from(tuple(LEVELS)))
    @exercises(GrantAccess)
    def grant(self, who: Who, path: str, to: str, level: str) -> None:
        party, name = ("group", to[1:]) if to.startswith("@") else ("user", to)
        may = self.has_level(who, path, ADMINISTER) and (party == "user" or name in self.model.groups)
        if self.post(who, path, "/git/modifyacls", allowed=may, user_type=party, name=name, acl=level).accepted:
            project = self.model.projects[path]
            if (party, name) != ("user", project.owner):
                project.grants[party, name] = level
            self.check_access(project)

    @rule(who=people, path=projects, to=usernames | groups.map("@{}".format))
    @exercises(RevokeAccess)
    def revoke(self, who: Who, path: str, to: str) -> None:
        party, name = ("group", to[1:]) if to.startswith("@") else ("user", to)
        may = self.has_level(who, path, ADMINISTER) or who.name == name
        if self.post(who, path, "/git/modifyacls", allowed=may, user_type=party, name=name, acl="").accepted:
            self.model.projects[path].grants.pop((party, name), None)
            self.check_access(self.model.projects[path])

    def check_access(self, project: Project) -> None:
        shown = self.view(f"/{project.path}")
        for party, key in (("user", "access_users"), ("group", "access_groups")):
            for level in LEVELS:
                held = {name for (kind, name), each in project.grants.items() if (kind, each) == (party, level)}
                assert set(shown[key][level]) == held, (project, shown)

    @rule(who=people, path=projects)
    @exercises(RefreshAccess)
    def refresh_access(self, who: Who, path: str) -> None:
        answer = self.post(who, path, "/git/generateacls")
        if answer.accepted:
            assert self.view(f"/task/{answer.body['taskid']}/status", who.name)["status"] == "SUCCESS"

    @rule(who=people, path=projects, name=usernames, status=st.sampled_from(tuple(WATCHES)))
    @exercises(Watch)
    def watch(self, who: Who, path: str, name: str, status: str) -> None:
        may = who.name in (name, ADMIN)
        if self.post(who, path, "/watchers/update", allowed=may, watcher=name, status=status).accepted:
            watches, levels = self.model.projects[path].watches, WATCHES[status]
            watches.pop(name, None)
            if levels is not None:
                watches[name] = levels

    @rule(who=people, path=projects, plugin=plugins, room=st.sampled_from(("#dogs", "")), secret=st.booleans())
    @exercises(InstallPlugin)
    def install_plugin(self, who: Who, path: str, plugin: str, room: str, secret: bool) -> None:
        may, form = self.has_level(who, path, ADMINISTER), {"room": room, "mail_to": "dogs@example.org"}
        form |= {"nick_pass": SECRET} if secret else {}
        if self.post(who, path, f"/settings/{plugin}/install", allowed=may, **form).accepted:
            self.model.projects[path].plugins.add(plugin)
            self.check_plugins(self.model.projects[path])

    @rule(who=people, path=projects, plugin=plugins)
    @exercises(RemovePlugin)
    def remove_plugin(self, who: Who, path: str, plugin: str) -> None:
        project = self.project(path)
        may = project is not None and plugin in project.plugins and self.has_level(who, path, ADMINISTER)
        if self.post(who, path, f"/settings/{plugin}/remove", allowed=may).accepted and project:
            project.plugins.discard(plugin)
            self.check_plugins(project)

    def check_plugins(self, project: Project) -> None:
        shown = self.view(f"/{project.path}/settings/plugins")["plugins"]
        assert {name for each in shown for name in each} == project.plugins

    @rule(target=tokens, who=people, path=projects)
    @exercises(IssueProjectToken)
    def project_token(self, who: Who, path: str) -> Any:
        may = self.has_level(who, path, ADMINISTER)
        answer = self.post(who, path, "/token/new", allowed=may, acls="issue_comment")
        if not answer.accepted:
            return multiple()
        secret = answer.body["token"]["id"]
        assert self.run(self._find_token_owner(secret)) == who.name
        key = self.run(self.forge.db.fetchval("select token_id from tokens order by created_at desc limit 1"))
        return str(key), who.name, secret

    async def _find_token_owner(self, secret: str) -> str:
        client = (await self.client(Who(NOBODY))).__class__(self.forge, secret)
        name: str = (await client.post("/-/whoami"))[1]["username"]
        return name

    @rule(
        who=people, path=projects, words=st.sets(st.sampled_from(tuple(WORDS)), max_size=2), tag=st.sampled_from(TAGS)
    )
    @exercises(ConfigureTracker)
    def configure_tracker(self, who: Who, path: str, words: set[str], tag: str) -> None:
        command = {**{name: WORDS[name] for name in words}, "tags": {tag: {"color": "red", "description": tag}}}
        may = self.has_level(who, path, ADMINISTER)
        answer = self.ask(who, "PATCH", f"/v1/projects/{path}/tracker", path=path, json=command, allowed=may)
        if answer.accepted:
            self.model.projects[path].tags.add(tag)
            assert answer.body["tags"][tag] == command["tags"][tag]
            assert all(answer.body[name] == WORDS[name] for name in words)

    @rule(who=people, at=issues, other=issues)
    @exercises(ConfigureTracker)
    def import_dependency(self, who: Who, at: tuple[str, int], other: tuple[str, int]) -> None:
        path, numbers = at[0], (at[1], other[1])
        project = self.project(path)
        may = self.has_level(who, path, ADMINISTER) and project is not None and set(numbers) <= project.issues.keys()
        may = may and project is not None and not project.depends_on(numbers[1], numbers[0])
        answer = self.ask(
            who, "PATCH", f"/v1/projects/{path}/tracker", path=path, allowed=may, json={"dependencies": [numbers]}
        )
        if answer.accepted and project is not None:
            project.issues[numbers[0]].depends.add(numbers[1])

    @rule(who=people, path=projects, tag=st.sampled_from(TAGS), color=st.sampled_from(("red", "blue")))
    @exercises(DefineTag)
    def define_tag(self, who: Who, path: str, tag: str, color: str) -> None:
        project = self.project(path)
        may = self.has_level(who, path, COMMIT) and project is not None and tag not in project.tags
        if self.post(who, path, "/tags/new", allowed=may, tag=tag, tag_color=color, tag_description="d").accepted:
            self.model.projects[path].tags.add(tag)
            assert self.view(f"/{path}/tag/{tag}")["tag_color"] == color

    @rule(who=people, path=projects, tag=st.sampled_from(TAGS))
    @exercises(DeleteTag)
    def delete_tag(self, who: Who, path: str, tag: str) -> None:
        project = self.project(path)
        may = (
            self.has_level(who, path, COMMIT)
            and project is not None
            and tag in project.tags - {*project.boards.values()}
        )
        if self.ask(who, "DELETE", f"/api/0/{path}/tag/{tag}", path=path, allowed=may).accepted and project:
            project.tags.discard(tag)
            for issue in project.issues.values():
                issue.tags.discard(tag)
            assert self.get(f"/{path}/tag/{tag}").status == 404

    @rule(
        who=people.filter(lambda who: who.name in (*PEOPLE, OWNER)), path=projects,
        branch=st.sampled_from(("main", *BRANCHES)), file=st.sampled_from(("own", "same", None)),
        message=st.sampled_from(("Change", "Change", "Fixes #1", "Relates to #2")),
    )  # fmt: skip
    @exercises(RecordRefs, ApplyCommitReference)
    def push(self, who: Who, path: str, branch: str, file: str | None, message: str) -> None:
        """Push a commit on top of main that writes a new or the same file; without a file, delete the branch."""
        project, may = self.project(path), self.has_level(who, path, COMMIT)
        if project is None or (file is None and (branch in ("main", project.head) or branch not in project.branches)):
            return
        client = self.tokens[who.name, "whole"]
        self.run(self.forge.idle())  # the repository may not have been created yet
        url = client.git_url(path)
        work = self.folder / "work"
        repository = pygit2.init_repository(str(work), bare=True)
        refspec = f":refs/heads/{branch}"
        if file is not None:
            parent = None
            if "main" in project.branches:
                self.run(git("fetch", "-q", self.tokens[ADMIN, "whole"].git_url(path), "main", cwd=work))
                parent = (work / "FETCH_HEAD").read_text().split()[0]
            refspec = f"+{_create_commit(repository, parent, file, message)}{refspec}"
        self.requests += 1
        header = f"http.extraHeader=X-Request-Id: walk-{self.requests}"
        self.run(git("-c", header, "push", "-q", url, refspec, cwd=work, fails=not may))
        if may:
            (project.branches.discard if file is None else project.branches.add)(branch)
        self.check_branches(project)
        if REFERENCES_PLUGIN in project.plugins:
            self.run(self.forge.idle())
            self.copy_statuses(project)

    def copy_statuses(self, project: Project) -> None:
        """Copy from the forge what commits have done to issues and pull requests; the model does not predict it."""
        for number, issue in project.issues.items() if project.tracker else ():
            shown = self.view(f"/{project.path}/issue/{number}")
            issue.status = shown["status"]
            issue.comments = len([each for each in shown["comments"] if not each["notification"]])
        for number, pull in project.pulls.items() if project.requests else ():
            pull.status = self.view(f"/{project.path}/pull-request/{number}")["status"]

    def check_branches(self, project: Project) -> None:
        answer = self.get(f"/{project.path}/git/branches")
        assert (answer.status, set(answer.body.get("branches", ())) - {ALIAS}) == (200, project.branches), project


def _create_commit(repository: Any, parent: str | None, file: str, message: str) -> str:
    signature = pygit2.Signature("Walker", "walker@example.org")
    tree = repository.TreeBuilder(repository[parent].tree) if parent else repository.TreeBuilder()
    name = file if file == "same" else uuid.uuid4().hex
    tree.insert(name, repository.create_blob(uuid.uuid4().bytes), pygit2.enums.FileMode.BLOB)
    parents = [parent] if parent else []
    return str(repository.create_commit(None, signature, signature, message, tree.write(), parents))
