"""Find the objects in every frame of a video, draw them, and write a line of JSON for each frame as soon as it is done.

    python examples/predict_video.py
    python examples/predict_video.py OUT --video clip.mp4 --model MODEL --every 5

Without options this makes a short video of bundled pictures of cell nuclei, and takes the bundled checkpoint: seconds
on two CPU cores. A camera is a video, too: its number or the address of a stream in place of the file.

Needs the extras train (for a checkpoint) or cpu (for an .onnx file), and draw.
"""

import json
from pathlib import Path

import tyro

import engines
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.images import read_image
from refinemask.sources.words import source_of
from refinemask.writers.annotated_video import AnnotatedVideo
from refinemask.writers.json_lines import JsonLines
from refinemask.writers.mp4 import Mp4
from refinemask.writers.write import write_predictions

MODEL = DEMO / "weights" / "refinemask-nuclei.safetensors"
FRAMES = 8


def main(
    output: tyro.conf.Positional[Path] = Path("out/predict_video"),
    video: str | None = None,
    model: Path = MODEL,
    every: int = 1,
    max_frames: int | None = None,
) -> None:
    """Predict the frames of a video.

    Args:
        output: folder for the drawn video and lines.jsonl.
        video: a video file, a camera's number or a stream's address; bundled pictures if not given.
        model: checkpoint or exported file.
        every: 1 takes every frame, 5 every fifth.
        max_frames: largest number of frames.
    """
    engine = engines.load(model)
    source = source_of([video or str(bundled_video(output))], every=every, max_frames=max_frames)
    lines = output / "lines.jsonl"
    drawn = AnnotatedVideo(output / "drawn", inputs=source.paths)
    written = write_predictions(engine, source, [JsonLines(lines), drawn])
    for line in lines.read_text().splitlines():
        frame = json.loads(line)
        print(f"{frame['seconds']:.2f} s: {len(frame['detections'])} objects" if "seconds" in frame else frame["error"])
    print(f"{written.predicted} frames predicted, {written.dropped} dropped, limited by {written.limit}: {output}")


def bundled_video(folder: Path) -> Path:
    """Make a video of bundled pictures, four a second."""
    pictures = [read_image(path) for path in sorted((NUCLEI / "images").iterdir())[:FRAMES]]
    path = folder / "nuclei.mp4"
    with Mp4(path, 4.0, pictures[0].shape[:2]) as video:
        for picture in pictures:
            video.add(picture)
    return path


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
