"""Where predictions go: pictures, videos, masks, polygons, COCO results and JSON lines."""
