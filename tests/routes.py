"""The routes as docs/api.md lists them; `python -m tests.routes` writes that page."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from app.dialects.pagure.urls import PROJECT_FORMS
from app.http.routes import Route, Routes

PREFIXES = {"app.dialects.pagure.pages": "", "app.dialects.pagure": "/api/0", "app.dialects.native": "/v1"}


def route_tables() -> list[Routes]:
    modules = [module for name, module in sys.modules.items() if name.startswith("app.")]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Routes)]


@dataclass(frozen=True)
class Call:
    """A route as the documentation shows it: the four forms of a project's path are written `{P}`."""

    route: Route
    prefix: str
    path: str

    @property
    def pattern(self) -> str:
        """The path below the prefix, as aiohttp writes it."""
        return re.sub(r":(?:[^{}]|\{[^{}]*\})+}", "}", self.route.path)

    @property
    def line(self) -> str:
        """The line in docs/api.md."""
        return f"| `{self.route.method}` | `{self.prefix}{self.path}` | {self.route.action} |"


def build_call(route: Route) -> Call:
    module = route.handler.__module__
    prefix = PREFIXES.get(module, PREFIXES.get(module.rpartition(".")[0], ""))
    path = re.sub(r"\{_\w+:[^{}]+}", "", route.path)  # slashes too many
    path = re.sub(r":[^{}]+}", "}", path)
    for form in reversed(PROJECT_FORMS) if "pagure" in module else ():
        if path.startswith(form):
            path = "/{P}" + path.removeprefix(form)
    return Call(route, prefix, path)


def list_calls() -> list[Call]:
    return [build_call(route) for table in route_tables() for route in table]


PAGE = Path(__file__).parent.parent / "docs" / "api.md"
ROWS = re.compile(r"(?:^\| `[A-Z]+` \|.*\n)+", re.MULTILINE)


def render_page() -> str:
    """Render docs/api.md with current tables: Pagure's calls, native ones, and those of neither dialect."""
    prefixes = iter(["/api/0", "/v1", ""])

    def rows(_: re.Match[str]) -> str:
        prefix = next(prefixes)
        return "".join(f"{line}\n" for line in sorted({call.line for call in list_calls() if call.prefix == prefix}))

    return ROWS.sub(rows, PAGE.read_text())


if __name__ == "__main__":
    import app.server  # noqa: F401 - brings all routes

    PAGE.write_text(render_page())
