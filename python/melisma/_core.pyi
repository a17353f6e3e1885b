# The compiled module (python/bindings). Its functions are described where melisma's public ones wrap them.
from typing import Any

def __getattr__(name: str) -> Any: ...
