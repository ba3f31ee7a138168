"""The forge that a walk happens in, and how the walk asks it for things: every answer is looked at here."""

import asyncio
import contextlib
import functools
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine

from app.core.commands import Command
from tests.conftest import Client, Forge, running, settled
from tests.databases import fresh_database
from tests.walk.model import ADMIN, NOBODY, OWNER, PEOPLE, Model, Project

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
# What the rules ask for. A rule that asks for a command that is not written above it fails.
ASKED: set[type[Command]] = set()

SECRET = "hush-hush"  # what is given where a secret is asked for

projects: Bundle[str] = Bundle("projects")  # paths, of which some may be gone
issues: Bundle[tuple[str, int]] = Bundle("issues")  # paths and numbers
pulls: Bundle[tuple[str, int]] = Bundle("pulls")


class Who(NamedTuple):
    """Somebody and the token they bring: made for the project in question, for everything, or for something else.

    The name OWNER stands for whoever owns the project in question.
    """

    name: str
    token: str = "own"


class Answer(NamedTuple):
    status: int
    body: Any

    @property
    def accepted(self) -> bool:
        return self.status < 300


def asks(*commands: type[Command]) -> Callable[[F], F]:
    """Says which commands a rule asks for. None: it only looks."""
    ASKED.update(commands)

    def declare(rule: F) -> F:
        @functools.wraps(rule)
        def asking(world: "World", **chosen: Any) -> Any:
            world.kinds, world.failed = {command.kind for command in commands}, True
            found = rule(world, **world.named(chosen))
            world.failed = False
            return found

        return asking  # type: ignore[return-value]

    return declare


class Everything:
    """Hypothesis leaves out some rules in each walk, which takes many more walks to meet two rules in one of them."""

    def is_enabled(self, rule: str) -> bool:
        return True


class World(RuleBasedStateMachine):
    """Hypothesis chooses in a thread of its own; the forge runs where the test does."""

    loop: asyncio.AbstractEventLoop
    services: tuple[str, str]

    def __init__(self) -> None:
        super().__init__()
        self._rules_strategy.enabled_rules_strategy = st.just(Everything())
        self.model = Model()
        self.kinds: set[str] = set()
        self.failed = False
        self.requests = 0
        self.tokens: dict[tuple[Any, ...], Client] = {}
        self.stack = contextlib.AsyncExitStack()
        try:
            self.forge = self.run(self._started())
            self.begin()
        except BaseException:
            self.run(self.stack.aclose())
            raise

    async def _started(self) -> Forge:
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="polyforge-walk-")))
        url = await self.stack.enter_async_context(fresh_database(self.services[0]))
        settings = await settled(url, self.services, self.folder / "data")
        forge = await self.stack.enter_async_context(running(settings))
        for name in PEOPLE:
            self.tokens[name, "whole"] = await forge.user(name)
        self.tokens[ADMIN, "whole"] = forge.admin
        for name in (*PEOPLE, ADMIN):
            self.tokens[name, "other"] = await self.tokens[name, "whole"].limited(acls=["internal_access"])
        return forge

    def named(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """What was chosen for a rule, with the owner's name."""
        who = chosen.get("who")
        if who is None or who.name != OWNER:
            return chosen
        path = chosen.get("path") or chosen.get("at", ("",))[0]
        project = self.project(path)
        return {**chosen, "who": who._replace(name=project.owner if project else PEOPLE[0])}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def teardown(self) -> None:
        try:
            if not self.failed:
                self.look_back()
        finally:
            self.run(self.stack.aclose())

    def begin(self) -> None:
        """What every walk begins with."""
        raise NotImplementedError  # hypothesis makes the machine's class, so it cannot be an ABC; test_walk.py says it

    def look_back(self) -> None:
        """What has to be so at the end of every walk."""
        raise NotImplementedError  # a walk that forgot to look back shall fail, and not pass for having seen nothing

    def project(self, path: str) -> Project | None:
        return self.model.projects.get(path)

    async def client(self, who: Who, path: str | None = None) -> Client:
        """Somebody with their token. Without a project they can see they bring one for everything."""
        if who.name == NOBODY:
            return self.forge.nobody
        whole = self.tokens[who.name, "whole"]
        if who.token != "own":
            return self.tokens[who.name, who.token]
        project = self.project(path) if path else None
        if project is None or not self.model.sees(who.name, project):
            return whole
        key = (who.name, id(project))
        if key not in self.tokens:
            self.tokens[key] = await whole.limited(project=path)
        return self.tokens[key]

    def get(self, path: str, who: str = ADMIN) -> Answer:
        """Something of Pagure's, seen with a token for everything."""
        return self.run(self.look(path, who))

    async def look(self, path: str, who: str = ADMIN) -> Answer:
        client = self.forge.nobody if who == NOBODY else self.tokens[who, "whole"]
        answer = Answer(*await client.pagure(path))
        assert answer.status < 500, (path, who, answer)
        return answer

    def shown(self, path: str, who: str = ADMIN) -> Any:
        """The same, which has to be there."""
        answer = self.get(path, who)
        assert answer.status == 200, (path, who, answer)
        return answer.body

    def post(self, who: Who, path: str, end: str, *, allowed: bool = True, **form: Any) -> Answer:
        """A form to a project's address."""
        return self.ask(who, "POST", f"/api/0/{path}{end}", path=path, allowed=allowed, data=form)

    def ask(
        self, who: Who, method: str, address: str, *, path: str | None = None, allowed: bool = True, **options: Any
    ) -> Answer:
        """A wish. `allowed` is what the model says: whoever may not is refused, and a refusal leaves nothing behind."""
        return self.run(self._asked(who, method, address, path, allowed, options))

    async def _asked(
        self, who: Who, method: str, address: str, path: str | None, allowed: bool, options: dict[str, Any]
    ) -> Answer:
        self.requests += 1
        client, request = await self.client(who, path), f"walk-{self.requests}"
        project = self.project(path) if path else None
        answer = Answer(*await client.request(method, address, headers={"X-Request-Id": request}, **options))
        context = (who, method, address, options, answer)
        assert answer.status < 500, context
        if answer.accepted:
            may = allowed and who.name != NOBODY and who.token != "other"
            may &= path is None or (project is not None and self.model.sees(who.name, project))
            may &= not (method == "POST" and project and who.name in project.blocked)
            assert may, context
        elif path and not (project and self.model.sees(who.name, project)):
            assert answer.status in (401, 404, 405), context
        await self._traced(request, answer, context)
        return answer

    async def _traced(self, request: str, answer: Answer, context: Any) -> None:
        """A wish that was refused has left nothing; one that was not is what the rule says it asks for."""
        row = await self.forge.db.fetchrow(
            """
            select array(select name from commands where request = $1) as commands,
                   array(select type from events where request = $1) as events
            """,
            request,
        )
        assert row is not None
        if answer.accepted:
            assert set(row["commands"]) <= self.kinds, (context, row)
        elif "task.failed" not in row["events"]:  # it was taken up, and could not be done
            assert (row["commands"], row["events"]) == ([], []), (context, row)
