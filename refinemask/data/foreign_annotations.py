"""What a file is that somebody gave for COCO annotations, and what to do with it."""

from typing import Any

_CONVERT = "make COCO annotations of it with `python -m refinemask.data.convert IN OUT.json`"
_EXPORT = "export it as COCO instead"


def looks_like(content: Any) -> str:
    """What the content of a JSON file looks like and what to do, as words behind a semicolon; empty if unknown."""
    if isinstance(content, list):
        return _list_looks_like(next((entry for entry in content if isinstance(entry, dict)), {}))
    if not isinstance(content, dict):
        return ""
    if "shapes" in content:
        return f"these look like labelme's annotations of one image; {_CONVERT}"
    if "_via_img_metadata" in content or any(isinstance(v, dict) and "regions" in v for v in content.values()):
        return f"this looks like a project of the VGG Image Annotator (VIA); {_EXPORT}"
    if content.get("type") == "FeatureCollection":
        return f"this looks like GeoJSON; {_EXPORT}"
    if "objects" in content and "size" in content:
        return f"these look like Supervisely's annotations of one image; {_EXPORT}"
    return ""


def _list_looks_like(entry: dict[str, Any]) -> str:
    if "score" in entry:
        return "these look like COCO results, which say what was found; give the annotations that they are measured by"
    if "image" in entry and "annotations" in entry:
        return f"these look like Create ML's annotations; {_EXPORT}"
    if "data" in entry:
        return f"this looks like Label Studio's own export; {_EXPORT}"
    if "image_id" in entry:
        return "this looks like the list 'annotations' alone; give the file that has images and categories, too"
    return ""


def yolo(name: str) -> str:
    """What to do with a file that has a YOLO data set's ending; empty for other files."""
    if name.lower().endswith((".yaml", ".yml", ".txt")):
        return f"is no JSON; if it belongs to a YOLO data set, {_CONVERT}"
    return ""
