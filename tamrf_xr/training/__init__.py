"""Training: patches from cubes, losses, the loop, recipes, adaptation to the cubes of a user."""
