"""The bars in words: names beside them, explanations under the pointer, sentences for screen readers."""

from collections import Counter
from html import escape

from explorer.figures import picked
from explorer.figures.names import shortened, width_of
from explorer.figures.rows import Layout, Row, Section
from explorer.figures.shown import Shown, kept, percents, picked_shares
from explorer.strings import Strings
from explorer.values import Plan

LABEL_PITCH = 13.0  # a line of 13 px text
ROOMY = 31.0  # a section of that height has room for two lines
NAME_ROOM = 88.0  # pixels for a name beside the bars


def hover(row: Row, shown: Shown, strings: Strings) -> dict[str, object]:
    """What stands beside the pointer in a layer's row, as HTML."""
    lines = [row.words, strings("bars_kept", kept=kept(row, shown.plan), size=row.size)]
    if masks := shown.instances.get(row.name):
        lines.insert(1, picked.hover(masks, strings))
    if shown.macs and shown.dense_macs:
        now, dense = shown.macs[row.place] / 1e6, shown.dense_macs[row.place] / 1e6
        lines.append(strings("bars_macs", now=f"{now:,.3g}", dense=f"{dense:,.3g}"))
    if not row.prunable:
        lines.append(strings("bars_fixed", reason=row.reason or strings("bars_no_group")))
    elif shown.plan.widths[row.group] == 0:
        lines.append(strings("bars_removed"))
    if row.prunable and row.tied:
        lines.append(_tied(row, strings))
    if row.group in shown.locked:
        lines.append(strings("bars_locked"))
    elif row.group in shown.pinned:
        lines.append(strings("bars_pinned"))
    if _may_go(row, shown):
        lines.append(strings("bars_removable"))
    if row.group in shown.lost:
        lines.append(strings("bars_lost", points=f"{shown.lost[row.group]:.1f}"))
    return {"low": row.bottom, "high": row.top, "html": _html(row.name, lines)}


def _may_go(row: Row, shown: Shown) -> bool:
    """Whether the end of this very bar, dragged, removes its group."""
    free = row.group in shown.removable and row.group not in shown.locked
    return free and not row.thin and shown.plan.widths[row.group] > 0


def legend_hover(layout: Layout, shown: Shown, strings: Strings) -> dict[str, object]:
    """What the column of sensitivity is, under the pointer at its legend, as HTML."""
    says = strings("bars_lost_legend", points=most_lost(shown))
    return {"low": 0.0, "high": layout.image_top, "html": _html(strings("bars_sensitivity"), [says])}


def most_lost(shown: Shown) -> str:
    """The largest loss of accuracy, in points."""
    most = max(shown.lost.values(), default=0.0)
    return f"{most:.0f}" if most >= 10 else f"{most:.1f}"


def names_in(layout: Layout, section: Section) -> list[str]:
    """The names of a block's layers."""
    return list(layout.places)[slice(*section.block.span)]


def fold_hover(layout: Layout, section: Section, shown: Shown, strings: Strings) -> dict[str, object]:
    """What stands beside the pointer in the row of a folded block, as HTML."""
    block, names = section.block, names_in(layout, section)
    layers = block.end - block.first
    lines = []
    if block.several:
        ends = {"first": block.start, "last": block.last, "blocks": block.several}
        lines.append(strings("bars_fold_blocks", **ends))
    if picked_shares(names, shown):
        lines.append(strings("bars_fold_picked", **percents(section, names, shown)))
    elif section.groups:
        lines.append(strings("bars_fold", layers=layers, **percents(section, names, shown)))
    if section.groups:
        lines.append(strings("bars_fold_help"))
    else:
        lines.append(strings("bars_fold_fixed", layers=layers))
    lines += _why_not(section, strings)
    if losses := [shown.lost[group] for group in section.groups if group in shown.lost]:
        lines.append(strings("bars_lost_most", points=f"{max(losses):.1f}"))
    return {"low": section.bottom, "high": section.top, "html": _html(section.block.name, lines)}


def _why_not(section: Section, strings: Strings) -> list[str]:
    """How many layers of a folded block stay, and the reason of most of them."""
    if not section.fixed:
        return []
    reason, _count = Counter(section.fixed).most_common(1)[0]
    return [strings("bars_fold_why", count=len(section.fixed), reason=reason or strings("bars_no_group"))]


