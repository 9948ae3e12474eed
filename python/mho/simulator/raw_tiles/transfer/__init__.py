"""Transfer compounds with two whole arrays, one per device, and their algorithm in Python."""
