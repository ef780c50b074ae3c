"""Run the command ``mergesketch``."""
