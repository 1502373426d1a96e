"""The samplers of k-diffusion."""
