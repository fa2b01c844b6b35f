"""What is computed: the kernels, each in plain Python and in NumPy here, compiled in `gilcmp._kernels`."""
