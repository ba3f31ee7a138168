"""`python -m benchmarks`: start a forge, seed it, measure it, print the table."""

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
    parser.add_argument("--quick", action="store_true", help="3 seconds for each load instead of 10")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="this measure; may be repeated")
    parser.add_argument("--write", action="store_true", help="also write the table to docs/performance.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyforge-bench-") as folder:
        Path(folder).chmod(0o755)
        staging_dir = Bench(Path(folder), secrets.token_urlsafe(24), seconds=3 if given.quick else 10)
        rows = asyncio.run(staging_dir.run(given.only or list(MEASURES)))
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    print(report.section(rows, command))
    if given.write:
        report.write(rows, command)


if __name__ == "__main__":
    main()
