"""The table of results: each figure with its floor and its aim."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Row:
    """One measure. `ratio` is figure divided by floor; `met` is None without an aim."""

    measure: str
    figure: str
    floor: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        verdict = {None: "", True: "met", False: "**missed**"}[self.met]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return [self.measure, self.figure, self.floor, ratio, self.aim, verdict]


HEAD = ["measure", "figure", "floor", "ratio", "aim", ""]


def render_table(rows: list[Row]) -> str:
    """Render the rows as a Markdown table."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render_section(rows: list[Row], command: str) -> str:
    """Render the table and the machine that it was measured on."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"Measured on {today} with `{command}`: {machine.describe_machine()}. The load generator, PostgreSQL, Valkey "
        f"and the forge (one API process, one worker, one relay) share these cores.\n\n{render_table(rows)}\n"
    )


def write(rows: list[Row], command: str) -> None:
    """Write the section between the markers of docs/performance.md, which is created if it does not exist."""
    text = PAGE.read_text() if PAGE.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{render_section(rows, command)}{END}{after}")
