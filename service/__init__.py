"""lungct service."""
