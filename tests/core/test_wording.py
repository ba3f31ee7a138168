"""The core gives reasons as data; every dialect has a sentence for each, and no sentence stands outside of them."""

import ast
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app import errors
from app.core.push_policy import PushReason
from app.dialects.pagure import errors as pagure
from app.dialects.pagure import words
from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused, Subject
from app.http import wording
from events.notes import NoteReason
from events.tasks import FailureReason

ROOT = Path(__file__).parents[2]
KINDS = {kind.__name__: kind for kind in (NotFound, Forbidden, Invalid, Malformed, Conflict, Disabled)}
WORDINGS = [ROOT / "app" / "dialects" / "pagure" / "words.py"]
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


PARAMS = {
    "action": "push", "boards": ["app", "web"], "choices": ("a", "b"), "limit": 3, "minimum": 2, "names": ["x"],
    "reason": PushReason.UNSIGNED, "commit": "abc",
}  # fmt: skip


@pytest.mark.parametrize("key", MADE, ids=lambda key: f"{key[0].__name__} {key[1]}")
def test_every_refusal_can_be_told(key: Key) -> None:
    kind, subject = key
    for given in MADE[key]:
        params = {name: PARAMS.get(name, "x") for name in given - {"field"}} | (
            {"reason": PARAMS["reason"], "commit": "abc"} if subject is Subject.REF else {}
        )
        refused = kind(subject, "name" if "field" in given else "", **params)
        assert "{" not in wording.describe_refusal(refused)
        error = pagure.render_refusal(refused)
        assert "{" not in f"{error.message} {error.errors or ''}".replace("{'name'", "")


@pytest.mark.parametrize("table", [wording.PUSH_REFUSALS, pagure.PUSH_REFUSALS], ids=["plain English", "Pagure"])
def test_every_reason_against_a_push_is_worded(table: Mapping[PushReason, str]) -> None:
    assert table.keys() == set(PushReason)
    assert {name for template in table.values() for name in names(template)} <= {"commit", "limit"}


@pytest.mark.parametrize("table", [wording.FAILURES, words.FAILURES], ids=["plain English", "Pagure"])
def test_every_reason_why_work_is_given_up_is_worded(table: Mapping[FailureReason, str]) -> None:
    assert table.keys() == set(FailureReason)


@pytest.mark.parametrize("reason", FailureReason)
def test_a_failure_is_told_with_all_that_belongs_to_it(reason: FailureReason) -> None:
    params = {
        "branch": "topic", "project": "fork/bob/x", "username": "bob", "text": "As it was known.",
        "refusal": PushReason.UNSIGNED, "commit": "abc",
    }  # fmt: skip
    assert "{" not in wording.describe_failure(reason, params)
    assert "{" not in words.describe_failure(reason, params)


NOTES: dict[NoteReason, tuple[dict[str, Any], str]] = {
    NoteReason.ASSIGNED: ({}, "**Metadata Update from @bob**:\n- Request assigned"),
    NoteReason.CLOSED: ({}, "Pull-Request has been closed by bob"),
    NoteReason.COMMITS_ADDED: (
        {"count": 2, "subjects": ["Add {b}", "Add a"]},
        "**2 new commits added**\n\n * ``Add {b}``\n * ``Add a``",
    ),
    NoteReason.ISSUE_FIXED: ({"commit": "a" * 40}, " Commit [aaaaaaaa](http://f/x/c/aaaaaaaa) fixes this issue"),
    NoteReason.ISSUE_RELATED: (
        {"commit": "a" * 40},
        " Commit [aaaaaaaa](http://f/x/c/aaaaaaaa) relates to this ticket",
    ),
    NoteReason.MERGED: ({}, "Pull-Request has been merged by bob"),
    NoteReason.PULL_REQUEST_FIXED: (
        {"commit": "a" * 40},
        " Commit [aaaaaaaa](http://f/x/c/aaaaaaaa) fixes this pull-request",
    ),
    NoteReason.REBASED: ({"onto": None}, "rebased onto unknown target"),
    NoteReason.REOPENED: ({}, "Pull-Request has been reopened by bob"),
    NoteReason.STATED: ({"text": "As it was {told}."}, "As it was {told}."),
    NoteReason.UNASSIGNED: ({}, "**Metadata Update from @bob**:\n- Request assignee reset"),
    NoteReason.UPDATED: (
        {"changed": {"milestone": "v1"}, "previous": {"milestone": None}},
        "**Metadata Update from @bob**:\n- Issue set to the milestone: v1",
    ),
}


