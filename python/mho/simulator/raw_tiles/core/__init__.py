"""Raw tiles whose kernels are those of the extension module, on the threads of torch."""

from mho.threads import share_torch_threads

share_torch_threads()
