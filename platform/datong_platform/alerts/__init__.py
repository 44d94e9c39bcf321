"""Alerts: what is wrong now, told to those who can mend it, on the channels that they read."""
