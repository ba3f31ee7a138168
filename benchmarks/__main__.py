"""Start a forge, seed it, measure it and print the table of results."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.measures import MEASURES, Bench


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run each load for 3 seconds instead of 10")
    parser.add_argument(
        "--only", action="append", choices=list(MEASURES), help="run this measure only; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="also write the table to docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyforge-bench-") as folder:
        Path(folder).chmod(0o755)
        bench = Bench(Path(folder), secrets.token_urlsafe(24), seconds=3 if options.quick else 10)
        rows = asyncio.run(bench.run(options.only or list(MEASURES)))
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    print(report.render_section(rows, command))
    if options.write:
        report.write(rows, command)


if __name__ == "__main__":
    main()
