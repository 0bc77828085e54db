"""Published statements about shares of immune cells, each tested by the comparison."""
