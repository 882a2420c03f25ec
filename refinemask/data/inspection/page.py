"""What an inspection found, as one page of HTML that needs nothing beside it."""

import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from refinemask import __version__
from refinemask.data.inspection.charts import bar, histogram, octaves, stack
from refinemask.data.inspection.facts import facts, share
from refinemask.data.inspection.overlays import Overlay, make_overlays
from refinemask.data.inspection.remarks import LEVELS, Remark, remarks_on_training, remarks_on_validation
from refinemask.data.inspection.run import DatasetInspection, Inspection
from refinemask.data.inspection.statistics import COUNT_EDGES, SIDE_EDGES, ClassCount, Statistics
from refinemask.page.document import document
from refinemask.page.tiles import Tile, tiles

MOST_CLASSES = 80
"""Largest number of classes that are listed; of more, the most frequent and the rarest."""
ONE_COLUMN = 12
"""Largest number of classes that stand in one column."""
STYLE = Path(__file__).with_name("page.css")


def write_page(inspection: Inspection, path: str | os.PathLike[str], *, pictures: int = 24, seed: int = 0) -> None:
    """Write the page.

    Args:
        inspection: what was found.
        path: the file to write.
        pictures: number of images of the training data that are drawn; 0 needs no supervision.
        seed: seed of their choice.
    """
    overlays = make_overlays(inspection.training.source, pictures, seed) if pictures else iter(())
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        title = os.path.basename(inspection.training.annotations)
        file.writelines(document(title, _parts(inspection, overlays), style=STYLE.read_text("utf-8")))


def _parts(inspection: Inspection, overlays: Iterator[Overlay]) -> Iterator[str]:
    training, validation = inspection.training, inspection.validation
    title = escape(os.path.basename(training.annotations))
    yield "<main>"
    yield f"<h1>{title}</h1>"
    yield f'<p class="soft path">{escape(training.annotations)}, images in {escape(training.images)}</p>'
    kind = "passed" if inspection.passed else "failed"
    verdict = inspection.verdict[0].upper() + inspection.verdict[1:]
    yield f'<p class="verdict {kind}">{escape(verdict)}.</p>'
    yield _tiles(training)
    yield "<h2>What deserves a look</h2>"
    yield _remarks(remarks_on_training(inspection))
    if validation is not None and inspection.comparison is not None:
        yield "<h2>What deserves a look in the data for validation</h2>"
        yield f'<p class="soft path">{escape(validation.annotations)}, images in {escape(validation.images)}</p>'
        yield _remarks(remarks_on_validation(validation, inspection.comparison))
    yield "<h2>Objects</h2>"
    yield _charts(training.statistics, inspection.recipe or "recipes for COCO")
    yield "<h2>Classes</h2>"
    yield _classes(training.statistics.classes)
    yield "<h2>All numbers</h2>"
    yield _facts(training, validation)
    yield from _pictures(overlays, training.statistics.images)
    yield _footer(inspection)
    yield "</main>"


def _tiles(found: DatasetInspection) -> str:
    numbers, losses = found.statistics, found.losses
    return tiles(
        [
            Tile(f"{numbers.images:,}", "images"),
            Tile(f"{numbers.objects:,}", "objects"),
            Tile(f"{len(numbers.classes):,}", "classes"),
            Tile(f"{numbers.objects_per_image.median:,g}", "objects per image, median"),
            Tile(f"{losses.lost:,}", "objects lost to training"),
        ]
    )


def _remarks(remarks: Sequence[Remark]) -> str:
    if not remarks:
        return '<div class="card">Nothing to mend.</div>'
    rows = []
    for remark in remarks:
        first = f'<div class="soft">first: {escape(remark.first)}</div>' if remark.first else ""
        rows.append(
            f'<tr><td><span class="level {remark.level}">{LEVELS[remark.level]}</span></td>'
            f'<td class="n">{remark.count:,}</td><td>{escape(remark.what)}{first}</td>'
            f"<td>{escape(remark.remedy)}</td></tr>"
        )
    head = '<tr><th></th><th class="n">number</th><th>what</th><th>what helps</th></tr>'
    return f'<div class="card"><table class="remarks">{head}{"".join(rows)}</table></div>'


