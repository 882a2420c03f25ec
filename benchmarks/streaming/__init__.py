"""Images per second from files and videos to run lengths: the pipeline against one image at a time."""
