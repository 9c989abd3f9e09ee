"""An owner's actions from the shell: each opens the shop for itself, does one thing, and says what came of it."""
