"""Landsat and Sentinel-2 time series to cloud-free 10 m series at any date."""
