"""Fusion methods: one file a method, one row a method in the registry."""
