"""The version of this release, in a file that anyone can read without importing the rest."""

__version__ = "0.1.0"
