"""The table: a figure beside its floor, and whether it met its aim."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Row:
    """One measure. `ratio` is figure : floor; `met` is None where there is no aim."""

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


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(rows: list[Row], command: str) -> str:
    """The table and what it was measured on."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"Measured on {today} with `{command}`: {machine.described()}. The load generator, PostgreSQL, Valkey and "
        f"the forge (one API process, one worker, one relay) share these cores.\n\n{table(rows)}\n"
    )


def write(rows: list[Row], command: str) -> None:
    """Put the section between the markers of docs/performance.md, which is made if it is not there."""
    text = PAGE.read_text() if PAGE.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{section(rows, command)}{END}{after}")
