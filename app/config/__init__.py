"""The settings, and the types of their values."""

from app.config.settings import Settings, list_unknown_variables, read_secret
from app.config.types import SettingError

__all__ = ["SettingError", "Settings", "list_unknown_variables", "read_secret"]
