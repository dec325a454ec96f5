"""Two plots as SVG, by hand: bars on a logarithmic axis, and a curve over powers of ten."""

import math
from html import escape

INK, FAINT, OURS, THEIRS = "#24292f", "#d0d7de", "#0969da", "#8c959f"
FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def _text(x, y, words, anchor="start", color=INK, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" {more}>{escape(words)}</text>'


def _svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" {FONT}>'
            f'<rect width="{width}" height="{height}" fill="white"/>' + "\n".join(parts) + "</svg>\n")


def short(number):
    """1234567 -> 1.23M"""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def bars(panels):
    """`panels`: [(title, unit, [(name, value, note, is ours)])]; longer is more."""
    width, left, right, line = 860, 150, 210, 20
    parts, y = [], 10
    for title, unit, rows in panels:
        y += 22
        parts.append(_text(10, y, f"{title}, {unit}", more='font-weight="600"'))
        low = 10 ** math.floor(math.log10(min(value for _, value, _, _ in rows)))
        high = max(value for _, value, _, _ in rows)
        scale = (width - left - right) / max(math.log10(high / low), 0.1)
        top, y = y + 6, y + 8
        for power in range(math.ceil(math.log10(high / low)) + 1):
            x = left + power * scale
            if x <= width - right + 1:
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + line * len(rows) + 4}" stroke="{FAINT}"/>')
                parts.append(_text(x, top + line * len(rows) + 16, short(low * 10 ** power), "middle", THEIRS))
        for name, value, note, ours in rows:
            long = max(2.0, math.log10(value / low) * scale)
            parts.append(_text(left - 8, y + 13, name, "end", OURS if ours else INK))
            parts.append(f'<rect x="{left}" y="{y + 3}" width="{long:.1f}" height="{line - 6}" rx="2" fill="{OURS if ours else THEIRS}"/>')
            parts.append(_text(left + long + 6, y + 13, note))
            y += line
        y += 26
    return _svg(width, y, parts)


def curve(title, xlabel, ylabel, lines):
    """`lines`: {name: [(x, y)]}, x over powers of ten; y from 0."""
    width, height, left, bottom, top = 720, 370, 70, 50, 56
    xs = [x for points in lines.values() for x, _ in points]
    most = max(y for points in lines.values() for _, y in points) * 1.15
    low, high = math.log10(min(xs)), math.log10(max(xs))
    across = lambda x: left + (math.log10(x) - low) / max(high - low, 0.1) * (width - left - 130)
    up = lambda y: height - bottom - y / most * (height - bottom - top)
    parts = [_text(10, 22, title, more='font-weight="600"'), _text(left, height - 12, xlabel), _text(10, 40, ylabel, color=THEIRS)]
    for i in range(5):
        y = most * i / 4
        parts.append(f'<line x1="{left}" x2="{width - 130}" y1="{up(y):.1f}" y2="{up(y):.1f}" stroke="{FAINT}"/>')
        parts.append(_text(left - 8, up(y) + 4, short(y), "end", THEIRS))
    for x in sorted(set(xs)):
        parts.append(_text(across(x), height - bottom + 18, short(x), "middle", THEIRS))
    for (name, points), color in zip(lines.items(), (OURS, "#bf3989", "#1a7f37", "#9a6700")):
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="'
                     + " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points) + '"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{color}"/>' for x, y in points]
        parts.append(_text(across(points[-1][0]) + 10, up(points[-1][1]) + 4, name, color=color))
    return _svg(width, height, parts)
