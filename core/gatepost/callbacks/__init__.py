"""From a recorded status to Smartico's callback URL."""
