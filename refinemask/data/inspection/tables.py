"""What an inspection found, for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from refinemask.data.inspection.facts import facts
from refinemask.data.inspection.remarks import LEVELS, Level, Remark, remarks_on_training, remarks_on_validation
from refinemask.data.inspection.run import DatasetInspection, Inspection
from refinemask.data.inspection.statistics import ClassCount
from refinemask.exit_codes import printable

MOST_CLASSES = 20
"""Largest number of classes that are listed; of more, the most frequent and the rarest."""
STYLES: dict[Level, str] = {"stops": "bold red", "lost": "red", "look": "yellow", "note": "dim"}


def show(inspection: Inspection) -> None:
    """Print tables to standard output."""
    console = Console(highlight=False)
    sets = {"training": inspection.training, "validation": inspection.validation}
    given = {name: found for name, found in sets.items() if found is not None}
    for name, found in given.items():
        console.print(_plain(f"{name}: {found.annotations} · images in {found.images}"), soft_wrap=True)
    console.print(_plain(f"model: {inspection.recipe or 'as in the recipes for COCO'}"), soft_wrap=True)
    console.print(_facts_table(given))
    console.print(_class_table(inspection.training.statistics.classes))
    console.print(_remarks_table("training", remarks_on_training(inspection)))
    if inspection.validation is not None and inspection.comparison is not None:
        remarks = remarks_on_validation(inspection.validation, inspection.comparison)
        console.print(_remarks_table("validation", remarks))
    style = "bold green" if inspection.passed else "bold red"
    console.print(Text(printable(inspection.verdict), style=style), soft_wrap=True)


def _plain(text: str) -> Text:
    """A text in which nothing is markup: names come from files."""
    return Text(printable(text))


def _table(*titles: str) -> Table:
    return Table(*titles, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", padding=(0, 1))


def _facts_table(sets: dict[str, DatasetInspection]) -> Table:
    table = _table("", *sets)
    table.columns[0].no_wrap = True
    columns = [facts(found) for found in sets.values()]
    for topic, rows in columns[0].items():
        table.add_row(Text(topic, style="bold"), *("" for _ in columns))
        for name in rows:
            table.add_row(f"  {name}", *(_plain(column[topic][name]) for column in columns))
    _align_numbers(table)
    return table


def _class_table(classes: Sequence[ClassCount]) -> Table:
    table = _table("class", "objects", "trained on", "images")
    ranked = sorted(classes, key=lambda each: -each.trainable)
    for place, each in enumerate(ranked):
        if len(ranked) > MOST_CLASSES and MOST_CLASSES // 2 <= place < len(ranked) - MOST_CLASSES // 2:
            if place == MOST_CLASSES // 2:
                table.add_row(f"… {len(ranked) - MOST_CLASSES // 2 * 2} more")
            continue
        numbers = (each.objects, each.trainable, each.images)
        table.add_row(_plain(each.name), *(f"{number:,}" for number in numbers))
    _align_numbers(table)
    return table


def _align_numbers(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify = "right"


def _remarks_table(name: str, remarks: Sequence[Remark]) -> Table | Text:
    if not remarks:
        return _plain(f"{name}: nothing to mend")
    table = _table(name, "number", "what", "what helps")
    table.columns[1].justify = "right"
    table.columns[1].no_wrap = True
    for remark in remarks:
        what = f"{remark.what} ({remark.first})" if remark.first else remark.what
        level = Text(LEVELS[remark.level], style=STYLES[remark.level])
        table.add_row(level, f"{remark.count:,}", _plain(what), _plain(remark.remedy))
    return table
