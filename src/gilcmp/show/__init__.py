"""Views of what was measured; nothing is computed here."""
