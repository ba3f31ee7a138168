"""The core gives reasons as data; every dialect has a sentence for each, and no sentence stands outside of them."""

import ast
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app import errors
from app.core.push_policy import PushReason
from app.dialects.pagure import errors as pagure
from app.dialects.pagure import words
from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused, Subject
from app.http import wording
from events.tasks import FailureReason

ROOT = Path(__file__).parents[2]
KINDS = {kind.__name__: kind for kind in (NotFound, Forbidden, Invalid, Malformed, Conflict, Disabled)}
SILENT = [ROOT / "app" / "core", ROOT / "workers", ROOT / "events", ROOT / "app" / "errors.py"]

Key = tuple[type[Refused], Subject]


def sources(*places: Path) -> Iterator[tuple[Path, ast.Module]]:
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            yield path, ast.parse(path.read_text())


def calls(*places: Path) -> Iterator[tuple[type[Refused], ast.Call]]:
    """Wherever a refusal is made."""
    for _, tree in sources(*places):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                yield KINDS[node.func.id], node


def subjects(node: ast.Call) -> Iterator[Subject]:
    """Those that the first argument may be."""
    for each in ast.walk(node.args[0]):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "Subject":
            yield Subject[each.attr]


def made() -> dict[Key, list[set[str]]]:
    """Every refusal there can be, with the parameters of each place that makes it."""
    found: dict[Key, list[set[str]]] = {}
    for kind, node in calls(ROOT / "app", ROOT / "workers"):
        given = {word.arg for word in node.keywords if word.arg} | ({"field"} if len(node.args) > 1 else set())
        for subject in subjects(node):
            found.setdefault((kind, subject), []).append(given)
    return found


MADE = made()


def names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_refusal_names_a_subject_and_every_subject_is_used() -> None:
    assert all(list(subjects(node)) for _, node in calls(ROOT / "app", ROOT / "workers"))
    assert {subject for _, subject in MADE} == set(Subject)


def test_plain_english_words_every_refusal_and_no_other() -> None:
    assert wording.WORDS.keys() == MADE.keys()


def test_pagure_words_every_refusal_that_it_can_meet_and_no_other() -> None:
    assert not pagure.WORDS.keys() & pagure.UNSERVED
    assert pagure.WORDS.keys() | pagure.UNSERVED == MADE.keys()


@pytest.mark.parametrize(
    "templates",
    [wording.WORDS, {key: answer.sentence for key, answer in pagure.WORDS.items()}],
    ids=["plain English", "Pagure"],
)
def test_a_sentence_names_nothing_that_its_refusal_does_not_say(templates: Mapping[Key, str]) -> None:
    for key, template in templates.items():
        for given in MADE[key]:
            assert names(template) - {"refusal"} <= given, key


def test_a_sentence_is_put_where_its_field_is_known() -> None:
    for key, answer in pagure.WORDS.items():
        if answer.shape is pagure.Shape.FIELD:
            assert all("field" in given for given in MADE[key]), key


@pytest.mark.parametrize("table", [wording.PUSH_REFUSALS, pagure.PUSH_REFUSALS], ids=["plain English", "Pagure"])
def test_every_reason_against_a_push_is_worded(table: Mapping[PushReason, str]) -> None:
    assert table.keys() == set(PushReason)
    assert {name for template in table.values() for name in names(template)} <= {"commit"}


@pytest.mark.parametrize("table", [wording.FAILURES, words.FAILURES], ids=["plain English", "Pagure"])
def test_every_reason_why_work_is_given_up_is_worded(table: Mapping[FailureReason, str]) -> None:
    assert table.keys() == set(FailureReason)


@pytest.mark.parametrize("reason", FailureReason)
def test_a_failure_is_told_with_all_that_belongs_to_it(reason: FailureReason) -> None:
    params = {
        "branch": "topic", "project": "fork/bob/x", "username": "bob", "text": "As it was told.",
        "refusal": PushReason.UNSIGNED, "commit": "abc",
    }  # fmt: skip
    assert "{" not in wording.describe_failure(reason, params)
    assert "{" not in words.describe_failure(reason, params)


def constants(tree: ast.Module) -> Iterator[str]:
    """Every text of a module but its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def fragments(template: str) -> Iterator[str]:
    """What a sentence says between its parameters, as far as it could not be anything else."""
    for text, *_ in string.Formatter().parse(template):
        plain = normal(text)
        if plain.count(" ") >= 2:
            yield plain


def normal(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", " ".join(text.lower().split()))


def sentences() -> Iterator[str]:
    yield from wording.WORDS.values()
    yield from (answer.sentence for answer in pagure.WORDS.values())
    for table in (wording.PUSH_REFUSALS, pagure.PUSH_REFUSALS, wording.FAILURES, words.FAILURES, pagure.MESSAGES):
        yield from table.values()
    yield pagure.PUSH_DECLINED


def test_core_workers_and_events_say_no_sentence_of_a_dialect() -> None:
    told = {each for template in sentences() for each in fragments(template.replace("{url}", ""))}
    assert "you cannot close a ticket that has ticket depending that are still open" in told
    for path, tree in sources(*SILENT):
        for text in map(normal, constants(tree)):
            assert not [each for each in told if each in text], (path, text)


def test_no_sentence_is_given_to_a_refusal() -> None:
    for _, node in calls(ROOT / "app", ROOT / "workers"):
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                assert " " not in each.value, each.value


def test_a_refusal_says_what_it_is_about_where_only_its_exception_is_seen() -> None:
    refused = errors.Invalid(Subject.CHOICE, "status", choices=["Open"])
    assert str(refused) == "('choice', 'status', {'choices': ['Open']})"
