"""Scenarios of contributors who use ogr: forks, branches, files, releases, pull requests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ogr import PagureService
from ogr.abstract import CommitStatus, PRStatus
from ogr.exceptions import OgrException, OperationNotSupported, PagureAPIException

from tests.conftest import Client, Forge
from tests.pagure.clients.sessions import Checkout, session, wait_for_workers

Services = Callable[..., PagureService]


@session
def test_a_contribution_goes_from_a_fork_to_its_parent(
    forge: Forge, ogr: Services, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    upstream = ogr(bob).get_project(repo="nethack", namespace=None)
    assert not upstream.is_forked()
    assert upstream.get_fork(create=False) is None
    fork = upstream.get_fork()
    assert upstream.is_forked()
    assert upstream.get_fork() == fork
    assert upstream.get_forks() == [fork]
    assert (fork.is_fork, fork.get_is_fork_from_api(), fork.full_repo_name) == (True, True, "fork/bob/nethack")
    assert (fork.parent.full_repo_name, fork.parent.is_fork) == ("nethack", False)
    assert (fork.get_web_url(), fork.get_owners()) == (f"{forge.url}/fork/bob/nethack", ["bob"])
    assert fork.get_git_urls() == {"git": f"{forge.url}/forks/bob/nethack.git"}
    assert [each.repo for each in ogr(bob).user.get_forks()] == ["nethack"]
    with pytest.raises(OgrException, match="Cannot create fork from fork"):
        fork.get_fork()
    with pytest.raises(PagureAPIException, match='Repo "forks/bob/nethack" already exists'):
        upstream.fork_create()

    work = Checkout(fork.get_git_urls()["git"], tmp_path / "work", bob)
    head = work.push("feature", "src/dog.c", "woof();\n")
    assert (fork.get_branches(), fork.default_branch) == (["feature", "main"], "main")
    assert fork.get_sha_from_branch("feature") == head
    assert fork.get_sha_from_branch("moria") is None

    opened = fork.create_pr("Feed the dog", "It is hungry.", target_branch="main", source_branch="feature")
    assert (opened.id, opened.title, opened.description) == (1, "Feed the dog", "It is hungry.")
    assert (opened.status, opened.author, opened.head_commit) == (PRStatus.open, "bob", head)
    assert (opened.source_branch, opened.target_branch) == ("feature", "main")
    assert opened.target_project.full_repo_name == "nethack"
    assert opened.source_project == fork
    assert opened.target_branch_head_commit == upstream.get_sha_from_branch("main")
    assert opened.url == f"{forge.url}/nethack/pull-request/1"
    assert (opened.diff_url, opened.commits_url) == (f"{opened.url}#request_diff", f"{opened.url}#commit_list")
    assert (opened.labels, opened.closed_by, list(opened.get_comments())) == ([], None, [])
    assert opened.created.year >= 2024
    assert b"From: Alice <alice@example.org>" in opened.patch
    assert b"+woof();" in opened.patch
    changed = upstream.get_pr_files_diff(1)
    assert (changed["src/dog.c"]["status"], changed["src/dog.c"]["lines_added"]) == ("A", 1)

    twice = upstream.create_pr("Twice", "By name", "main", "feature", fork_username="bob")
    assert (twice.id, twice.source_project.full_repo_name) == (2, "fork/bob/nethack")
    assert twice.close().status == PRStatus.closed

    opened.title = "Feed the hungry dog"
    opened.description = "It starves."
    assert (opened.title, opened.description) == ("Feed the hungry dog", "It starves.")
    assert upstream.get_pr(1).title == "Feed the hungry dog"
    with pytest.raises(PagureAPIException) as refused:
        opened.merge()
    assert refused.value.response_code == 403

    theirs = ogr(nethack).get_project(repo="nethack", namespace=None)
    assert theirs.get_pr(1).merge().status == PRStatus.merged
    assert theirs.get_pr(1).closed_by == "alice"
    with pytest.raises(PagureAPIException, match="was merged or closed by alice") as again:
        theirs.get_pr(1).merge()
    assert again.value.response_code == 409
    assert theirs.get_sha_from_branch("main") == head
    assert theirs.get_file_content("src/dog.c") == "woof();\n"


@pytest.fixture
async def forked(nethack: Client, bob: Client) -> Client:
    """Bob, after he has forked nethack."""
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    return bob


@session
def test_a_review_with_comments_and_flags(
    forge: Forge, ogr: Services, nethack: Client, forked: Client, tmp_path: Path
) -> None:
    fork = ogr(forked).get_project(repo="nethack", namespace=None, is_fork=True)
    work = Checkout(fork.get_git_urls()["git"], tmp_path / "work", forked)
    head = work.push("feature", "cat.c", "purr();\n")
    opened = fork.create_pr("Add a cat", "Why not?", "main", "feature")

    upstream = ogr(nethack).get_project(repo="nethack", namespace=None)
    seen = upstream.get_pr(opened.id)
    comment = seen.comment("LGTM, but see below")
    assert (comment.body, comment.author) == ("LGTM, but see below", "alice")
    seen.comment("Spell it out", commit=head, filename="cat.c", row=1)
    opened.comment("Done: rebuild")
    comments = list(upstream.get_pr(opened.id).get_comments())
    assert [(each.author, each.body) for each in comments] == [
        ("alice", "LGTM, but see below"), ("alice", "Spell it out"), ("bob", "Done: rebuild"),
    ]  # fmt: skip
    assert comments[0].edited is None
    assert comments[0].created >= seen.created
    assert [each.body for each in seen.get_comments(author="bob", reverse=True)] == ["Done: rebuild"]
    assert [each.body for each in seen.get_comments(filter_regex="(?i)lgtm")] == ["LGTM, but see below"]
    assert seen.get_comment(comments[1].id).body == "Spell it out"
    with pytest.raises(PagureAPIException):
        seen.get_comment(10**6)
    assert seen.search("not").group() == "not"
    assert seen.search(r"re\w+d", description=False).group() == "rebuild"

    wait_for_workers(forge)  # who bring the commits of a pull request into its project
    flag = upstream.set_commit_status(
        head, CommitStatus.pending, "https://ci.example.org/1", "Building", "CI", percent=40, uid="build-1"
    )
    assert (flag.uid, flag.commit, flag.state, flag.context) == ("build-1", head, CommitStatus.pending, "CI")
    upstream.set_commit_status(head, CommitStatus.success, "https://ci.example.org/1", "Built", "CI", uid="build-1")
    found = opened.set_flag("lint", "Clean", "https://lint.example.org", CommitStatus.failure, percent=0, uid="lint-1")
    assert (found["message"], found["uid"], found["flag"]["percent"]) == ("Flag added", "lint-1", 0)
    statuses = {each.context: each for each in upstream.get_commit_statuses(head)}
    assert {name: each.state for name, each in statuses.items()} == {
        "CI": CommitStatus.success, "lint": CommitStatus.failure,
    }  # fmt: skip
    assert (statuses["CI"].comment, statuses["CI"].url) == ("Built", "https://ci.example.org/1")
    assert statuses["CI"].edited >= statuses["CI"].created
    assert {each.context for each in upstream.get_pr(opened.id).get_statuses()} == {"CI", "lint"}
    long = upstream.set_commit_status(head, CommitStatus.error, "https://x.example.org", "x" * 200, "y", trim=True)
    assert len(long.comment) == 140
    with pytest.raises(ValueError, match="Invalid state"):
        upstream.set_commit_status(head, CommitStatus.running, "https://x.example.org", "x", "y")
    with pytest.raises(PagureAPIException) as unknown:
        upstream.set_commit_status("0" * 40, CommitStatus.error, "https://x.example.org", "x", "y")
    assert (unknown.value.response_code, unknown.value.pagure_error) == (404, "No such commit found in this repository")

    for n in range(22):
        last = fork.create_pr(f"Another {n}", "", "main", "feature")
    last.close()
    by_status = {status: [each.id for each in upstream.get_pr_list(status)] for status in PRStatus}
    assert by_status == {
        PRStatus.open: list(range(22, 0, -1)),
        PRStatus.closed: [23],
        PRStatus.merged: [],
        PRStatus.all: list(range(23, 0, -1)),
    }
    assert upstream.get_pr_list(author="alice") == upstream.get_pr_list(assignee="alice") == []
    assert len(upstream.get_pr_list(author="bob")) == 22
    work.git("push", "-q", nethack.git_url("nethack"), "origin/main:refs/heads/still")
    nothing = upstream.create_pr("Nothing", "Of its own", "main", "still")
    assert (nothing.id, nothing.head_commit, nothing.source_project) == (24, None, upstream)
    with pytest.raises(PagureAPIException) as empty:
        upstream.get_pr_files_diff(24)
    assert empty.value.pagure_error == "No statistics could be computed for this PR"
    with pytest.raises(PagureAPIException, match="Branch nope does not exist"):
        fork.create_pr("Nothing", "At all", "main", "nope")
    with pytest.raises(PagureAPIException) as missing:
        upstream.get_pr(99)
    assert (missing.value.response_code, missing.value.pagure_error) == (404, "Pull-Request not found")


@pytest.fixture
async def robot(packaged: Client) -> Client:
    """A client with a limited token that bob has created for his fork of rpms/rogue."""
    return await packaged.limited(project="fork/bob/rpms/rogue", acls=["pull_request_create"])


@session
def test_a_package_and_its_forks_have_a_namespace(forge: Forge, ogr: Services, packaged: Client, robot: Client) -> None:
    package = ogr(packaged).get_project(repo="rogue", namespace="rpms")
    assert package.is_forked()
    fork = package.get_fork()
    assert (fork.full_repo_name, fork.parent.full_repo_name) == ("fork/bob/rpms/rogue", "rpms/rogue")
    opened = fork.create_pr("Rebuild", "For the new libc", "main", "main")
    assert (opened.url, opened.source_project) == (f"{forge.url}/rpms/rogue/pull-request/1", fork)
    assert [each.id for each in package.get_pr_list()] == [1]
    automatic = ogr(robot).get_project(repo="rogue", namespace="rpms", is_fork=True)
    assert automatic.create_pr("Rebuild", "By itself", "main", "main").id == 2
    with pytest.raises(PagureAPIException, match="Missing ACLs: pull_request_comment"):
        automatic.parent.get_pr(2).comment("Who said that?")
    named = ogr(packaged).get_project_from_url(f"{forge.url}/fork/bob/nethack")
    assert (named.get_files(), named.get_file_content("README.md")) == (["README.md"], "# nethack\n\nA game")
    assert named.create_pr("Rebuild", "By its address", "main", "main").target_project.full_repo_name == "nethack"


@session
def test_files_branches_and_releases(ogr: Services, nethack: Client, bob: Client, tmp_path: Path) -> None:
    project = ogr(nethack).get_project(repo="nethack", namespace=None)
    work = Checkout(project.get_git_urls()["git"], tmp_path / "work", nethack)
    readme = work.git("rev-parse", "HEAD")
    work.push("main", "src/dog.c", "woof();\n")
    head = work.push("main", "src/cats/cat.c", "purr();\n")
    side = work.push("release/1.x", "VERSION", "1.0\n")

    assert project.get_branches() == ["main", "release/1.x"]
    assert project.get_file_content("README.md") == "# nethack\n\nA game"
    assert project.get_file_content("VERSION", ref="release/1.x") == "1.0\n"
    assert project.get_file_content("src/dog.c", ref=head) == "woof();\n"
    for path, ref in (("VERSION", None), ("src/dog.c", readme), ("README.md", "no-such-branch")):
        with pytest.raises(FileNotFoundError):
            project.get_file_content(path, ref)
    assert project.get_files() == ["README.md"]
    assert project.get_files(recursive=True) == ["README.md", "src/dog.c", "src/cats/cat.c"]
    assert project.get_files(ref="release/1.x", filter_regex=r"^V") == ["VERSION"]
    assert project.get_files(ref=readme, recursive=True) == ["README.md"]
    assert project.get_files(recursive=True, filter_regex=r"\.c$") == ["src/dog.c", "src/cats/cat.c"]

    release = project.create_release(tag="v1.0", name="1.0", message="The first", ref=head)
    assert (release.tag_name, release.git_tag.commit_sha, release.title) == ("v1.0", head, "v1.0")
    work.git("tag", "v1.1", side)
    work.git("push", "-q", "origin", "v1.1")
    assert {each.name: each.commit_sha for each in project.get_tags()} == {"v1.0": head, "v1.1": side}
    assert project.get_sha_from_tag("v1.0") == head
    assert {each.tag_name for each in project.get_releases()} == {"v1.0", "v1.1"}
    with pytest.raises(PagureAPIException, match="Release has not been created"):
        project.create_release("v1.0", "1.0", "Again", readme)
    with pytest.raises(PagureAPIException, match="not found"):
        project.get_sha_from_tag("v9")
    with pytest.raises(PagureAPIException):
        project.create_release("v2.0", "2.0", "Of nothing", "0" * 40)
    with pytest.raises(PagureAPIException):
        ogr(bob).get_project(repo="nethack", namespace=None).create_release("v3.0", "3.0", "Not his", head)
    work.git("fetch", "-q", "--tags")
    assert work.git("cat-file", "-p", "v1.0").splitlines()[-1] == "The first"
    with pytest.raises(OperationNotSupported):
        project.get_latest_release()
