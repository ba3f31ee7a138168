"""`python -m app` is `polyforge`."""

from app.cli.main import main

main()
