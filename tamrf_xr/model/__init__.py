"""The network: its sizes, its plain path, its files and its fast path; it needs torch alone."""
