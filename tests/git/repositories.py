"""Bare repositories, work trees and generated histories for the tests of the git layer."""

import random
import subprocess
from pathlib import Path

from tests.conftest import git


async def create_bare(folder: Path, name: str = "there", head: str = "main") -> Path:
    repo_path = folder / f"{name}.git"
    await git("init", "-q", "--bare", "-b", head, str(repo_path))
    return repo_path


async def clone_work_tree(repo_path: Path) -> Path:
    """Clone the repository next to it and check out `main`, whether it exists or not."""
    work = repo_path.with_suffix(".work")
    await git("clone", "-q", str(repo_path), str(work))
    await git("checkout", "-q", "-B", "main", cwd=work)
    return work


async def git_words(repo_path: Path, *arguments: str) -> list[str]:
    """Run git and split its output into words."""
    return (await git(*arguments, cwd=repo_path)).split()


def write_object(repo_path: Path, kind: str, body: bytes) -> str:
    """Write an object with exactly these bytes; return its id."""
    arguments = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    done = subprocess.run(arguments, cwd=repo_path, input=body, capture_output=True, check=True)
    return done.stdout.decode().strip()


def grow_history(repo_path: Path, seed: int, commits: int = 30) -> list[str]:
    """Write a random history with several roots, merges and wrong clocks; return the names of its branches.

    The same seed gives the same history.
    """
    dice = random.Random(seed)
    lines: list[str] = []
    for mark in range(1, commits + 1):
        when = 1_700_000_000 + mark * 60 + dice.choice([0, 0, 0, -600, 600])
        parents = dice.sample(range(1, mark), k=min(mark - 1, dice.choice([0, 1, 1, 1, 1, 2])))
        lines += [f"commit refs/heads/b{mark}", f"mark :{mark}", f"committer Al <al@example.org> {when} +0000"]
        lines += ["data 2", "hi"]
        lines += [f"{word} :{parent}" for word, parent in zip(("from", "merge"), parents, strict=False)]
        content = str(dice.randrange(1000))
        lines += [f"M 644 inline f{dice.randrange(8)}", f"data {len(content)}", content, ""]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo_path, input="\n".join(lines).encode(), check=True)
    return [f"b{mark}" for mark in range(1, commits + 1)]


def grow_linear_history(repo_path: Path, commits: int) -> None:
    """Write a linear history of `main` in which each commit appends one line to a file."""
    lines, content = [], ""
    for mark in range(1, commits + 1):
        content += f"line {mark} of many\n"
        lines += [
            "commit refs/heads/main",
            f"mark :{mark}",
            f"committer Al <al@example.org> {1_700_000_000 + mark} +0000",
        ]
        lines += ["data 2", "hi", "M 644 inline file", f"data {len(content)}", content]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo_path, input="\n".join(lines).encode(), check=True)
