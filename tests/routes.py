"""The routes of the code, as the pages of docs write them."""

import re
import sys
from dataclasses import dataclass

from app.dialects.pagure.urls import FORMS
from app.web import Route, Routes

PREFIXES = {"app.dialects.pagure": "/api/0", "app.dialects.native": "/v1"}


def route_tables() -> list[Routes]:
    modules = [module for name, module in sys.modules.items() if name.startswith("app.")]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Routes)]


@dataclass(frozen=True)
class Call:
    """A route as a page shows it: Pagure's four addresses of a project are one, `{P}`."""

    route: Route
    prefix: str
    path: str

    @property
    def line(self) -> str:
        """Its line in docs/api.md."""
        return f"| `{self.route.method}` | `{self.prefix}{self.path}` | {self.route.action} |"


def call(route: Route) -> Call:
    prefix = PREFIXES.get(route.handler.__module__.rpartition(".")[0], "")
    path = re.sub(r":(\[0-9\]|\.)\+", "", route.path)
    for form in reversed(FORMS) if prefix == "/api/0" else ():
        if path.startswith(form):
            path = "/{P}" + path.removeprefix(form)
    return Call(route, prefix, path)


def calls() -> list[Call]:
    return [call(route) for table in route_tables() for route in table]
