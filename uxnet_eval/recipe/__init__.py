"""What search and training share: precision, losses, validation, progress."""
