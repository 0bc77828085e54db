"""Do the annotators agree, and how often are they wrong: by site, batch, donor and depth of sequencing."""
