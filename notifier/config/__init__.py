"""The settings: one definition for flags, environment, file, help and the reference page."""

from notifier.config.namespaces import NamespaceSettings
from notifier.config.settings import Settings
from notifier.config.sources import Loaded, Origin, SettingsError, load

__all__ = ["Loaded", "NamespaceSettings", "Origin", "Settings", "SettingsError", "load"]
