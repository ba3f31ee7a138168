"""The forge of a walk and the requests to it; every response is checked here."""

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
from tests.conftest import Client, Forge, prepare_settings, run_forge
from tests.databases import fresh_database
from tests.walk.model import ADMIN, NOBODY, OWNER, PEOPLE, Model, Project

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
# The commands that rules execute. A rule fails if it executes one that it does not declare.
REQUESTED: set[type[Command]] = set()

SECRET = "hush-hush"  # used for every secret

projects: Bundle[str] = Bundle("projects")  # paths; some may be deleted
issues: Bundle[tuple[str, int]] = Bundle("issues")  # paths and numbers
pulls: Bundle[tuple[str, int]] = Bundle("pulls")


class Who(NamedTuple):
    """A user and the token they use: bound to the project ("own"), unlimited ("whole") or of other scopes ("other").

    The name OWNER stands for the owner of the project.
    """

    name: str
    token: str = "own"


class Answer(NamedTuple):
    status: int
    body: Any

    @property
    def accepted(self) -> bool:
        return self.status < 300


def exercises(*commands: type[Command]) -> Callable[[F], F]:
    """Declare the commands that a rule executes; none if it only reads."""
    REQUESTED.update(commands)

    def declare(rule: F) -> F:
        @functools.wraps(rule)
        def asking(world: "World", **chosen: Any) -> Any:
            world.kinds, world.failed = {command.kind for command in commands}, True
            found = rule(world, **world.name_owner(chosen))
            world.failed = False
            return found

        return asking  # type: ignore[return-value]

    return declare


class AllRules:
    """Enable all rules. Hypothesis would disable some in each walk, and so combine two rules much less often."""

    def is_enabled(self, rule: str) -> bool:
        return True


class World(RuleBasedStateMachine):
    """The state machine. Hypothesis runs it in a thread of its own; the forge runs on the test's event loop."""

    loop: asyncio.AbstractEventLoop
    services: tuple[str, str]

    def __init__(self) -> None:
        super().__init__()
        self._rules_strategy.enabled_rules_strategy = st.just(AllRules())
        self.model = Model()
        self.kinds: set[str] = set()
        self.failed = False
        self.requests = 0
        self.tokens: dict[tuple[Any, ...], Client] = {}
        self.stack = contextlib.AsyncExitStack()
        try:
            self.forge = self.run(self._start_forge())
            self.set_up_project()
        except BaseException:
            self.run(self.stack.aclose())
            raise

    async def _start_forge(self) -> Forge:
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="polyforge-walk-")))
        url = await self.stack.enter_async_context(fresh_database(self.services[0]))
        settings = await prepare_settings(url, self.services, self.folder / "data")
        forge = await self.stack.enter_async_context(run_forge(settings))
        for name in PEOPLE:
            self.tokens[name, "whole"] = await forge.user(name)
        self.tokens[ADMIN, "whole"] = forge.admin
        for name in (*PEOPLE, ADMIN):
            self.tokens[name, "other"] = await self.tokens[name, "whole"].limited(acls=["internal_access"])
        return forge

    def name_owner(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Replace OWNER by the owner's name in the arguments of a rule."""
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
                self.check_everything()
        finally:
            self.run(self.stack.aclose())

    def set_up_project(self) -> None:
        """Create what every walk begins with."""
        raise NotImplementedError  # hypothesis makes the machine's class, so it cannot be an ABC; test_walk.py says it

    def check_everything(self) -> None:
        """Check all invariants at the end of a walk."""
        raise NotImplementedError  # a walk without checks must fail, not pass

    def project(self, path: str) -> Project | None:
        return self.model.projects.get(path)

    async def client(self, who: Who, path: str | None = None) -> Client:
        """Return the client of a user with their token; an unlimited one if they cannot see the project."""
        if who.name == NOBODY:
            return self.forge.nobody
        whole = self.tokens[who.name, "whole"]
        if who.token != "own":
            return self.tokens[who.name, who.token]
        project = self.project(path) if path else None
        if project is None or not self.model.may_read(who.name, project):
            return whole
        key = (who.name, id(project))
        if key not in self.tokens:
            self.tokens[key] = await whole.limited(project=path)
        return self.tokens[key]

    def get(self, path: str, who: str = ADMIN) -> Answer:
        """Get a page of Pagure's API with an unlimited token."""
        return self.run(self.fetch(path, who))

    async def fetch(self, path: str, who: str = ADMIN) -> Answer:
        client = self.forge.nobody if who == NOBODY else self.tokens[who, "whole"]
        answer = Answer(*await client.pagure(path))
        assert answer.status < 500, (path, who, answer)
        return answer

    def view(self, path: str, who: str = ADMIN) -> Any:
        """Get a page that must exist."""
        answer = self.get(path, who)
        assert answer.status == 200, (path, who, answer)
        return answer.body

    def post(self, who: Who, path: str, end: str, *, allowed: bool = True, **form: Any) -> Answer:
        """Post a form to a path below the project."""
        return self.ask(who, "POST", f"/api/0/{path}{end}", path=path, allowed=allowed, data=form)

    def ask(
        self, who: Who, method: str, address: str, *, path: str | None = None, allowed: bool = True, **options: Any
    ) -> Answer:
        """Send a request. `allowed` is the model's opinion: a request that is not allowed must be refused."""
        return self.run(self._ask(who, method, address, path, allowed, options))

    async def _ask(
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
            may &= path is None or (project is not None and self.model.may_read(who.name, project))
            may &= not (method == "POST" and project and who.name in project.blocked)
            assert may, context
        elif path and not (project and self.model.may_read(who.name, project)):
            assert answer.status in (401, 404, 405), context
        await self._check_trace(request, answer, context)
        return answer

    async def _check_trace(self, request: str, answer: Answer, context: Any) -> None:
        """Check that a refused request has recorded nothing, and an accepted one only the rule's commands."""
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
        elif "task.failed" not in row["events"]:  # the command was accepted, but its task failed
            assert (row["commands"], row["events"]) == ([], []), (context, row)
