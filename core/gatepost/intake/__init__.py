"""From the body of a request to a committed message, or to a refusal."""
