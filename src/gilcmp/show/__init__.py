"""Draws neutral tables and charts, as text, Markdown, HTML and pictures, and knows nothing else."""
