"""Bare repositories for the tests of the git layer, work trees beside them, and histories out of thin air."""

import random
import subprocess
from pathlib import Path

from tests.conftest import git


async def bare(folder: Path, name: str = "there", head: str = "main") -> Path:
    repo_path = folder / f"{name}.git"
    await git("init", "-q", "--bare", "-b", head, str(repo_path))
    return repo_path


async def work_tree(repo_path: Path) -> Path:
    """A clone beside the repository, on `main` whatever the repository holds."""
    work = repo_path.with_suffix(".work")
    await git("clone", "-q", str(repo_path), str(work))
    await git("checkout", "-q", "-B", "main", cwd=work)
    return work


async def said(repo_path: Path, *arguments: str) -> list[str]:
    """The words that the git program answers with."""
    return (await git(*arguments, cwd=repo_path)).split()


def typed(repo_path: Path, kind: str, body: bytes) -> str:
    """The id of a new object with exactly these bytes."""
    arguments = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    done = subprocess.run(arguments, cwd=repo_path, input=body, capture_output=True, check=True)
    return done.stdout.decode().strip()


def grown(repo_path: Path, seed: int, commits: int = 30) -> list[str]:
    """A tangled history, the same for the same seed: roots, merges, clocks that go wrong; the ids of its branches."""
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


def straight(repo_path: Path, commits: int) -> None:
    """A history of `main`, each commit with a tree and a file that is almost the one before."""
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
