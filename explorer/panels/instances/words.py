"""What the instances pane says: what all images come to, what is picked, and how a measured run went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from explorer.figures.instance_order import class_name
from explorer.instances import Instances, shared
from explorer.panels.kit.words import duration

if TYPE_CHECKING:
    from explorer.dynamic.gathering import Timing
    from explorer.strings import Strings
    from explorer.values import Estimate


def mean_words(
    strings: Strings, found: Instances, estimate: Estimate | None, dense: Estimate | None, short: bool
) -> str:
    """The mean share of the MACs and the accuracy; of a trial "about", and the accuracy only as far as it is known."""
    length = "short" if short else "long"
    share = f"{100 * found.mean_share:.0f}"
    macs = strings(f"instance_mean_{'trial' if found.trial else 'exact'}_{length}", share=share)
    if estimate is None or not estimate.seen:
        return strings(f"instance_counting_{length}", macs=macs)
    right = f"{100 * estimate.value:.1f}"
    if not estimate.done:
        counts = {"seen": f"{estimate.seen:,}", "of": f"{estimate.of:,}"}
        return strings(f"instance_so_far_{length}", macs=macs, right=right, **counts)
    if dense is None or not dense.done or short:
        return strings(f"instance_right_{length}", macs=macs, right=right)
    return strings("instance_right_dense", macs=macs, right=right, dense=f"{100 * dense.value:.1f}")


def picked_words(
    strings: Strings, found: Instances, picked: Sequence[int], names: Sequence[str], short: bool
) -> str:
    """One image: its label, what it is taken for, its share of the MACs and its loss. Two: what they share.

    `short` is what a list of images beside does not say.
    """
    rows = [row for row in map(found.row, picked) if row is not None]
    length = "short" if short else "long"
    if len(rows) == 2:
        return _shared_words(strings, found, rows, picked, length)
    if not rows:
        return strings("instance_pick_hint") if short else ""
    (row,) = rows
    about = {
        "image": picked[0],
        "label": class_name(names, int(found.labels[row])),
        "share": f"{100 * found.shares[row]:.0f}",
        "loss": f"{found.losses[row]:.2f}",
        "kept": f"{int(found.keep[row].sum()):,}",
        "channels": f"{found.sites.channels:,}",
    }
    if found.right[row]:
        return strings(f"instance_picked_right_{length}", **about)
    taken = class_name(names, int(found.predicted[row]))
    return strings(f"instance_picked_wrong_{length}", taken=taken, **about)


def _shared_words(
    strings: Strings, found: Instances, rows: Sequence[int], picked: Sequence[int], length: str
) -> str:
    both, first, second = shared(found.keep[rows[0]], found.keep[rows[1]])
    share_one, share_two = (f"{100 * found.shares[row]:.0f}" for row in rows)
    return strings(
        f"instance_picked_two_{length}",
        one=picked[0],
        two=picked[1],
        share_one=share_one,
        share_two=share_two,
        percent=f"{100 * both / max(both + first + second, 1):.0f}",
        both=f"{both:,}",
        either=f"{both + first + second:,}",
        first=f"{first:,}",
        second=f"{second:,}",
    )


def timing_words(strings: Strings, image: int, timing: Timing) -> str:
    """How long one image took: dense, masked and gathered, against what the MACs promise; and the verdict."""
    times = {
        name: duration(getattr(timing, name).median) for name in ("dense", "masked", "gathered", "again")
    }
    share = f"{100 * timing.share:.0f}"
    return strings(f"instance_timed_{timing.verdict}", image=image, share=share, **times)


def option_words(strings: Strings, found: Instances, row: int, names: Sequence[str]) -> str:
    """An image in a list: its share of the MACs, its label and its number; wrong ones say so."""
    return strings(
        "instance_option" if found.right[row] else "instance_option_wrong",
        image=int(found.images[row]),
        label=class_name(names, int(found.labels[row])),
        share=f"{100 * found.shares[row]:.0f}",
    )


def sentences(
    strings: Strings,
    found: Instances,
    estimate: Estimate | None,
    dense: Estimate | None,
    picked: Sequence[int],
    names: Sequence[str],
) -> list[str]:
    """What holds for every view, for screen readers."""
    theory = "instance_theory_active" if found.source == "active" else "instance_theory"
    said = [mean_words(strings, found, estimate, dense, short=False), strings(theory)]
    if found.module_macs:
        percent = f"{100 * found.module_macs / max(found.dense_macs, 1):.1f}"
        said.append(strings("instance_modules", percent=percent))
    emptied = found.emptied()
    if emptied:
        layer, images = max(emptied.items(), key=lambda each: each[1])
        said.append(strings("instance_emptied", layers=len(emptied), layer=layer, images=f"{images:,}"))
    if len(found) < found.of:
        said.append(strings("instance_sampled", images=f"{len(found):,}", of=f"{found.of:,}"))
    picked_now = picked_words(strings, found, picked, names, short=False)
    return [*said, picked_now] if picked_now else said
