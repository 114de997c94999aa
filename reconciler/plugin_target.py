"""A plugin's client as a target: its exceptions become ours, its answers have the shapes the API promises,
what it prints stays out of stdout, and only here secrets are revealed to it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.client.base import target_of, targets
from reconciler.errors import BadAnswer, PluginFailed, ReconcilerError, TargetError
from reconciler.values import Secret

__all__ = ["PluginTarget", "printing_to_stderr"]

_WRITES = (
    "create_deployment",
    "update_deployment",
    "delete_deployment",
    "create_endpoint",
    "update_endpoint",
    "delete_endpoint",
)
_READS = ("list_deployments", "get_deployment", "list_endpoints", "get_endpoint")


_END: Final = object()
_lock = threading.Lock()
_inside = 0
_stdout: Any = None


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What is printed meanwhile, by any thread, goes to stderr: stdout is for the answer."""
    global _inside, _stdout
    with _lock:
        if not _inside:
            _stdout, sys.stdout = sys.stdout, sys.stderr
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                sys.stdout = _stdout


class PluginTarget:
    """Calls a plugin's deployments client. ``client``: whatever the plugin offers for ``uri``.

    A plugin may raise anything: what is no error of ours becomes a PluginFailed that names the method.
    Its lists are lists of dicts, and what is read is a dict, else BadAnswer is raised; what our own clients
    for ``openai``, ``http`` and ``https`` answer stays as it is. ``is_serial``: one thread at a time calls it
    for nothing says that a plugin's client is made for more (boto3's documentation: sessions are not).
    """

    host = ""

    def __init__(self, client: Any, uri: str) -> None:
        self.client = client
        self.uri = uri
        self.is_serial = target_of(uri) not in targets()

    def __enter__(self) -> PluginTarget:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client, where it has something to close."""
        if callable(close := getattr(self.client, "close", None)):
            self._asked("close", (), close)

    def __getattr__(self, name: str) -> Any:
        if name not in (*_WRITES, *_READS, "predict", "predict_stream", "explain"):
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            def ask() -> Any:
                return getattr(self.client, name)(*_revealed(arguments), **_revealed(named))

            found = self._asked(name, (arguments, named), ask)
            if name == "predict_stream":
                return self._streamed(found, (arguments, named))
            return self._shaped(name, found) if name in _READS and self.is_serial else found

        return call

    def endpoints(self) -> list[dict[str, Any]]:
        """All endpoints; none where the plugin has no such thing. Raises as every call."""
        from reconciler.client.plugins import base_classes

        where = next((each for each in type(self.client).__mro__ if "list_endpoints" in vars(each)), None)
        if where is None or where in base_classes():
            return []
        try:
            found: list[dict[str, Any]] = self.list_endpoints()
        except TargetError as error:
            if isinstance(error.__cause__, NotImplementedError):
                return []
            raise
        return found

    def _asked(self, name: str, sent: Any, ask: Callable[[], Any]) -> Any:
        try:
            with printing_to_stderr():
                return ask()
        except ReconcilerError:
            raise
        except NotImplementedError as error:
            raise TargetError(f"{self.uri} does not offer {name}", where=self.uri, why=str(error)) from error
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            raise PluginFailed(f"{name} failed: {_masked(said, sent)}", where=self.uri) from None

    def _streamed(self, found: Any, sent: Any) -> Iterator[Any]:
        parts = iter(found)
        while (part := self._asked("predict_stream", sent, lambda: next(parts, _END))) is not _END:
            yield part

    def _shaped(self, name: str, found: Any) -> Any:
        """A list as a list of dicts, also when it stands in a dict under its own name, as the docstring of
        mlflow's list_deployments allows; one resource as a dict."""
        if name.startswith("get_"):
            return self._as_dict(name, found)
        if isinstance(found, Mapping):
            found = found.get(name.removeprefix("list_"))
        if found is not None and (isinstance(found, str) or not isinstance(found, Iterable)):
            raise self._odd(name, found, "a list of dicts")
        return [self._as_dict(name, item) for item in found or ()]

    def _as_dict(self, name: str, found: Any) -> dict[str, Any]:
        if not isinstance(found, Mapping) and callable(as_dict := getattr(found, "dict", None)):
            found = as_dict()
        if isinstance(found, Mapping):
            return dict(found)
        raise self._odd(name, found, "a dict" if name.startswith("get_") else "a list of dicts")

    def _odd(self, name: str, found: Any, promised: str) -> BadAnswer:
        kind = type(found).__name__
        error = BadAnswer(f"{name} of the plugin gave {kind} where the API promises {promised}")
        error.where, error.fix = self.uri, "tell the plugin's authors"
        return error


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: _revealed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_revealed(item) for item in value)
    return value


def _masked(text: str, arguments: Any) -> str:
    """What a plugin says of its arguments, without the secrets among them."""
    for secret in _secrets(arguments):
        if secret.reveal():
            text = text.replace(secret.reveal(), str(secret))
    return text


def _secrets(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets(item)
