"""Where images come from: files, folders, lists of paths, arrays, video files, cameras and streams."""
