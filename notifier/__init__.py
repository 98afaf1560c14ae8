"""Self-hosted real-time notifications: a channel is a log, a subscriber is a cursor."""

__version__ = "0.1.0"
