"""Run the command line as `python -m radstart.cli`."""

from radstart.cli import main

main()
