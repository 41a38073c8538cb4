"""From a user id to an email address or a phone number."""
