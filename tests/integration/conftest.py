"""Makes the journal of scripted dispatchers known to the integration tests."""

from scripted import journal

__all__ = ["journal"]
