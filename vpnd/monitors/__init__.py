"""What watches the process while it works: the loop's lag, by task and line."""
