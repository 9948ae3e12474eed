"""Digital layers that compute with quantised weights and quantise their outputs."""
