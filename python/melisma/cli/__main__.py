"""``python -m melisma.cli``."""

from melisma.cli import main

main()
