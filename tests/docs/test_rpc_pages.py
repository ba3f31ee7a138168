"""The pages of the JSON-RPC dialects list what is served; `python -m tests.docs.test_rpc_pages` writes the tables."""

import json
import re

import pytest

from app.dialects import kallithea, rhodecode
from app.dialects.jsonrpc.dialect import RpcDialect
from app.dialects.jsonrpc.methods import Argument
from tests.docs.test_references import ROOT

DIALECTS = {"kallithea": kallithea.dialect, "rhodecode": rhodecode.dialect}
ROWS = re.compile(r"(?:^\| `\w+` \|.*\n)+", re.MULTILINE)


def describe(argument: Argument) -> str:
    return argument.name if argument.required else f"{argument.name}={json.dumps(argument.default)}"


def render_page(dialect: RpcDialect) -> str:
    rows = [
        f"| `{name}` | {' '.join(f'`{describe(each)}`' for each in method.arguments)} | {method.action} |\n"
        for name, method in sorted(dialect.methods.items())
    ]
    page = (ROOT / "docs" / "dialects" / f"{dialect.name}.md").read_text()
    return ROWS.sub(lambda _: "".join(rows), page, count=1)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_page_of_a_dialect_lists_its_methods(name: str) -> None:
    assert (ROOT / "docs" / "dialects" / f"{name}.md").read_text() == render_page(DIALECTS[name])


if __name__ == "__main__":
    for name, dialect in DIALECTS.items():
        (ROOT / "docs" / "dialects" / f"{name}.md").write_text(render_page(dialect))
