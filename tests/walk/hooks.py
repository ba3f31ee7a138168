"""Rules for subscriptions, which are inactive: a walk delivers nothing."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, multiple, rule

from app.core.subscriptions import ChangeSubscription, CreateSubscription, DeleteSubscription
from tests.walk.model import ADMIN, ADMINISTER
from tests.walk.people import people
from tests.walk.world import SECRET, Who, World, exercises, projects

subscriptions: Bundle[Any] = Bundle("subscriptions")


class Hooks(World):
    def may_manage_subscription(self, who: Who, subscription: tuple[str, str, str]) -> bool:
        _, owner, path = subscription
        project = self.project(path)
        administrates = project is not None and self.model.level(who.name, project) >= ADMINISTER
        return who.name in (owner, ADMIN) or administrates

    @rule(target=subscriptions, who=people, path=projects)
    @exercises(CreateSubscription)
    def subscribe(self, who: Who, path: str) -> Any:
        command = {"url": f"https://example.org/{SECRET}", "project": path, "types": ["issue.*"], "active": False}
        answer = self.ask(who, "POST", "/v1/subscriptions", path=path, json=command)
        return (answer.body["id"], who.name, path) if answer.accepted else multiple()

    @rule(who=people, subscription=subscriptions, ordered=st.booleans())
    @exercises(ChangeSubscription)
    def change_subscription(self, who: Who, subscription: Any, ordered: bool) -> None:
        answer = self.ask(
            who, "PATCH", f"/v1/subscriptions/{subscription[0]}", json={"ordered": ordered},
            allowed=self.may_manage_subscription(who, subscription),
        )  # fmt: skip
        if answer.accepted:
            assert answer.body["ordered"] == ordered

    @rule(target=subscriptions, who=people, subscription=consumes(subscriptions))
    @exercises(DeleteSubscription)
    def delete_subscription(self, who: Who, subscription: Any) -> Any:
        address, may = f"/v1/subscriptions/{subscription[0]}", self.may_manage_subscription(who, subscription)
        answer = self.ask(who, "DELETE", address, allowed=may)
        # It is refused only for lack of access or for a token with other scopes.
        assert answer.accepted or not may or who.token == "other", (who, subscription, answer)
        return multiple() if answer.accepted else subscription
