from typing import Any

api: Any

def include_directory() -> str: ...
