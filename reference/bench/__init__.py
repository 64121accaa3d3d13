"""tinytl beside PyTorch in one run: ``python -m reference.bench``."""
