"""lungct trainer."""
