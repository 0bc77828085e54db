"""What a comparison left in its folder: loaded once, refitted once."""
