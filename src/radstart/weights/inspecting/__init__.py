"""What is in a file, what was never trained, what it looks like."""
