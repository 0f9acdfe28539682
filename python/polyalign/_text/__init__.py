"""What is printed: tables, and words for counts and places."""
