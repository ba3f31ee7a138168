"""Strategies for hostile input."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.raw import FETCH, PUSH


async def for_all(
    check: Callable[..., Awaitable[None]], examples: int, /, **strategies: st.SearchStrategy[Any]
) -> None:
    """Run the check on generated arguments. Hypothesis runs in a thread, the check on this event loop."""
    loop = asyncio.get_running_loop()

    @hypothesis_settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck
    )
    @given(**strategies)
    def choose(**chosen: Any) -> None:
        asyncio.run_coroutine_threadsafe(_await(check(**chosen)), loop).result(30)

    await asyncio.to_thread(choose)


async def _await(check: Awaitable[None]) -> None:
    await check


# ---------------------------------------------------------------- strategies

SHARP = [
    "", " ", ".", "..", "../../etc/passwd", "-", "--help", "--upload-pack=x", "-u", "a/b", "a\\b", "/", "~",
    "$(id)", "`id`", "a;b", "'", '"', "%00", "%2e%2e", "\x00", "a\x00b", "\n", "a\r\nb", "\x1b[31m", "\x7f",
    "\x85", "\u2028", "\u202e", "\ufeff", "\ufffe", "\U0010ffff", "\ud800", "ü", "ﬁ", "İ", "e\u0301", "１", "٣",
    "NULL", "null", "true", "None", "0", "-1", "1e9", "9" * 19, "9" * 400, "0" * 30 + "5", "NaN", "x" * 256,
    "x" * 5000, "ü" * 200, "x.git", "x.lock", "HEAD", "@", "@{", "a..b", "refs/heads/x", "a/" * 120 + "a",
    "api", "v1", "fork", "{repo}", "%s%n", "<script>", "nethack", "NETHACK", "*", "!",
]  # fmt: skip
nasty = st.sampled_from(SHARP) | st.text(st.characters(exclude_categories=()), max_size=40)
sane = st.from_regex(r"\A[a-z][a-z0-9_.+-]{0,20}\Z")
scalars = nasty | st.none() | st.booleans() | st.integers() | st.floats()
structures = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty, inner, max_size=3)
)
percent = st.binary(min_size=1, max_size=8).map(lambda each: "".join(f"%{byte:02x}" for byte in each))
segments = percent | st.sampled_from([
    "", ".", "..", "%2e%2e", "%2E", "%2f", "%5c", "%00", "%0a", "%7f", "%ff", "%c0%ae", "%ed%a0%80", "%",
    "%zz", "%25%32%65", "--upload-pack=x.git", "-x", "{repo}", "~", "+", "a+b", "%F0%9F%92%A9", "%E2%80%AE",
    "a" * 300, "nethack", "NETHACK", "nethack.git", ".git", "alice", "fork", "forks", "rpms", "issues", "issue",
    "1", "0", "999999999999999999999", "comment", "git", "branches", "new", "tasks", "users", "tokens", "events",
    "info", "refs", "-", "whoami", "0" * 32,
])  # fmt: skip
bodies = st.binary(max_size=60) | structures.map(json.dumps) | st.sampled_from([
    "{", "[", '{"title":', '{"title":"\\ud800"}', '{"title":"\\u0000"}', "{'title':1}", "\xff", "NaN", "1e999", "-",
    "null", '{"name":%s}' % ("[" * 400 + "]" * 400), "[" * 5000, '{"title":' + "9" * 5000 + "}", '{"a":1}{"b":2}',
    "title=%ff", "title=%", "&&&=&=", "a=" * 2000, "a&" * 2000, "--b\r\n\r\n--b--\r\n",
    "--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n",
    "--b",
    '--b\r\nContent-Disposition: form-data; name="title"\r\nContent-Transfer-Encoding: x\r\n\r\nx\r\n--b--\r\n',
])  # fmt: skip
media = st.sampled_from([
    "application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b", "multipart/form-data", "multipart/mixed; boundary=b", "text/plain", "/",
    ";", "x" * 300, b"\xff\xfe", "application/x-www-form-urlencoded; charset=utf-16",
    "application/x-www-form-urlencoded; charset=nonsense", "application/x-www-form-urlencoded; charset=hex",
    "application/x-www-form-urlencoded; charset=idna", PUSH[1], FETCH[1],
])  # fmt: skip


def vary(fields: dict[str, st.SearchStrategy[Any]], odd: st.SearchStrategy[Any] = nasty) -> st.SearchStrategy[Any]:
    """Generate these fields, or with one of them replaced by something odd."""
    one = st.sampled_from(sorted(fields)).flatmap(lambda name: st.fixed_dictionaries({**fields, name: odd}))
    return one | st.fixed_dictionaries(fields)
