"""`python -m sora_core` is the command line `sora`."""

from .cli import entry

if __name__ == "__main__":
    entry()
