"""Optimisation held against torch.optim: gradient buffers, descent on quadratics, best settings, Lanczos on real losses."""