@pytest.mark.parametrize("reason", NoteReason)
def test_pagure_words_every_comment_that_the_forge_writes(reason: NoteReason) -> None:
    params, text = NOTES[reason]
    assert words.describe_note("http://f/x", "bob", {"reason": reason, **params}) == text
    assert words.NOTES.keys() == set(NoteReason)


@pytest.mark.parametrize(
    ("changed", "previous", "sentences"),
    [
        ({"status": "Closed", "close_status": None}, {"status": "Open", "close_status": "Old"},
         ["Issue status updated to: Closed (was: Open)", "Issue close_status updated to: None (was: Old)"]),
        ({"status": "Open", "close_status": None}, {"status": "Closed", "close_status": "Fixed"},
         ["Issue status updated to: Open (was: Closed)"]),
        ({"close_status": "Fixed"}, {"close_status": None}, ["Issue close_status updated to: Fixed"]),
        ({"milestone": None}, {"milestone": "v1"}, ["Issue set to the milestone: None (was: v1)"]),
        ({"assignee": None}, {"assignee": "bob"}, ["Assignee reset"]),
        ({"assignee": "al"}, {"assignee": "bob"}, ["Issue assigned to al (was: bob)"]),
        ({"depends": [1, 2, 3]}, {"depends": [2]},
         ["Issue marked as depending on: #1", "Issue marked as depending on: #3"]),
        ({"custom_fields": {"a": None, "b": "1", "c": "2"}}, {"custom_fields": {"a": "x", "b": None, "c": "y"}},
         ["Custom field a reset (from x)", "Custom field b adjusted to 1", "Custom field c adjusted to 2 (was: y)"]),
        ({"boards": {}, "status": "Open", "tags": ["a", "b"]}, {"status": "Closed", "tags": ["a"]},
         ["Issue tagged with: b", "Issue status updated to: Open (was: Closed)"]),
        ({"title": "t", "content": "c"}, {}, []),
    ],
)  # fmt: skip
def test_pagure_words_every_change_of_an_issue(
    changed: dict[str, Any], previous: dict[str, Any], sentences: list[str]
) -> None:
    assert words.describe_changes(changed, previous) == sentences


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
    """Whatever a dialect may say: its tables, and for what is built piece by piece the texts of its module."""
    yield from wording.WORDS.values()
    yield from (answer.sentence for answer in pagure.WORDS.values())
    for table in (wording.PUSH_REFUSALS, pagure.PUSH_REFUSALS, wording.FAILURES, words.FAILURES, pagure.MESSAGES):
        yield from table.values()
    yield pagure.PUSH_DECLINED
    yield from (each for path in WORDINGS for each in constants(ast.parse(path.read_text())))


def test_core_workers_and_events_say_no_sentence_of_a_dialect() -> None:
    known = {each for template in sentences() for each in fragments(template)}
    assert "you cannot close a ticket that has ticket depending that are still open" in known
    for path, tree in sources(*SILENT):
        if path.name == "upcasts.py":
            continue  # it reads what old events say
        for text in map(normal, constants(tree)):
            assert not [each for each in known if each in text], (path, text)


def test_no_sentence_is_given_to_a_refusal() -> None:
    for _, node in calls(ROOT / "app", ROOT / "workers"):
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                assert " " not in each.value, each.value


def test_a_refusal_says_what_it_is_about_where_only_its_exception_is_seen() -> None:
    refused = errors.Invalid(Subject.CHOICE, "status", choices=["Open"])
    assert str(refused) == "('choice', 'status', {'choices': ['Open']})"
