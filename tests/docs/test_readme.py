"""The session in README.md: each command is run in bash, and its output compared with the page."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.ops import embedded
from tests.conftest import commit, git
from tests.processes import TIED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
ASSIGNMENT = re.compile(r"(export |\w+=\S+(\s|\Z)|\w+\(\) \{)(?!.*\.venv)")
VARIABLES = re.compile(r"(\w+=\S+ )*")  # before a command
# What differs between runs. An id that appears twice must be the same both times.
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z"
VARIES = re.compile(f"({ID})|({TIME})|(…)")


@dataclass(frozen=True)
class Step:
    """A command on the page, with the output that the page shows."""

    command: str
    printed: str


def session(page: str) -> list[Step]:
    """Return the commands of a page, with their continuation lines (after `\\` and `>`), and their outputs."""
    steps = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, printed = [], text.splitlines()
            while not command or command[-1].endswith("\\") or (printed and printed[0].startswith("> ")):
                command.append(printed.pop(0).removeprefix("> "))
            steps.append(Step("\n".join(command), "\n".join(printed)))
    return steps


class Reader:
    """Runs the commands of a page. `known` maps words on the page, such as port and ids, to those of this run."""

    def __init__(self, known: dict[str, str], work: Path) -> None:
        self.known = known
        self.work = work
        self.assigned: list[str] = []
        self.environment = {
            **os.environ, "HOME": str(work), "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        }  # fmt: skip

    def translate(self, text: str) -> str:
        for on_page, here in self.known.items():
            text = text.replace(on_page, here)
        return text

    def start(self, command: str) -> subprocess.Popen[bytes]:
        script = "\n".join([*self.assigned, VARIABLES.sub(r"\g<0>exec ", command, count=1)])
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*TIED, "bash", "-c", script], cwd=self.work, env=self.environment, stdout=pipe, stderr=subprocess.STDOUT
        )

    async def run(self, command: str) -> str:
        if ASSIGNMENT.match(command):
            self.assigned.append(command)
            return ""
        script = "\n".join([*self.assigned, command])
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, cwd=self.work, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        return output.decode()

    def check(self, step: Step, output: str) -> None:
        """Compare the output with the page, ignoring line breaks and spaces."""
        ids: dict[str, str] = {}

        def pattern(text: str) -> str:
            found = VARIES.search(text)
            if found is None:
                return re.escape(text)
            return re.escape(text[: found.start()]) + any_of(found) + pattern(text[found.end() :])

        def any_of(found: re.Match[str]) -> str:
            if not found[1]:
                return TIME if found[2] else ".*?"
            if found[1] in self.known.values():
                return re.escape(found[1])
            if found[1] in ids:
                return f"(?P={ids[found[1]]})"
            ids[found[1]] = f"id{len(ids)}"
            return f"(?P<{ids[found[1]]}>{ID})"

        expected = "".join(self.translate(step.printed).split())
        matched = re.fullmatch(pattern(expected), "".join(output.split()), re.DOTALL)
        assert matched, f"The page says\n{self.translate(step.printed)}\nand\n{step.command}\nsays\n{output}"
        self.known |= {name: matched[group] for name, group in ids.items()}


@asynccontextmanager
async def run_process(up: subprocess.Popen[bytes], sign: str = "is ready") -> AsyncIterator[str]:
    """Run a process until the end of the block. Yields what it has printed once `sign` appears."""
    assert up.stdout is not None
    output = ""
    try:
        while sign not in output:
            async with asyncio.timeout(60):
                line = await asyncio.to_thread(up.stdout.readline)
            assert line, output
            output += line.decode()
        yield output
    finally:
        up.send_signal(signal.SIGINT)
        await asyncio.to_thread(up.communicate, timeout=40)


async def test_the_session_in_the_readme_works_as_shown(tmp_path: Path, var: Path) -> None:
    await git("init", "-q", cwd=tmp_path)
    await commit(tmp_path)
    (tmp_path / ".curlrc").write_text("no-progress-meter\n")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    reader = Reader({"/tmp/session": str(var), "8171": str(embedded.free_port())}, tmp_path)
    steps = session((ROOT / "README.md").read_text())
    assert len(steps) > 10
    await reader.run(reader.translate(steps[0].command))
    async with run_process(reader.start(steps[1].command.removesuffix("&"))) as ready:
        reader.check(steps[1], ready)
        for step in steps[2:]:
            reader.check(step, await reader.run(reader.translate(step.command)))
