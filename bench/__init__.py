"""pyconv against its peers: ``python -m bench layers | train | memory | gemm``."""
