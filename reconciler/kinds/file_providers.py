"""What the providers of a config-file gateway call the fields of a secret. Pure data, and what follows from
it.

Left the names of the tracking server's gateway, which the manifests use; right those of the file (mlflow
3.17, mlflow/gateway/config.py). Only the credentials here are looked up by the gateway when the file says
``$NAME`` or a path; what is not here would have to stand in the file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["CREDENTIALS", "PROVIDERS", "PUBLIC", "Provider", "is_default", "why_not"]


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. ``secrets`` and ``settings``: name in a GatewaySecret → key in the file. ``fixed``: what
    always stands there; ``{model_name}`` is filled in. ``needs``: settings without which the gateway takes
    nothing.
    """

    secrets: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def _key(name: str, **settings: str) -> Provider:
    return Provider({"api_key": name}, settings)


_COMPATIBLE: Final = _key("api_key", api_base="api_base")

PROVIDERS: Final[Mapping[str, Provider]] = {
    "openai": _key(
        "openai_api_key",
        api_base="openai_api_base",
        api_type="openai_api_type",
        api_version="openai_api_version",
        deployment_name="openai_deployment_name",
        organization="openai_organization",
    ),
    "azure": Provider(
        {"api_key": "openai_api_key"},
        {"api_base": "openai_api_base", "api_version": "openai_api_version"},
        {"openai_api_type": "azure", "openai_deployment_name": "{model_name}"},
        ("api_base", "api_version"),
    ),
    "anthropic": _key("anthropic_api_key", version="anthropic_version", api_base="anthropic_api_base"),
    "mistral": _key("mistral_api_key"),
    "gemini": _key("gemini_api_key"),
    "cohere": _key("cohere_api_key"),
    "ai21labs": _key("ai21labs_api_key"),
    "palm": _key("palm_api_key"),
    "togetherai": _key("togetherai_api_key"),
    "mosaicml": _key("mosaicml_api_key", api_base="mosaicml_api_base"),
    "typesafe": _key("typesafe_api_key", api_base="typesafe_api_base"),
    "groq": _COMPATIBLE,
    "deepseek": _COMPATIBLE,
    "xai": _COMPATIBLE,
    "openrouter": _COMPATIBLE,
    "ollama": _COMPATIBLE,
    "portkey": Provider(
        {"api_key": "api_key", "provider_api_key": "provider_api_key"},
        {"api_base": "api_base", "portkey_provider": "portkey_provider"},
    ),
}
"""The providers whose credential may stand in the file as a reference."""

_LITERAL_ONLY: Final = {
    "bedrock",
    "amazon-bedrock",
    "vertex_ai",
    "databricks",
    "databricks-model-serving",
    "sap-ai-core",
    "litellm",
}
_KEYLESS: Final = {"mlflow-model-serving", "huggingface-text-generation-inference"}

PUBLIC: Final = frozenset(
    {
        *(key for provider in PROVIDERS.values() for key in provider.settings.values()),
        *(key for provider in PROVIDERS.values() for key in provider.fixed),
        "model_server_url",
        "hf_server_url",
        "vertex_project",
        "vertex_location",
        "litellm_provider",
    }
)
"""Keys of the file that hold no credential."""

CREDENTIALS: Final = frozenset(key for provider in PROVIDERS.values() for key in provider.secrets.values())
"""Keys of the file whose value may be ``$NAME`` or a path."""

_DEFAULTS: Final = {
    "openai_api_type": "openai",
    "openai_api_base": "https://api.openai.com/v1",
    "anthropic_version": "2023-06-01",
    "anthropic_api_base": "https://api.anthropic.com/v1",
    "typesafe_api_base": "https://api.typesafe.ai/v1",
}


def is_default(key: str, value: Any) -> bool:
    """The gateway takes this value when the file has none."""
    return value is None or (key in _DEFAULTS and str(value).lower() == _DEFAULTS[key])


def why_not(provider: str) -> str:
    """Why a provider cannot be written from here."""
    if provider in _LITERAL_ONLY:
        return (
            f"this gateway looks up neither $NAME nor a path for {provider}: the credentials would have to "
            "stand in its file"
        )
    if provider in _KEYLESS:
        return f"{provider} takes no credential, and a GatewayModel has one"
    return f"{provider} is no provider whose configuration is known here"
