"""Raw tiles whose kernels are those of the extension module."""
