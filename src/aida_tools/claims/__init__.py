"""Published statements about shares of immune cells, each held against the comparison."""
