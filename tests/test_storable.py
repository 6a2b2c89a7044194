"""What came from any format can be stored again, with our encoding alone."""
