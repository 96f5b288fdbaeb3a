"""What runs trainings and tests, or reads their results."""
