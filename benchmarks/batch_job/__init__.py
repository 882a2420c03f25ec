"""What a batch job costs beside the plain predictor, and how its memory behaves over many images."""
