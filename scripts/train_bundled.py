"""Train a bundled network on Fashion-MNIST and write its weights and model card.

    python scripts/train_bundled.py resnet20              # the shipped recipe: all 60,000 images
    python scripts/train_bundled.py resnet20 --holdout 5000   # judge a recipe without the test images

The recipe has no choice that looks at the test images: the number of epochs is fixed beforehand, the last
epoch is the one that is kept, and a recipe is compared on held-out training images (--holdout). The test
images are read once, after the last epoch. Interrupted training resumes at the last finished epoch and gives
the same weights, since every epoch draws its order and augmentation from a generator of its own.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from fashion_mnist import DEBIAN_FOLDER, MEAN, STD, read_split
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from explorer.zoo.networks import NETWORKS

WEIGHTS = Path(__file__).parents[1] / "explorer" / "zoo" / "weights"


@dataclass(frozen=True)
class Recipe:
    epochs: int
    autocast: bool = True  # bfloat16 forward and backward; weights and the final test stay float32
    batch: int = 128
    peak_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_share: float = 0.2
    seed: int = 0


RECIPES = {
    "resnet20": Recipe(epochs=20),
    "vgg": Recipe(epochs=12, peak_rate=0.1),
    "mobilenetv2": Recipe(epochs=14, peak_rate=0.1, weight_decay=1e-4, autocast=False),
    "inception": Recipe(epochs=12, peak_rate=0.1),
}


def as_inputs(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) -> normalised float32 (N, 1, 28, 28), channels last in memory."""
    inputs = (images.float().div_(255) - MEAN).div_(STD).unsqueeze(1)
    return inputs.contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each by up to 2 pixels: uint8 (N, 28, 28) -> the same shape."""
    count = len(images)
    mirrored = torch.rand(count, generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None], images.flip(2), images)
    padded = functional.pad(images, (2, 2, 2, 2))
    shift = torch.randint(0, 5, (2, count, 1, 1), generator=generator)
    rows = shift[0] + torch.arange(28).view(1, 28, 1)
    columns = shift[1] + torch.arange(28).view(1, 1, 28)
    return padded[torch.arange(count).view(-1, 1, 1), rows, columns]


@torch.inference_mode()
def count_correct(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    model.eval()
    batches = zip(images.split(500), labels.split(500), strict=True)
    return sum(int((model(as_inputs(x)).argmax(1) == y).sum()) for x, y in batches)


def write_atomically(path: Path, write) -> None:
    """`write(temporary path)`, then move the result into place, so that no half-written file is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    write(temporary)
    temporary.chmod(0o644)  # safetensors writes files for the owner only
    temporary.replace(path)


def train(name: str, recipe: Recipe, images: Tensor, labels: Tensor, checkpoint: Path) -> nn.Module:
    """Train from scratch, or from the checkpoint of the last finished epoch."""
    torch.manual_seed(recipe.seed)
    model = NETWORKS[name]().to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=recipe.peak_rate, momentum=recipe.momentum, nesterov=True)
    steps = len(images) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.peak_rate,
        total_steps=steps * recipe.epochs,
        pct_start=recipe.warmup_share,
        cycle_momentum=False,
    )
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["recipe"] != asdict(recipe) or saved["images"] != len(images):
            raise SystemExit(f"{checkpoint} was made by another recipe: move it away to start anew.")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["epoch"] + 1
    for epoch in range(first, recipe.epochs):
        started, total = time.monotonic(), 0.0
        generator = torch.Generator().manual_seed(recipe.seed * 10_000 + epoch)
        torch.manual_seed(recipe.seed * 10_000 + epoch)  # dropout
        order = torch.randperm(len(images), generator=generator)
        model.train()
        for batch in order[: steps * recipe.batch].split(recipe.batch):
            inputs = as_inputs(augment(images[batch], generator))
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.autocast):
                logits = model(inputs)
            loss = functional.cross_entropy(logits.float(), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        state = {
            "epoch": epoch,
            "images": len(images),
            "recipe": asdict(recipe),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
        }
        write_atomically(checkpoint, lambda path, state=state: torch.save(state, path))
        seconds = time.monotonic() - started
        print(
            f"{name} epoch {epoch + 1}/{recipe.epochs} loss {total / steps:.4f} ({seconds:.0f} s)", flush=True
        )
    return model


def card(name: str, recipe: Recipe, model: nn.Module, correct: int) -> str:
    parameters = sum(p.numel() for p in model.parameters())
    precision = "bfloat16 autocast" if recipe.autocast else "float32"
    decay = f"weight decay {recipe.weight_decay} on weight matrices and filters"
    rate = f"one cycle to {recipe.peak_rate} (warm-up {recipe.warmup_share:.0%})"
    return f"""# Model card: {name}

| | |
|---|---|
| network | `explorer/zoo/networks/{name}.py`, {parameters:,} parameters |
| input | grey images 28 x 28, pixels in [0, 1], then (pixel - {MEAN}) / {STD} |
| training data | the 60,000 training images of Fashion-MNIST (Zalando SE, MIT licence) |
| augmentation | mirrored with probability 0.5; shifted by up to 2 pixels each way |
| optimiser | SGD, Nesterov momentum {recipe.momentum}, batch {recipe.batch}, {decay} |
| learning rate | {rate}, {recipe.epochs} epochs, {precision} |
| choice of epoch | none: the last one; the test images took part in no choice |
| seed | {recipe.seed} |
| accuracy | **{correct / 10_000:.2%}** of the 10,000 test images ({correct:,} correct), float32 |
| made by | `python scripts/train_bundled.py {name}`, torch {torch.__version__.split("+")[0]} |
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(NETWORKS))
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="folder of the idx files")
    parser.add_argument("--holdout", type=int, default=0, help="training images held out to judge the recipe")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"))
    options = parser.parse_args()
    name, recipe = options.name, RECIPES[options.name]
    images, labels = (torch.from_numpy(part.copy()) for part in read_split(options.data, "train"))
    labels = labels.long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(2024))
    held, used = order[: options.holdout], order[options.holdout :]
    checkpoint = options.checkpoints / f"{name}-{len(used)}.pt"
    model = train(name, recipe, images[used], labels[used], checkpoint)
    model = model.to(memory_format=torch.contiguous_format)
    if options.holdout:
        correct = count_correct(model, images[held], labels[held])
        print(f"{name}: {correct / len(held):.2%} of {len(held)} held-out training images")
        return
    test_images, test_labels = (torch.from_numpy(part.copy()) for part in read_split(options.data, "t10k"))
    correct = count_correct(model, test_images, test_labels.long())
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    metadata = {"accuracy": f"{correct / 10_000}", "mean": f"{MEAN}", "std": f"{STD}"}
    write_atomically(WEIGHTS / f"{name}.safetensors", lambda path: save_file(tensors, path, metadata))
    text = card(name, recipe, model, correct)
    write_atomically(WEIGHTS / f"{name}.md", lambda path: path.write_text(text))
    print(f"{name}: {correct / 10_000:.2%} of the 10,000 test images")


if __name__ == "__main__":
    main()
