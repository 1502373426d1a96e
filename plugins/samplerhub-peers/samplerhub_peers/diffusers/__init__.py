"""The samplers of diffusers, which calls them schedulers."""
