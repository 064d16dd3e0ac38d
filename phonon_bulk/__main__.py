"""`python -m phonon_bulk` is the command `phonon-bulk`."""

from phonon_bulk.cli import main

main()
