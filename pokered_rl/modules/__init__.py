"""See the design notes in the documentation."""
