"""What is in the way of threads: which lock of which object, at which line, or what else they share."""
