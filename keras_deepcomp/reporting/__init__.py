"""What people see of a model or a file."""
