"""From a cube and a fuser to a product: one task a tile, lazily. Knows no network."""
