"""The same measurement on every host of a Dask cluster."""