def _html(title: str, lines: list[str]) -> str:
    return "<br>".join([f"<b>{escape(title)}</b>", *map(escape, lines)])


def _tied(row: Row, strings: Strings) -> str:
    if len(row.tied) <= 4:
        return strings("bars_tied", names=", ".join(row.tied))
    return strings("bars_tied_more", names=", ".join(row.tied[:3]), count=len(row.tied) + 1)


def labels(layout: Layout, plan: Plan, strings: Strings) -> list[dict[str, object]]:
    """Names of the sections with their channels below, and of the image; no room, no label."""
    last = layout.image_top / 2
    found: list[dict[str, object]] = [{"y": last, "bold": "", "plain": strings("bars_image")}]
    for section in layout.sections:
        roomy = section.opened and section.top - section.bottom >= ROOMY
        below = _section_count(layout, section, plan, strings) if roomy else ""
        name_at = section.middle + (0.6 * LABEL_PITCH if below else 0.0)
        lowest = name_at - (1.2 * LABEL_PITCH if below else 0.0)
        if lowest - last < 0.9 * LABEL_PITCH:
            continue
        found.append({"y": name_at, "bold": _title(layout, section), "plain": ""})
        if below:
            found.append({"y": lowest, "bold": "", "plain": below})
        last = name_at
    return found


def _title(layout: Layout, section: Section) -> str:
    """The section's name as far as there is room for; a triangle says that a click folds or unfolds it."""
    name = section.block.name
    sign = ("▾ " if section.opened else "▸ ") if layout.foldable and section.block.blocks else ""
    return sign + shortened(name, NAME_ROOM - width_of(sign))


def _section_count(layout: Layout, section: Section, plan: Plan, strings: Strings) -> str:
    """Width of the band that ties most of the section's layers, else of all its groups together."""
    banded = any(band.group == section.main for band in layout.bands)
    groups = [section.main] if banded else list(section.groups)
    if not section.groups:
        return ""
    kept_units = sum(plan.widths[group] for group in groups)
    return strings("bars_of", kept=kept_units, size=sum(len(plan.keep[group]) for group in groups))


def describe(layout: Layout, shown: Shown, strings: Strings) -> list[str]:
    """The chart in sentences, bottom to top."""
    sentences = [strings("bars_say_image", channels=layout.image_channels)]
    entries = [(row.bottom, _say(row, shown, strings)) for row in layout.rows]
    entries += [(s.bottom, [_say_fold(layout, s, shown, strings)]) for s in layout.sections if s.folded]
    for _bottom, said in sorted(entries, key=lambda entry: entry[0]):
        sentences += said
    return sentences


def _say(row: Row, shown: Shown, strings: Strings) -> list[str]:
    if masks := shown.instances.get(row.name):
        return [picked.say(row.name, masks, strings)]
    if not row.prunable:
        reason = row.reason or strings("bars_no_group")
        return [strings("bars_say_fixed", name=row.name, size=row.size, reason=reason)]
    counts = {"name": row.name, "kept": kept(row, shown.plan), "size": row.size}
    if row.tied:
        said = [strings("bars_say_tied", names=", ".join(row.tied), **counts)]
    else:
        said = [strings("bars_say", **counts)]
    if row.group in shown.locked:
        said.append(strings("bars_say_locked", name=row.name))
    elif row.group in shown.pinned:
        said.append(strings("bars_say_pinned", name=row.name))
    if row.group in shown.lost and not row.thin:
        said.append(strings("bars_say_lost", name=row.name, points=f"{shown.lost[row.group]:.1f}"))
    return said


def _say_fold(layout: Layout, section: Section, shown: Shown, strings: Strings) -> str:
    names = names_in(layout, section)
    values = {"name": section.block.name, "layers": section.block.end - section.block.first}
    if picked_shares(names, shown):
        return strings("bars_say_fold_picked", **values, **percents(section, names, shown))
    if not section.groups:
        return strings("bars_say_fold_fixed", **values)
    return strings("bars_say_fold", **values, **percents(section, names, shown))
