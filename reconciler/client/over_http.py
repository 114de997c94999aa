"""What the clients share: the life of their session, and saying no to deployments where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.client.base import BaseDeploymentClient

if TYPE_CHECKING:
    from typing import Self

    from reconciler.client.http import HttpSession

__all__ = ["EndpointsOnly", "OverHttp"]


class OverHttp:
    """A client with one session, ``http``; a context manager that closes it."""

    http: HttpSession

    @property
    def host(self) -> str:
        """The server, as ``http://host:port``, with its path where it has one."""
        return self.http.base_url

    def close(self) -> None:
        """Close the kept connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r})"


class EndpointsOnly(BaseDeploymentClient):
    """The target has endpoints and no deployments: all methods about those raise NotImplementedError.

    Pickled and copied as its target, as mlflow's clients are: in another process it finds its login there.
    ``_given``: what it was made with beside the target; with any of it, it cannot be (TypeError).
    """

    _given: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        if any(each is not None for each in self._given):
            raise TypeError("a client with a login of its own is not pickled: make it over there")
        return type(self), (self.target_uri,)

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> Any:
        """Not offered: NotImplementedError."""
        raise self._not_offered("create_deployment")

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> Any:
        """Not offered: NotImplementedError."""
        raise self._not_offered("update_deployment")

    def delete_deployment(
        self, name: str, config: dict[str, Any] | None = None, endpoint: str | None = None
    ) -> Any:
        """Not offered: NotImplementedError."""
        raise self._not_offered("delete_deployment")

    def list_deployments(self, endpoint: str | None = None) -> Any:
        """Not offered: NotImplementedError."""
        raise self._not_offered("list_deployments")

    def get_deployment(self, name: str, endpoint: str | None = None) -> Any:
        """Not offered: NotImplementedError."""
        raise self._not_offered("get_deployment")
