"""Train RefineMask for a few iterations on the bundled pictures of cell nuclei, and predict with the result.

    python examples/train_on_bundled_images.py
    python examples/train_on_bundled_images.py OUT --pictures 183 --epochs 12
    python examples/train_on_bundled_images.py OUT --pictures 183 --epochs 48 --from-scratch

The first line goes on from the bundled checkpoint for six iterations: under a minute on two CPU cores. That shows the
way and does not improve the model. The last line trains the bundled model anew, which took 55 minutes on one core of an
Intel Xeon with AMX (python -m refinemask.train --recipe nuclei-demo --amp bf16).

Needs the extras train and draw.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
import tyro

import engines
import refinemask
from refinemask.bundled import DEMO, NUCLEI
from refinemask.recipes import RECIPES
from refinemask.training.loop import Execution

START = DEMO / "weights" / "refinemask-nuclei.safetensors"


def main(
    output: tyro.conf.Positional[Path] = Path("out/train_on_bundled_images"),
    pictures: int = 12,
    epochs: int = 2,
    from_scratch: bool = False,
) -> None:
    """Train on the first of the bundled training pictures.

    Args:
        output: folder of the run; it must not hold another one.
        pictures: number of pictures to train on, at most 183.
        epochs: number of times that each picture is seen.
        from_scratch: begin with random weights, not with the bundled ones.
    """
    recipe = RECIPES["nuclei-demo"]
    annotations = first_pictures(pictures, output / "instances_train.json")
    plan = refinemask.Plan(
        name="nuclei-demo",
        recipe=replace(
            recipe,
            # A path of its own, not below the data root.
            data=replace(recipe.data, annotations=str(annotations.resolve())),
            train=replace(recipe.train, epochs=epochs, step_epochs=(round(0.8 * epochs),)),
        ),
        data_root=NUCLEI,
        output=output,
        execution=Execution(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"), workers=0),
        init=None if from_scratch else str(START),
        evaluate_every=0,
        log_every=1,
    )
    run = refinemask.train(plan)
    for line in (run.output / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        print(f"epoch {record['epoch']:.2f}: loss {record['loss']:.3f}")
    predict(run.output / "last.safetensors", output)


def first_pictures(count: int, path: Path) -> Path:
    """Write the annotations of the first so many training pictures, in COCO's format."""
    content = json.loads((NUCLEI / "annotations" / "instances_train.json").read_text())
    content["images"] = content["images"][:count]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def predict(checkpoint: Path, output: Path) -> None:
    """Draw what the trained model finds in a picture that it has not seen."""
    content = json.loads((NUCLEI / "annotations" / "instances_val.json").read_text())
    picture = NUCLEI / "images" / content["images"][0]["file_name"]
    for prediction in engines.load(checkpoint).predict([picture]):
        print(f"{picture.name}: {len(prediction)} objects, drawn in {prediction.save(output)}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
