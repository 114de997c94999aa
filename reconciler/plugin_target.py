"""A plugin's client as a target: its exceptions become ours, and only here secrets are revealed to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.errors import PluginFailed, ReconcilerError, TargetError
from reconciler.values import Secret

__all__ = ["PluginTarget"]

_WRITES = (
    "create_deployment",
    "update_deployment",
    "delete_deployment",
    "create_endpoint",
    "update_endpoint",
    "delete_endpoint",
)
_READS = ("list_deployments", "get_deployment", "list_endpoints", "get_endpoint")


class PluginTarget:
    """Calls a plugin's deployments client. ``client``: whatever the plugin offers for ``uri``.

    A plugin may raise anything: what is no error of ours becomes a PluginFailed that names the method.
    """

    host = ""

    def __init__(self, client: Any, uri: str) -> None:
        self.client = client
        self.uri = uri

    def __enter__(self) -> PluginTarget:
        return self

    def __exit__(self, *exception: object) -> None:
        close = getattr(self.client, "close", None)
        if callable(close):
            close()

    def __getattr__(self, name: str) -> Any:
        if name not in (*_WRITES, *_READS, "predict", "predict_stream", "explain"):
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return getattr(self.client, name)(*_revealed(arguments), **_revealed(named))
            except ReconcilerError:
                raise
            except NotImplementedError as error:
                raise TargetError(
                    f"{self.uri} does not offer {name}", where=self.uri, why=str(error)
                ) from error
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                raise PluginFailed(
                    f"{name} failed: {_masked(said, (arguments, named))}", where=self.uri
                ) from None

        return call


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
