"""The samplers of azula."""
