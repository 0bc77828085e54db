"""Who is what: labels from the authors, from the marker gate, from classifiers; and the types they are counted as."""
