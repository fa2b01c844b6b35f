"""The kernels as a user would otherwise write them; arguments and answers as in `gilcmp._kernels_py`."""
