"""Rules for users, tokens and groups."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, multiple, rule

from app.core.groups import AddMember, CreateGroup, RemoveMember
from app.core.users import CreateUser, IssueToken, RevokeToken
from tests.conftest import Client
from tests.walk.model import ADMIN, NOBODY, OWNER, PEOPLE
from tests.walk.world import Who, World, exercises

tokens: Bundle[Any] = Bundle("tokens")
usernames = st.sampled_from(PEOPLE)
people = st.builds(
    Who,
    st.sampled_from((*PEOPLE, *PEOPLE, *[OWNER] * 6, ADMIN, NOBODY)),
    st.sampled_from((*["own"] * 8, "whole", "other")),
)
GROUPS = ("hackers", "gnomes")
groups = st.sampled_from(GROUPS)


class People(World):
    @rule(who=people, name=st.sampled_from(("dave", "erin", "Alice", "hackers")))
    @exercises(CreateUser)
    def create_user(self, who: Who, name: str) -> None:
        free = name.lower() not in {*self.model.users, *self.model.groups}
        command = {"username": name, "email": f"{name}@example.com"}
        answer = self.ask(who, "POST", "/v1/users", json=command, allowed=who.name == ADMIN and free)
        if answer.accepted:
            self.model.users.add(name)
            assert self.view(f"/user/{name}")["user"]["name"] == name

    @rule(target=tokens, who=people, name=usernames)
    @exercises(IssueToken)
    def issue_token(self, who: Who, name: str) -> Any:
        address = f"/v1/users/{name}/tokens"
        answer = self.ask(who, "POST", address, json={"description": "t"}, allowed=who.name in (name, ADMIN))
        if not answer.accepted:
            return multiple()
        assert self.whoami(answer.body["token"]) == (200, name)
        return answer.body["id"], name, answer.body["token"]

    def whoami(self, secret: str) -> tuple[int, str | None]:
        status, body = self.run(Client(self.forge, secret).post("/-/whoami"))
        return status, body.get("username")

    @rule(who=people, token=consumes(tokens))
    @exercises(RevokeToken)
    def revoke_token(self, who: Who, token: Any) -> None:
        key, name, secret = token
        answer = self.ask(who, "DELETE", f"/v1/tokens/{key}", allowed=who.name in (name, ADMIN))
        assert self.whoami(secret) == ((401, None) if answer.accepted else (200, name))

    @rule(who=people, name=groups)
    @exercises(CreateGroup)
    def create_group(self, who: Who, name: str) -> None:
        free = name not in {*self.model.groups, *self.model.users}
        if self.ask(who, "POST", "/v1/groups", json={"name": name}, allowed=free).accepted:
            self.model.groups[name] = {who.name}
            self.model.creators[name] = who.name
            self.check_members(name)

    @rule(who=people, group=groups, name=st.sampled_from((*PEOPLE, "ghost")))
    @exercises(AddMember)
    def add_member(self, who: Who, group: str, name: str) -> None:
        members = self.model.groups.get(group, set())
        may = who.name in {*members, self.model.creators.get(group), ADMIN} and name in self.model.users
        if self.ask(who, "POST", f"/api/0/group/{group}/add", data={"user": name}, allowed=may).accepted:
            members.add(name)
            self.check_members(group)

    @rule(who=people, group=groups, name=usernames)
    @exercises(RemoveMember)
    def remove_member(self, who: Who, group: str, name: str) -> None:
        members = self.model.groups.get(group, set())
        may = who.name in {*members, ADMIN} and name in members and name != self.model.creators.get(group)
        if self.ask(who, "POST", f"/api/0/group/{group}/remove", data={"user": name}, allowed=may).accepted:
            members.discard(name)
            self.check_members(group)

    def check_members(self, name: str) -> None:
        assert set(self.view(f"/group/{name}")["members"]) == self.model.groups[name]
