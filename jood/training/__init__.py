"""Training: configuration, state, loop, losses and checkpoints."""
