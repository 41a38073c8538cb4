"""The acceptance of messages: from a request's body to a message on disk, or to a refusal."""
