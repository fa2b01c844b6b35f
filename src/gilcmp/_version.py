"""The version, alone: setup tools and the rest of the package read it from here."""

__version__ = "0.1.0"
