"""Email through Amazon SES, as an exercise in the plugin contract."""

from gatepost_ses_exercise.plugin import Ses
from gatepost_ses_exercise.settings import Settings

__all__ = ["Ses", "Settings"]
