"""Rules for the boards of trackers."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from app.core.boards import DeleteBoards, PlaceIssues, SetBoards, SetBoardStatuses
from tests.walk.model import COMMIT, Project
from tests.walk.people import people
from tests.walk.projects import TAGS
from tests.walk.tracker import Tracker
from tests.walk.world import Answer, Who, exercises, issues, projects

names = st.sampled_from(("plan", "sprint"))
# Two lists of statuses; the first of each is its default.
STATUSES: tuple[dict[str, dict[str, Any]], ...] = (
    {"Backlog": {"rank": 1, "default": True}, "Done": {"rank": 2, "default": False, "close": True}},
    {"Someday": {"rank": 1, "default": True}},
)


class Boards(Tracker):
    def may_manage(self, who: Who, path: str, board: str | None = None) -> bool:
        """Whether the user may change the boards of the project, and the given board exists."""
        project = self.project(path)
        if project is None or not project.tracker or project.read_only:
            return False
        return self.model.level(who.name, project) >= COMMIT and (board is None or board in project.boards)

    def manage(self, who: Who, path: str, end: str, body: Any, *, allowed: bool) -> Answer:
        return self.ask(who, "POST", f"/api/0/{path}/boards{end}", path=path, json=body, allowed=allowed)

    @rule(who=people, path=projects, wanted=st.sets(names, min_size=1), tag=st.sampled_from(TAGS))
    @exercises(SetBoards)
    def set_boards(self, who: Who, path: str, wanted: set[str], tag: str) -> None:
        project = self.project(path)
        may = self.may_manage(who, path) and project is not None and tag in project.tags
        command = {name: {"active": True, "tag": tag} for name in sorted(wanted)}
        if self.manage(who, path, "", command, allowed=may).accepted and project:
            self._remove_boards(project, project.boards.keys() - wanted)
            project.boards |= {name: tag for name in wanted}
            project.statuses |= {name: {} for name in wanted - project.statuses.keys()}
            self.check_boards(project)

    def _remove_boards(self, project: Project, gone: set[str]) -> None:
        for name in gone:
            del project.boards[name], project.statuses[name]
            for issue in project.issues.values():
                issue.boards.pop(name, None)

    @rule(who=people, path=projects, board=names)
    @exercises(DeleteBoards)
    def delete_board(self, who: Who, path: str, board: str) -> None:
        may, project = self.may_manage(who, path), self.project(path)
        if self.manage(who, path, "/delete", {"name": board}, allowed=may).accepted and project:
            self._remove_boards(project, {board} & project.boards.keys())
            self.check_boards(project)

    @rule(who=people, path=projects, board=names, statuses=st.sampled_from(STATUSES))
    @exercises(SetBoardStatuses)
    def set_board_statuses(self, who: Who, path: str, board: str, statuses: dict[str, Any]) -> None:
        may, project = self.may_manage(who, path, board), self.project(path)
        if self.manage(who, path, f"/{board}/status", statuses, allowed=may).accepted and project:
            project.statuses[board] = statuses
            for issue in project.issues.values():
                if issue.boards.get(board, next(iter(statuses))) not in statuses:
                    issue.boards[board] = next(iter(statuses))
            self.check_boards(project)

    @rule(who=people, at=issues, board=names, status=st.sampled_from(("Backlog", "Done", "Someday")))
    @exercises(PlaceIssues)
    def place_issue(self, who: Who, at: tuple[str, int], board: str, status: str) -> None:
        path, number = at
        project, issue = self.project(path), self.issue(at)
        may = self.may_manage(who, path, board) and issue is not None
        command = {str(number): {"rank": 1, "status": status}}
        if not self.manage(who, path, f"/{board}/add_issue", command, allowed=may).accepted or not (project and issue):
            return
        statuses, before = project.statuses[board], issue.boards.get(board)
        status = status if status in statuses else next(iter(statuses))
        if before is None:
            issue.tags.add(project.boards[board])
        if before != status:
            issue.status = "Closed" if statuses[status].get("close") else "Open"
        issue.boards[board] = status
        self.check_issue(project, number, self.view(f"/{path}/issue/{number}"))

    def check_boards(self, project: Project) -> None:
        if not project.tracker:
            return
        shown = self.view(f"/{project.path}/boards")["boards"]
        assert {each["name"]: each["tag"]["tag"] for each in shown} == project.boards
        for each in shown:
            assert {status["name"] for status in each["status"]} == project.statuses[each["name"]].keys()
