"""`polyforge rpc`: calls, their arguments, results and errors."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.ops import embedded
from tests.cli.rpc import KEY, PONG, Home, answer_with
from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.rpc import KALLITHEA, RHODECODE, Rpc

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_both_dialects_are_called_by_option_or_by_the_end_of_the_url(home: Home, nethack: Client) -> None:
    words = ("get_repo", "repoid:nethack", "nonsense:1")
    unknown = "Error: Unknown `nonsense` arg in JSON DATA\n"
    shown = await Rpc(nethack, RHODECODE).ask("get_repo", repoid="nethack")
    url, token = nethack.forge.url, nethack.token or ""
    by_option, by_default, by_url, by_both, refused = await asyncio.gather(
        home.ask(nethack, *words, "--dialect", "rhodecode"),
        home.ask(nethack, *words),
        home.run(*words, "--url", f"{url}/kallithea/", POLYFORGE_TOKEN=token),
        home.run(*words, "--url", f"{url}/kallithea", "--dialect", "rhodecode", POLYFORGE_TOKEN=token),
        home.fail(nethack, *words, "--dialect", "kallithea"),
    )
    assert by_option == by_default == json.loads(by_both[1]) == shown
    assert by_url == (1, "", unknown)
    assert refused == unknown


async def test_a_result_is_one_line_of_json_or_pretty(home: Home, nethack: Client) -> None:
    shown = await Rpc(nethack, KALLITHEA).ask("get_repo", repoid="nethack")
    url, token = f"{nethack.forge.url}/kallithea", nethack.token or ""
    pretty = f"Calling method get_repo => {url}\nServer response \n{json.dumps(shown, indent=4, sort_keys=True)}\n"
    words = ("get_repo", "repoid:nethack", "--url", url)
    line = (0, json.dumps(shown) + "\n", "")
    assert await asyncio.gather(
        home.run(*words, "--format", "pretty", POLYFORGE_TOKEN=token),
        home.run(*words, "--format", "json", POLYFORGE_TOKEN=token),
        home.run(*words, "--json", POLYFORGE_TOKEN=token),
        home.run(*words, POLYFORGE_TOKEN=token),
    ) == [(0, pretty, ""), line, line, line]
    async with home.start(*words, terminal=True, POLYFORGE_TOKEN=token) as command:
        assert await command.read_line() == f"Calling method get_repo => {url}"
        assert (await command.read_line(), await command.read_line()) == ("Server response", "{")
    for option in (["--json"], ["--format", "json"]):
        async with home.start(*words, *option, terminal=True, POLYFORGE_TOKEN=token) as command:
            assert await command.read_json() == shown


async def test_results_cannot_manipulate_a_terminal(home: Home, receiver: Receiver) -> None:
    receiver.responses += [answer_with('{"id": ID, "result": "\\u001b[2J\u202e\u009b\\ud800", "error": null}')] * 2
    for form in ("json", "pretty"):
        code, output, _ = await home.send(receiver, "--format", form)
        assert (code, output.splitlines()[-1]) == (0, '"\\u001b[2J\\u202e\\u009b\\ud800"')


async def test_values_are_sent_as_strings_that_are_split_at_the_first_colon(home: Home, receiver: Receiver) -> None:
    receiver.responses.append(PONG)
    values = {
        "url": "http://host:80/a?b=c:d", "empty": "", "colon": ":", "true": "true", "number": "1", "null": "null",
        "list": "[1, 2]", "object": '{"a": 1}', "text": " Grüße 🐙\n", "quoted": '"x"', "-dash": "-1", "a b": "@file",
    }  # fmt: skip
    words = [f"{key}:{value}" for key, value in values.items()]
    assert await home.send(receiver, "--", *words) == (0, '"pong"\n', "")
    [got] = receiver.received
    assert got.path == "/hook/_admin/api"
    assert got.json == {"id": got.json["id"], "api_key": KEY, "method": "ping", "args": values}
    assert got.json["id"]


async def test_values_of_every_type_come_from_a_file(home: Home, receiver: Receiver) -> None:
    receiver.responses.append(PONG)
    values = {"b": True, "i": 12345678901234567890123, "f": 1.5, "n": None, "l": [1, {}], "o": {"a": []}, "s": "\u00fc"}
    file = home.write("args", json.dumps(values))
    assert (await home.send(receiver, "--args-file", file, "more:1"))[0] == 0
    assert json.loads(receiver.received[0].body)["args"] == {**values, "more": "1"}


async def test_the_forge_understands_strings_as_every_type(home: Home, nethack: Client) -> None:
    text = "see https://example.org:8443/a?b=c:d"
    await home.ask(nethack, "create_repo", "repo_name:moria", "repo_type:git", "private:yes", f"description:{text}")
    shown, commits = await asyncio.gather(
        home.ask(nethack, "get_repo", "repoid:moria", "cache:off"),
        home.ask(nethack, "get_repo_changesets", "repoid:nethack", "start_rev:0", "limit:1"),
    )
    assert (shown["private"], shown["description"], len(commits)) == (True, text, 1)
    refused = await home.fail(nethack, "get_repo", "repoid:moria", "cache:perhaps")
    assert "perhaps" in refused


async def test_a_refused_call_exits_with_1(home: Home, forge: Forge, nethack: Client) -> None:
    wrong = Client(forge, "pf_" + "x" * 46)
    lacking = await nethack.limited(acls=["modify_project"])
    words = ("get_repo", "repoid:nethack")
    assert await asyncio.gather(
        home.fail(nethack, "nonsense"),
        home.fail(nethack, "nonsense", "--dialect", "kallithea"),
        home.fail(nethack, "get_repo"),
        home.fail(nethack, "get_repo", "repoid:moria"),
        home.fail(lacking, "create_repo", "repo_name:moria", "repo_type:git"),
        home.fail(wrong, *words),
        home.fail(wrong, *words, "--dialect", "kallithea"),
    ) == [
        "Error: No such method: nonsense. Similar methods: none\n",
        "Error: No such method: nonsense\n",
        "Error: Missing non optional `repoid` arg in JSON DATA\n",
        "Error: repository `moria` does not exist\n",
        "Error: Access was denied to this resource.\n",
        "Error: Invalid API KEY\n",
        "Error: Invalid API key\n",
    ]  # fmt: skip


async def test_a_refused_call_prints_no_result_in_pretty_output(home: Home, nethack: Client) -> None:
    url, token = nethack.forge.url, nethack.token or ""
    assert await home.run("nonsense", "--format", "pretty", "--url", url, POLYFORGE_TOKEN=token) == (
        1,
        f"Calling method nonsense => {url}\n",
        "Error: No such method: nonsense. Similar methods: none\n",
    )


async def test_an_unreachable_server_exits_with_1(home: Home) -> None:
    url = f"http://127.0.0.1:{embedded.free_port()}"
    code, output, errors = await home.run("get_user", "--url", url, POLYFORGE_TOKEN=KEY)
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"Error: Cannot reach {url}: ")


NO_RPC = "Error: {url}/_admin/api does not speak JSON-RPC.\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answer_with('{"id": ID, "result": null, "error": {"repo_name": "Required", "b": 1}}'),
         "Error: repo_name: Required; b: 1\n"),
        (answer_with('{"id": null, "result": null, "error": "JSON parse error\\nRAW:\\u001b[2J"}'),
         "Error: JSON parse error\ufffdRAW:\ufffd[2J\n"),
        (answer_with('{"id": ID, "result": null, "error": ""}'), "Error: \n"),
        (answer_with('{"id": ID, "result": null, "error": "KEY is no key"}'), "Error: *** is no key\n"),
        (answer_with('{"id": "other", "result": 1, "error": null}'),
         "Error: {url}/_admin/api answered another call.\n"),
        (answer_with('{"result": 1}'), NO_RPC),
        (answer_with("[" * 200_000), NO_RPC),
        (answer_with('{"id":'), NO_RPC),
        (answer_with("<html>", content_type="text/html"), "Error: {url} is not a Polyforge API.\n"),
        (answer_with("x", status=404), "Error: {url}/_admin/api returned 404 Not Found\n"),
        (answer_with("x", status=503), "Error: {url}/_admin/api returned 503 Service Unavailable\n"),
        (answer_with("x", status=307, Location="/elsewhere"),
         "Error: {url}/_admin/api returned 307 Temporary Redirect\n"),
    ],
)  # fmt: skip
async def test_an_error_or_an_odd_answer_is_one_sentence(
    home: Home, receiver: Receiver, answer: Callable[..., Any], expected: str
) -> None:
    receiver.responses.append(answer)
    assert await home.send(receiver) == (1, "", expected.replace("{url}", receiver.url))
    assert len(receiver.received) == 1


async def test_a_result_may_be_empty(home: Home, receiver: Receiver) -> None:
    receiver.responses.append(answer_with('{"id": ID, "result": null, "error": null}'))
    assert await home.send(receiver) == (0, "null\n", "")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "Missing argument 'METHOD'"),
        (["get_repo", "a:1", "hunter2"], "number 2 has no key or no colon"),
        (["get_repo", ":hunter2"], "number 1 has no key or no colon"),
        (["get_repo", "a:1", "a:hunter2"], "number 2 has a key that was given before"),
        (["get_repo", "a:\udcff"], "must be text in UTF-8"),
        (["get_repo", "--format", "xml"], "'xml' is not one of 'json', 'pretty'"),
        (["get_repo", "--json", "--format", "pretty"], "--json and --format pretty contradict each other"),
        (["get_repo", "--apikey", "hunter2"], "No such option: --apikey"),
    ],
)
async def test_wrong_usage_exits_with_2(home: Home, receiver: Receiver, words: list[str], fault: str) -> None:
    code, output, errors = await home.run(*words, POLYFORGE_URL=receiver.url, POLYFORGE_TOKEN=KEY)
    assert (code, output) == (2, "")
    assert fault in errors
    assert "hunter2" not in errors
    assert receiver.received == []


@pytest.mark.parametrize("content", ["[]", '{"a": NaN}', "[" * 200_000, "\udcff"])
async def test_a_file_of_arguments_must_be_a_json_object(home: Home, receiver: Receiver, content: str) -> None:
    file = home.path / "args"
    file.write_bytes(content.encode(errors="surrogateescape"))
    expected = (2, "", f"Error: {file} is not a JSON object.\n")
    assert await home.send(receiver, "--args-file", str(file)) == expected


async def test_arguments_from_the_standard_input(home: Home, receiver: Receiver) -> None:
    missing = home.path / "missing"
    assert await asyncio.gather(
        home.send(receiver, "--args-file", "-"), home.send(receiver, "--args-file", str(missing))
    ) == [
        (2, "", "Error: The standard input is not a JSON object.\n"),
        (2, "", f"Error: Cannot read {missing}: No such file or directory.\n"),
    ]
