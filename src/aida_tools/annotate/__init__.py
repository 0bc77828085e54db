"""Who is what: labels from the authors, from the marker gate, from models; and the types they are counted as."""
