"""What the pages name exists: files, links and their headings, functions, make targets, commands."""

import ast
import builtins
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from app.cli.main import cli
from events.event import TYPES

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if path.is_file() and not path.name.startswith(".")
)
# Pages that name parts of the code. The changelog tells of the past, and the other pages of what goes over the wire.
GUIDES = [
    page for page in PAGES if page in ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md")
]
GUIDES += [page for page in PAGES if page.startswith("docs/howto/")]
SUFFIXES = (".py", ".md", ".sql", ".toml", ".yaml", ".lock", "/")
FOLDERS = ("app/", "events/", "workers/", "tests/", "docs/", "deploy/", "benchmarks/")

FENCE = re.compile(r"^```.*?^```\n?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
# `define_tag` in `app/core/tags.py`, and `read` and `head` in `events/log.py`
NAMES_IN_FILE = re.compile(r"((?:`\w+`(?:, | and |, and ))*`\w+`) (?:in|of) `([\w/]+\.py)`")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
WORD = re.compile(r"[A-Za-z_]\w*(?:\(\))?")


def read_prose(page: str) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", (ROOT / page).read_text())


@cache
def list_files() -> list[str]:
    """Every file of the repository, those that are not committed yet included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@cache
def read_sources() -> str:
    """The code, the tests of the code, the schema, and what builds and runs them."""
    names = [name for name in list_files() if name.endswith((".py", ".sql", ".toml")) or name == "Makefile"]
    return "\n".join((ROOT / name).read_text() for name in names if not name.startswith(("docs/", "tests/docs/")))


@cache
def words_of_the_tree() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", read_sources())) | frozenset(dir(builtins))


@cache
def list_definitions(name: str) -> frozenset[str]:
    """The functions, classes, methods and constants that a file defines."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign():
                found |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name() as target):
                found.add(target.id)
    return frozenset(found)


def is_path(text: str) -> bool:
    if text.startswith(("/", "-", "~", "refs/")) or re.search(r"[\s{}<>:=…$]", text):
        return False
    return text.endswith(SUFFIXES) or text.startswith(FOLDERS)


def path_exists(text: str) -> bool:
    """Below the root; a name alone may be that of any file."""
    if "*" in text:
        return any(ROOT.glob(text))
    return (ROOT / text.rstrip("/")).exists() or any(name.endswith(f"/{text}") for name in list_files())


def is_defined(dotted: str) -> bool:
    """`module.name`, where the module is named as an import does or by its last part alone; `Class.method` too.

    Whatever else has a dot in it, such as a column or a file that the program writes, stands in the sources so.
    """
    *modules, name = dotted.split(".")
    if modules[0] in sys.stdlib_module_names:
        return hasattr(import_module(".".join(modules)), name)
    if re.search(rf"\b{re.escape(dotted)}\b", read_sources()):
        return True
    suffix = "/".join(modules)
    for file in list_files():
        if not file.endswith(".py"):
            continue
        module = file.removesuffix(".py").removesuffix("/__init__")
        if f"/{module}".endswith(f"/{suffix}") and name in list_definitions(file):
            return True
        if len(modules) == 1 and {modules[0], name} <= list_definitions(file):
            return True
    return False


def find_faults(page: str) -> Iterator[str]:
    prose = read_prose(page)
    for names, file in NAMES_IN_FILE.findall(prose):
        if (ROOT / file).exists():
            missing = set(QUOTED.findall(names)) - list_definitions(file)
            yield from (f"`{name}` is not defined in {file}" for name in missing)
    for text in QUOTED.findall(prose):
        if is_path(text):
            if not path_exists(text):
                yield f"there is no `{text}`"
        elif DOTTED.fullmatch(text):
            if text not in TYPES and not is_defined(text):
                yield f"nothing defines `{text}`"
        elif WORD.fullmatch(text) and text.removesuffix("()") not in words_of_the_tree():
            yield f"the tree does not know `{text}`"


@pytest.mark.parametrize("page", GUIDES)
def test_every_file_and_name_of_a_guide_exists(page: str) -> None:
    assert list(find_faults(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_path_into_the_tree_exists(page: str) -> None:
    paths = [text for text in QUOTED.findall(read_prose(page)) if text.startswith(FOLDERS) and is_path(text)]
    assert [path for path in paths if not path_exists(path)] == []


@pytest.mark.parametrize("page", [page for page in GUIDES if page.startswith("docs/howto/")])
def test_the_code_that_a_guide_quotes_is_in_the_tree(page: str) -> None:
    """Line by line; `...` stands for what is left out."""
    known = {line.strip() for line in read_sources().splitlines()}
    blocks = re.findall(r"^ *```(?:python|sql)\n(.*?)^ *```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    quoted = {line.strip() for block in blocks for line in block.splitlines()}
    assert quoted - known - {"", "..."} == set()


def test_a_wrong_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "`app/core/nothing.py` `access.requires` `nowhere_found`. `Actor` and `gone` in `app/actor.py` `app/nope/`"
    (tmp_path / "page.md").write_text(wrong)
    monkeypatch.setattr("tests.docs.test_references.read_prose", lambda page: (tmp_path / page).read_text())
    assert sorted(find_faults("page.md")) == [
        "`gone` is not defined in app/actor.py",
        "nothing defines `access.requires`",
        "the tree does not know `nowhere_found`",
        "there is no `app/core/nothing.py`",
        "there is no `app/nope/`",
    ]


def slugs(page: Path) -> set[str]:
    """The anchors that a reader's browser knows: headings in lower case, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in LINK.findall(read_prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


@pytest.mark.parametrize("page", GUIDES)
def test_every_make_target_and_command_of_a_guide_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|^|\$ )make ([a-z-]+)", text, flags=re.MULTILINE)) <= targets
    commands = get_command(cli).commands.keys()  # type: ignore[attr-defined]
    assert set(re.findall(r"(?:`|bin/|\$ )polyforge ([a-z]+)", text)) <= commands


def test_the_readme_leads_to_every_page() -> None:
    """By itself, or by the page that lists a folder."""
    readme = (ROOT / "README.md").read_text()
    for page in PAGES:
        if page not in ("README.md",) and page not in LINK.findall(readme):
            folder = str(Path(page).parent) + "/"
            assert folder in LINK.findall(readme), page
