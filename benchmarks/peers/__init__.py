"""The servers that are compared, one file each; all serve the same SavedModel behind the same preprocessing."""
