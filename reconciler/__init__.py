"""Model-serving endpoints and AI gateways in git."""

__version__ = "0.1.0"
