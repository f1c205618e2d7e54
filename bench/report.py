#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables, JSON and a plot from the samples that bench/run has written.

A line of the samples is a kind and its fields, with tabs between; lib.sh
writes them.  A ratio is taken round by round against the baseline of the same
round, and its median is shown: a disk that is slow for a minute then is slow
for both.  Where no round has both, it is the ratio of the medians.
"""

import argparse
import json
import math
import operator
import statistics
import sys
from xml.sax.saxutils import escape

OPERATORS = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}


class Measure:
    """One thing measured of several subjects in one case."""

    def __init__(self, case, ident, unit, better, baseline, title):
        self.case = case
        self.ident = ident
        self.unit = unit
        self.better = better
        self.baseline = None if baseline == "-" else baseline
        self.title = title
        self.subjects = {}  # subject: {round: value}, in order of appearance

    def add(self, subject, turn, value):
        self.subjects.setdefault(subject, {})[turn] = value

    def median(self, subject):
        values = self.subjects.get(subject)
        return statistics.median(values.values()) if values else None

    def ratios(self, subject, of):
        """The ratio of each round that has both, else that of the medians."""
        mine = self.subjects.get(subject, {})
        base = self.subjects.get(of, {})
        found = [v / base[r] for r, v in mine.items() if base.get(r)]
        if not found and mine and base and self.median(of):
            found = [self.median(subject) / self.median(of)]
        return found

    def order(self):
        """The baseline, cfs, then the peers as they first came."""

        def rank(subject):
            if subject == self.baseline:
                return 0
            return 1 if subject.startswith("cfs") else 2

        return sorted(self.subjects, key=rank)


class Samples:
    """All that one run has found."""

    def __init__(self, lines):
        self.cases = {}  # name: title
        self.measures = {}  # (case, ident): Measure
        self.aims, self.skips = [], []
        self.notes, self.loads = {}, {}
        self.info, self.versions = {}, {}
        for line in lines:
            kind, *fields = line.rstrip("\n").split("\t")
            getattr(self, "on_" + kind)(*fields)

    def on_case(self, name, title):
        self.cases[name] = title

    def on_load(self, case, cores):
        self.loads[case] = float(cores)

    def on_measure(self, case, ident, *fields):
        self.measures[case, ident] = Measure(case, ident, *fields)

    def on_aim(self, case, ident, subject, op, value, of):
        self.aims.append((case, ident, subject, op, float(value), of))

    def on_sample(self, case, ident, subject, turn, value):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            self.measures[case, ident].add(subject, turn, number)
        else:
            self.skips.append((case, subject, "gave no number: " + value))

    def on_skip(self, *fields):
        self.skips.append(fields)

    def on_note(self, case, text):
        self.notes.setdefault(case, []).append(text)

    def on_info(self, key, *words):
        self.info[key] = " ".join(words)

    def on_version(self, key, *words):
        self.versions[key] = " ".join(words)

    def of_case(self, case):
        return [m for m in self.measures.values()
                if m.case == case and m.subjects]


def number(x):
    """Three digits that mean something."""
    if x is None:
        return ""
    if x == 0:
        return "0"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(x))))
    return f"{x:.{min(digits, 5)}f}"


def aim_seen(samples, aim):
    """(the number that counts, as it is written), or None."""
    case, ident, subject, _, _, of = aim
    measure = samples.measures.get((case, ident))
    if not measure:
        return None
    if of == "-":
        seen = measure.median(subject)
    else:
        ratios = measure.ratios(subject, of)
        seen = statistics.median(ratios) if ratios else None
    return seen


def write_aims(samples, out):
    if not samples.aims:
        return
    out.append("## What cfs aims at\n")
    out.append("| case | aim | seen | reached |")
    out.append("|---|---|---|---|")
    for aim in samples.aims:
        case, ident, subject, op, value, of = aim
        measure = samples.measures[case, ident]
        seen = aim_seen(samples, aim)
        if of == "-":
            text = f"{subject}, {measure.title}: {op} {value:g} " \
                f"{measure.unit}"
        else:
            text = f"{subject}, {measure.title}: {op} {value:g} x {of}"
        if seen is None:
            shown, reached = "", "not measured"
        else:
            shown = number(seen)
            reached = "yes" if OPERATORS[op](seen, value) else "no"
        out.append(f"| {case} | {text} | {shown} | {reached} |")
    out.append("")


def write_measure(measure, out):
    out.append(f"**{measure.title}** ({measure.unit}, {measure.better} is "
               "better)\n")
    out.append("| subject | median | min | max | ratio to raw | min | max "
               "| rounds |")
    out.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    for subject in measure.order():
        values = list(measure.subjects[subject].values())
        ratios = measure.ratios(subject, measure.baseline)
        cells = [statistics.median(values), min(values), max(values)]
        cells += [statistics.median(ratios), min(ratios), max(ratios)] \
            if ratios else [None] * 3
        row = " | ".join(number(c) for c in cells)
        out.append(f"| {subject} | {row} | {len(values)} |")
    out.append("")


def write_case(samples, case, out):
    out.append(f"## {case}: {samples.cases[case]}\n")
    for measure in samples.of_case(case):
        write_measure(measure, out)
    remarks = list(samples.notes.get(case, []))
    load = samples.loads.get(case, 0)
    if load >= 0.1:
        remarks.append(f"others kept {load:.2f} cores busy when it began")
    remarks += [f"not run: {subject}: {why}"
                for where, subject, why in samples.skips if where == case]
    out += [f"- {text}" for text in remarks]
    if remarks:
        out.append("")


def markdown(samples):
    out = ["# cfs and its peers\n"]
    out += [f"- {key}: {text}" for key, text in samples.info.items()]
    out.append("- versions: " + "; ".join(
        f"{key} {text}" for key, text in samples.versions.items()))
    out.append("- a ratio is against the first line of its table in the same "
               "round; median, min and max are over rounds\n")
    write_aims(samples, out)
    for case in samples.cases:
        write_case(samples, case, out)
    while out and not out[-1]:
        out.pop()
    return "\n".join(out) + "\n"


def rows(samples):
    """results.json: one object for each subject of each measure."""
    for measure in samples.measures.values():
        for subject in measure.order():
            values = list(measure.subjects[subject].values())
            ratios = measure.ratios(subject, measure.baseline)
            yield {
                "case": measure.case,
                "measure": measure.ident,
                "subject": subject,
                "unit": measure.unit,
                "better": measure.better,
                "median": statistics.median(values),
                "min": min(values),
                "max": max(values),
                "rounds": len(values),
                "ratio_to_raw": statistics.median(ratios) if ratios else None,
                "ratio_min": min(ratios) if ratios else None,
                "ratio_max": max(ratios) if ratios else None,
                "versions": samples.versions,
            }


# ---------------------------------------------------------------------- plot

PANEL_WIDTH = 660
LABEL_WIDTH = 250
BAR_WIDTH = 250
BAR_STEP = 22
HEAD = 62
FOOT = 34
COLOURS = {"raw": "#444444", "cfs": "#1f6fb4", "peer": "#b9bec4"}


class Axis:
    """Ratios to columns; logarithmic when they differ by much."""

    def __init__(self, values):
        low, high = min(values + [1]), max(values + [1])
        self.is_log = high / low > 20
        if self.is_log:
            self.low = math.floor(math.log10(low * 0.7))
            self.high = math.ceil(math.log10(high))
            step = max(1, math.ceil((self.high - self.low) / 6))
            self.ticks = [10.0 ** e
                          for e in range(self.low, self.high + 1, step)]
        else:
            step = 10 ** math.floor(math.log10(high))
            step = next(s for s in (step / 5, step / 2, step, step * 2)
                        if high / s <= 6)
            self.low, self.high = 0, step * math.ceil(high / step)
            count = round(self.high / step)
            self.ticks = [step * i for i in range(count + 1)]

    def at(self, value):
        if self.is_log:
            value = math.log10(max(value, 10.0 ** self.low))
        part = (value - self.low) / (self.high - self.low)
        return LABEL_WIDTH + BAR_WIDTH * min(max(part, 0), 1)


def text(x, y, words, size=12, anchor="start", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
            f'text-anchor="{anchor}"{extra}>{escape(words)}</text>')


def line(x1, y1, x2, y2, style):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
            f'y2="{y2:.1f}" {style}/>')


def panel_aim(samples, measure):
    """Where the line of an aim stands: only what is against the baseline."""
    for case, ident, _, op, value, of in samples.aims:
        if (case, ident, of) == (measure.case, measure.ident,
                                 measure.baseline):
            return f"aim {op} {value:g}", value
    return None


def draw_bar(measure, subject, axis, y):
    ratios = measure.ratios(subject, measure.baseline)
    middle = statistics.median(ratios)
    kind = "peer"
    if subject == measure.baseline:
        kind = "raw"
    elif subject.startswith("cfs"):
        kind = "cfs"
    x0, x1 = axis.at(10.0 ** axis.low if axis.is_log else 0), axis.at(middle)
    weight = ' font-weight="bold"' if kind == "cfs" else ""
    value = f"{number(middle)}  ({number(measure.median(subject))} " \
        f"{measure.unit})"
    parts = [
        text(LABEL_WIDTH - 8, y + 12, subject, 12, "end", weight),
        f'<rect x="{x0:.1f}" y="{y:.1f}" width="{max(x1 - x0, 1):.1f}" '
        f'height="15" fill="{COLOURS[kind]}"/>',
        text(LABEL_WIDTH + BAR_WIDTH + 10, y + 12, value, 12, "start",
             weight),
    ]
    if len(ratios) > 1 and subject != measure.baseline:
        a, b = axis.at(min(ratios)), axis.at(max(ratios))
        style = 'stroke="#e07b00" stroke-width="1.5"'
        parts += [line(a, y + 7.5, b, y + 7.5, style),
                  line(a, y + 4, a, y + 11, style),
                  line(b, y + 4, b, y + 11, style)]
    return parts


def draw_panel(samples, measure):
    """(parts, height) of one measure, from its own corner."""
    subjects = [s for s in measure.order()
                if measure.ratios(s, measure.baseline)]
    ratios = [r for s in subjects
              for r in measure.ratios(s, measure.baseline)]
    axis = Axis(ratios)
    bottom = HEAD + BAR_STEP * len(subjects)
    parts = [
        text(0, 20, f"{measure.case}: {measure.title}", 15, "start",
             ' font-weight="bold"'),
        text(0, 38, f"ratio to {measure.baseline}, {measure.better} is "
             f"better{', logarithmic' if axis.is_log else ''}", 11, "start",
             ' fill="#666666"'),
    ]
    for tick in axis.ticks:
        x = axis.at(tick)
        parts += [line(x, HEAD - 4, x, bottom, 'stroke="#e4e4e4"'),
                  text(x, bottom + 13, f"{tick:g}", 10, "middle",
                       ' fill="#666666"')]
    for i, subject in enumerate(subjects):
        parts += draw_bar(measure, subject, axis, HEAD + BAR_STEP * i)
    parts.append(line(axis.at(1), HEAD - 4, axis.at(1), bottom,
                      'stroke="#444444" stroke-width="1"'))
    aim = panel_aim(samples, measure)
    if aim:
        x = axis.at(aim[1])
        parts += [line(x, HEAD - 6, x, bottom, 'stroke="#1f6fb4" '
                       'stroke-width="1.5" stroke-dasharray="4 3"'),
                  text(x, HEAD - 8, aim[0], 10, "middle",
                       ' fill="#1f6fb4"')]
    return parts, bottom + FOOT


def svg(samples):
    """A row for each case, a panel for each measure that has a baseline."""
    body, y, width = [], 84, 1
    for case in samples.cases:
        panels = [draw_panel(samples, m) for m in samples.of_case(case)
                  if m.baseline and m.subjects.get(m.baseline)]
        for i, (parts, _) in enumerate(panels):
            body.append(f'<g transform="translate({20 + i * PANEL_WIDTH} '
                        f'{y})">')
            body += parts + ["</g>"]
        y += max((height for _, height in panels), default=0)
        width = max(width, len(panels))
    width = width * PANEL_WIDTH + 20
    machine = "; ".join(samples.info.get(k, "")
                        for k in ("machine", "directory", "date"))
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{y}" viewBox="0 0 {width} {y}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" fill="#222222">',
        f'<rect width="{width}" height="{y}" fill="#ffffff"/>',
        text(20, 34, "cfs and its peers, the same disk, the same run", 20,
             "start", ' font-weight="bold"'),
        text(20, 54, machine[:width // 6], 11, "start", ' fill="#666666"'),
        text(20, 70, "bars: median of the ratios of all rounds; orange: "
             "lowest to highest", 11, "start", ' fill="#666666"'),
    ]
    return "\n".join(head + body + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples")
    parser.add_argument("--markdown", required=True)
    parser.add_argument("--json", required=True)
    parser.add_argument("--svg", required=True)
    args = parser.parse_args()
    with open(args.samples, encoding="utf-8", errors="replace") as file:
        samples = Samples(file)
    for path, content in (
            (args.markdown, markdown(samples)),
            (args.json, json.dumps(list(rows(samples)), indent=1) + "\n"),
            (args.svg, svg(samples))):
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
