"""Bulk dispatcher for Phonon's Outbound Create Request API."""

__version__ = "0.1.0"
