"""One sentence for a framework that is not installed, and what all of them need."""

from relay.answering import Answered

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def absent(error: ModuleNotFoundError, module: str, title: str) -> ImportError:
    """Return what to raise where `import module` raised `error`."""
    if error.name != module:
        return error  # it is there, and something that it needs is not
    return ImportError(
        f"relay.frameworks.{module} needs {title}: pip install 'webhook-relay[{module}]'", name=module
    )


def name_function(function: object) -> str:
    """Return where a function or class of the app is defined, for a log line: `shop.hooks.log_form`."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function))
    return f"{module}.{name}" if module else name


def headers_of(answered: Answered) -> list[tuple[str, str]]:
    """Return the headers of an answer, its content type among them."""
    return [("Content-Type", answered.content_type), *answered.headers]
