"""Text messages through Twilio, as an exercise in the plugin contract."""

from gatepost_twilio_exercise.plugin import Twilio
from gatepost_twilio_exercise.settings import Settings

__all__ = ["Settings", "Twilio"]
