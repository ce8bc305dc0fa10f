"""Plots of bench.py, drawn by hand: grouped bars with their spread, and distributions as lines;
light and dark pages alike."""

import math
from xml.sax.saxutils import escape

COLOURS = {"limit": "#9aa0a6", "weft": "#d9480f", "testpmd": "#1c7ed6", "ovs": "#2f9e44",
           "vpp": "#9c36b5", "bridge": "#2f9e44", "memcpy": "#5f3dc4"}
LINES = ("#1c7ed6", "#d9480f", "#2f9e44", "#9c36b5", "#e8590c", "#5f3dc4", "#099268", "#868e96")
WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 56, 44


def nice_steps(top):
    """Up to six round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0, 1]
    step = 10 ** len(str(int(top)))
    if top < 1:
        step = 1
        while step > top:
            step /= 10
        step *= 10
    for divisor in (1, 2, 5, 10, 20, 50, 100):
        if top / (step / divisor) >= 3.5:
            step /= divisor
            break
    count = int(top / step) + (0 if top % step == 0 else 1)
    return [step * i for i in range(count + 1)]


def text(x, y, words, anchor="middle", size=12, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def opening(title):
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" fill="currentColor">',
            "<style>svg{color:#222;background:#fff}@media(prefers-color-scheme:dark)"
            "{svg{color:#ddd;background:#1b1b1b}}</style>",
            text(LEFT, 20, title, "start", 15, "bold")]


def legend(names, titles):
    parts, x = [], LEFT
    for name in names:
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" '
                     f'fill="{COLOURS.get(name, "#888")}"/>')
        parts.append(text(x + 17, 42, titles[name], "start"))
        x += 34 + 7 * len(titles[name])
    return parts


def axis(steps, scale, unit):
    parts = [text(LEFT - 8, TOP - 8, unit, "end")]
    for step in steps:
        y = HEIGHT - BOTTOM - step * scale
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                     'stroke="#8884"/>')
        parts.append(text(LEFT - 8, y + 4, f"{step:g}", "end"))
    return parts


def bar(x, width, name, value, scale, label):
    """`value` is (median, low, high): the whisker shows the middle half of the runs."""
    median, low, high = value
    y, middle = HEIGHT - BOTTOM - median * scale, x + width / 2
    top = HEIGHT - BOTTOM - high * scale
    return [f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{median * scale:.1f}" '
            f'fill="{COLOURS.get(name, "#888")}"><title>{escape(label)}</title></rect>',
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{top:.1f}" '
            f'y2="{HEIGHT - BOTTOM - low * scale:.1f}" stroke="currentColor"/>',
            text(middle, top - 4, f"{median:.3g}", size=10)]


def bars(title, unit, points, names, titles, values):
    """`values` maps (point, name) to (median, low, high)."""
    steps = nice_steps(max(value[2] for value in values.values()))
    scale = (HEIGHT - TOP - BOTTOM) / steps[-1]
    group = (WIDTH - LEFT - RIGHT) / len(points)
    width = min(48.0, group * 0.86 / len(names))
    parts = opening(title) + legend(names, titles) + axis(steps, scale, unit)
    for i, point in enumerate(points):
        here = [name for name in names if (point, name) in values]
        start = LEFT + group * i + (group - width * len(here)) / 2
        for j, name in enumerate(here):
            value = values[point, name]
            parts += bar(start + j * width, width * 0.92, name, value, scale,
                         f"{titles[name]}, {point}: {value[0]:.3g} {unit}")
        parts.append(text(LEFT + group * (i + 0.5), HEIGHT - BOTTOM + 18, point))
    return "\n".join(parts + ["</svg>\n"])


#: how rare: one in so many frames takes longer
RARITIES = (1, 10, 100, 1000, 10_000)


def curve(frames, x_of, y_of):
    """Points of a line: for each value, one in how many frames takes at least that."""
    total, below, points = sum(frames.values()), 0, []
    for value in sorted(frames):
        rarity = total / (total - below)
        if rarity > RARITIES[-1]:
            break
        points.append(f"{x_of(rarity):.1f},{y_of(value):.1f}")
        below += frames[value]
    return " ".join(points)


def distributions(title, unit, found):
    """`found` maps labels to {value: frames}. Both axes are logarithmic: rarity, and value."""
    values = [value for frames in found.values() for value in frames if value > 0]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    height, width = HEIGHT - TOP - BOTTOM, WIDTH - LEFT - RIGHT

    def x_of(rarity):
        return LEFT + width * math.log10(rarity) / math.log10(RARITIES[-1])

    def y_of(value):
        return HEIGHT - BOTTOM - height * (math.log10(value) - low) / (high - low)

    parts = opening(title) + [text(LEFT - 8, TOP - 8, unit, "end")]
    for power in range(low, high + 1):
        y = y_of(10 ** power)
        parts += [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                  'stroke="#8884"/>', text(LEFT - 8, y + 4, f"{10 ** power:g}", "end")]
    for rarity in RARITIES:
        parts.append(text(x_of(rarity), HEIGHT - BOTTOM + 18,
                          "all" if rarity == 1 else f"{100 - 100 / rarity:g} %",
                          "middle" if rarity < RARITIES[-1] else "end"))
    x = LEFT
    for i, (label, frames) in enumerate(found.items()):
        colour = LINES[i % len(LINES)]
        parts += [f'<polyline points="{curve(frames, x_of, y_of)}" fill="none" stroke="{colour}" '
                  'stroke-width="1.5"/>',
                  f'<rect x="{x}" y="32" width="12" height="12" fill="{colour}"/>',
                  text(x + 17, 42, label, "start")]
        x += 28 + 6.3 * len(label)
    return "\n".join(parts + ["</svg>\n"])
