"""Parts of :mod:`melisma.benchmark`; nothing here is public."""
