"""The claims about the GIL, each an experiment with a verdict; one small module a claim."""
