"""`python -m app` is `polyforge`."""

from app.cli import main

main()
