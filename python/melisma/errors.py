"""The exceptions that Melisma raises.

Each is also the built-in exception that PyTorch (``RuntimeError``) and NumPy (``ValueError``, ``TypeError``) raise for the same
mistake, so existing handlers go on working.
"""

__all__ = ["InvalidArgument", "InvalidType", "Unavailable"]


class InvalidArgument(ValueError, RuntimeError):
    """A value, shape or size that the operator does not accept."""


class InvalidType(TypeError, RuntimeError):
    """A type, dtype or device that the operator does not accept."""


class Unavailable(RuntimeError):
    """A backend that is not there, or in strict mode a call that would have fallen back to a slower path."""
