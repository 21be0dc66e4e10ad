"""Training: losses, data, packing and the loop. `run.main` is what the command line calls."""