def _charts(numbers: Statistics, model: str) -> str:
    sides = ["", *(f"{edge:g}" if edge == int(edge) else "" for edge in SIDE_EDGES)]
    anchor = octaves(numbers.smallest_anchor, SIDE_EDGES[0], 2)
    anchor = min(max(anchor, 0), len(sides))
    counts = ["0", *(f"{edge}" if edge < 1024 else f"{edge >> 10}k" for edge in COUNT_EDGES)]
    detections = min(octaves(numbers.detections, COUNT_EDGES[0], 1), len(counts))
    size_chart = histogram(
        numbers.sides, sides, {f"smallest anchor {numbers.smallest_anchor:g}": anchor}, "pixels of the network's input"
    )
    # The left edge of a bar is its smallest number, so labels stand there; the bar of 0 is the first.
    count_chart = histogram(
        numbers.counts,
        counts,
        {f"{numbers.detections} detections": detections},
        "objects of an image, from this number",
    )
    cards = (
        f"<h3>Sides of the objects as the network sees them ({escape(model)})</h3>{size_chart}",
        f"<h3>Objects per image</h3>{count_chart}",
        f"<h3>Areas of the objects, as COCO calls them</h3>{stack(numbers.sizes) or 'No object.'}",
        "<h3>Crowding</h3>"
        f"<p>{share(numbers.overlapping, numbers.trainable)} objects have a box that overlaps another one's by an IoU "
        f"of more than 0.5, {share(numbers.overlapping_same_class, numbers.trainable)} one of their own class. "
        f"The fullest image has {numbers.most_objects:,} objects, the model at most {numbers.detections:,} "
        "detections.</p>",
    )
    return f'<div class="cards">{"".join(f"<div class=card>{card}</div>" for card in cards)}</div>'


def _classes(classes: Sequence[ClassCount]) -> str:
    ranked = sorted(classes, key=lambda each: -each.trainable)
    largest = max(1, *(each.trainable for each in ranked))
    rows = []
    for place, each in enumerate(ranked):
        if len(ranked) > MOST_CLASSES and MOST_CLASSES // 2 <= place < len(ranked) - MOST_CLASSES // 2:
            if place == MOST_CLASSES // 2:
                rows.append(f'<tr><td class="soft">… {len(ranked) - MOST_CLASSES:,} more</td></tr>')
            continue
        numbers = "".join(f'<td class="n">{number:,}</td>' for number in (each.trainable, each.objects, each.images))
        rows.append(f"<tr><td>{escape(each.name)}</td><td>{bar(each.trainable, largest)}</td>{numbers}</tr>")
    titles = "".join(f'<th class="n">{title}</th>' for title in ("trained on", "objects", "images"))
    head = f"<tr><th>class</th><th></th>{titles}</tr>"
    # A long list stands in two columns.
    half = len(rows) if len(rows) <= ONE_COLUMN else -(-len(rows) // 2)
    columns = ["".join(rows[start : start + half]) for start in range(0, len(rows), half)]
    cards = (f'<div class="card"><table class="classes">{head}{column}</table></div>' for column in columns)
    return f'<div class="cards">{"".join(cards)}</div>'


def _facts(training: DatasetInspection, validation: DatasetInspection | None) -> str:
    columns = [facts(found) for found in (training, validation) if found is not None]
    titles = '<th class="n">training</th><th class="n">validation</th>' if len(columns) > 1 else "<th></th>"
    rows = []
    for topic, names in columns[0].items():
        rows.append(f"<tr><th>{topic}</th>{titles}</tr>")
        for name in names:
            cells = "".join(f'<td class="n">{escape(column[topic][name])}</td>' for column in columns)
            rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return f'<div class="card"><table class="facts">{"".join(rows)}</table></div>'


def _pictures(overlays: Iterator[Overlay], images: int) -> Iterator[str]:
    first = next(overlays, None)
    if first is None:
        return
    yield "<h2>Pictures</h2>"
    yield (
        f'<p class="soft">A sample of the {images:,} images, as they are read. <span class="swatch"></span>Objects in '
        "a crossed red box are lost to training.</p>"
    )
    yield '<div class="pictures">'
    yield _figure(first)
    yield from map(_figure, overlays)
    yield "</div>"


def _figure(overlay: Overlay) -> str:
    height, width = overlay.size
    source = f"data:image/jpeg;base64,{b64encode(overlay.jpeg).decode()}"
    noun = "object" if overlay.trainable == 1 else "objects"
    lost = "".join(f'<span class="red">{escape(what)}: {count:,}</span>' for what, count in overlay.lost.items())
    problem = f'<p class="red">{escape(overlay.problem)}</p>' if overlay.problem else ""
    return (
        f'<figure><div><img src="{source}" width="{width}" height="{height}" alt="{escape(overlay.name)}" '
        f'loading="lazy"></div><figcaption><b>{escape(overlay.name)}</b>'
        f'<span class="soft">{escape(overlay.why)} · {overlay.trainable:,} {noun} to train on</span>{lost}{problem}'
        "</figcaption></figure>"
    )


def _footer(inspection: Inspection) -> str:
    model = inspection.model
    sides = f"{model.preprocessing.short_side}x{model.preprocessing.long_side}"
    return (
        f"<footer>Made by refinemask {__version__}. The header of every image file was read. Duplicates are files of "
        "the same bytes (SHA-256). Unless it says all, numbers of sizes and crowding are of the objects that training "
        f"would see. The network's input is {sides} pixels, short by long side "
        f"({escape(inspection.recipe or 'the recipes for COCO')}).</footer>"
    )
