"""Payment providers, a file each: how they are asked, how their word is checked, and the one way to settle it."""
