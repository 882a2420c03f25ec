"""What a detector's heads learn from: the RoIs that are trained on, and the masks they should predict."""
