"""What is built on the watchers: probe, timeline, threshold."""
