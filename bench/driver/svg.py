"""Bars and lines as SVG text. Two kinds of picture do not justify a plotting library. The same
figures give the same text, so that a change of a picture can be read."""

import math
from dataclasses import dataclass
from html import escape
from statistics import median

WIDTH = 860
INK, SOFT, RULE = "#1f2933", "#66727f", "#e3e8ee"
FONT = "font-family='system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif'"
TITLE, TEXT, SMALL = 16, 13, 11
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MIDDLE = 4  # from a line's middle down to the baseline of its text


@dataclass(frozen=True)
class Bar:
    """One row; `low` and `high`: the spread that is drawn over it."""

    name: str
    value: float
    low: float
    high: float
    said: str  # behind the bar
    colour: str
    is_doubtful: bool = False


@dataclass(frozen=True)
class Line:
    """Points in the order they are joined."""

    name: str
    points: list[tuple[float, float]]
    colour: str


class Drawing:
    """A white sheet that grows by what is put on it."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.parts: list[str] = []
        self.height = 14.0
        self.put(16, 30, title, TITLE, INK, "bold")
        self.height = 42.0
        if subtitle:
            self.put(16, 50, subtitle, SMALL, SOFT)
            self.height = 62.0

    def put(
        self, x: float, y: float, said: str, size: int, colour: str = INK, more: str = ""
    ) -> None:
        """Text; `more`: bold, end or middle, or several of them."""
        words = more.split()
        anchor = next((word for word in words if word in ("end", "middle")), "start")
        weight = " font-weight='600'" if "bold" in words else ""
        self.parts.append(
            f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{colour}' "
            f"text-anchor='{anchor}'{weight}>{escape(said)}</text>"
        )

    def rule(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        (x, y), (to_x, to_y) = start, end
        self.parts.append(
            f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}' stroke='{colour}'/>"
        )

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self.parts.append(
            f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(width, 0.5):.1f}' height='{height:.1f}' "
            f"rx='2' fill='{fill}'/>"
        )

    def text(self) -> str:
        height = math.ceil(self.height + 10)
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' "
            f"width='{WIDTH}' height='{height}' {FONT}>\n"
            f"<rect width='100%' height='100%' fill='#ffffff'/>\n" + "\n".join(self.parts)
        ) + "\n</svg>\n"


def nice(most: float, parts: int = 5) -> list[float]:
    """Ticks from 0 to at least `most`."""
    if most <= 0:
        return [0.0, 1.0]
    raw = most / parts
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in STEPS if s * power >= raw * 0.999)
    return [k * step for k in range(math.ceil(most / step - 1e-9) + 1)]


def decades(least: float, most: float) -> list[float]:
    """Ticks of a logarithmic axis: 1, 2, 5 of each power that is in between."""
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    wide = high - low > 3
    ticks = [m * 10.0**k for k in range(low, high + 1) for m in ((1,) if wide else (1, 2, 5))]
    begin = max((t for t in ticks if t <= least), default=ticks[0])
    end = min((t for t in ticks if t >= most), default=ticks[-1])
    return [t for t in ticks if begin <= t <= end]


def short(value: float) -> str:
    """A tick's label."""
    if value >= 10_000 or (value >= 1000 and value % 1000 == 0):
        return f"{value / 1000:,.4g}k"
    return f"{value:,.4g}"


LEFT, RIGHT, ROW, BAR = 170.0, 250.0, 24.0, 14.0
LONGEST = 3.0  # times the middle bar; what is longer is cut, or the others could not be compared


def panel(drawing: Drawing, title: str, bars: list[Bar]) -> None:
    """Horizontal bars under a heading, from 0."""
    top = drawing.height + 18
    drawing.put(16, top, title, TEXT, INK, "bold")
    top += 10
    ticks = nice(min(max(b.high for b in bars), LONGEST * median(b.high for b in bars)))
    scale = (WIDTH - LEFT - RIGHT) / ticks[-1]
    bottom = top + ROW * len(bars)
    for tick in ticks:
        x = LEFT + tick * scale
        drawing.rule((x, top), (x, bottom), RULE)
        drawing.put(x, bottom + 14, short(tick), SMALL, SOFT, "middle")
    for k, bar in enumerate(bars):
        draw_bar(drawing, bar, top + ROW * (k + 0.5), scale)
    drawing.height = bottom + 22


def draw_bar(drawing: Drawing, bar: Bar, middle: float, scale: float) -> None:
    """One row, its middle at that height."""
    drawing.put(LEFT - 10, middle + MIDDLE, bar.name, TEXT, INK, "end")
    available = WIDTH - LEFT - RIGHT
    drawing.box(LEFT, middle - BAR / 2, min(bar.value * scale, available), BAR, bar.colour)
    end = LEFT + min(bar.high * scale, available)
    if bar.high * scale > available:
        drawing.parts.append(
            f"<path d='M{end - 26:.1f} {middle + 9:.1f}l6 -18h7l-6 18z' fill='#ffffff'/>"
        )
    elif bar.high > bar.low:
        begin = LEFT + bar.low * scale
        drawing.rule((begin, middle), (end, middle), INK)
        for x in (begin, end):
            drawing.rule((x, middle - 4), (x, middle + 4), INK)
    colour = "#b4540a" if bar.is_doubtful else SOFT
    drawing.put(end + 8, middle + MIDDLE, bar.said, SMALL, colour)


@dataclass(frozen=True)
class Axis:
    """Title and scale of an axis."""

    label: str
    is_log: bool = False

    def ticks(self, values: list[float]) -> list[float]:
        return decades(min(values), max(values)) if self.is_log else nice(max(values))

    def place(self, value: float, ticks: list[float]) -> float:
        """0 to 1."""
        if self.is_log:
            low, high = math.log(ticks[0]), math.log(ticks[-1])
            return (math.log(value) - low) / (high - low) if high > low else 0.5
        return value / ticks[-1]


TALL = 300.0
SIDE, END = 70.0, 150.0


def chart(drawing: Drawing, x_axis: Axis, y_axis: Axis, lines: list[Line]) -> None:
    """Lines with their names at their ends."""
    top, left, right = drawing.height + 24, SIDE, WIDTH - END
    bottom = top + TALL
    xs = x_axis.ticks([x for line in lines for x, _ in line.points])
    ys = y_axis.ticks([y for line in lines for _, y in line.points])
    for tick in ys:
        y = bottom - TALL * y_axis.place(tick, ys)
        drawing.rule((left, y), (right, y), RULE)
        drawing.put(left - 8, y + MIDDLE, short(tick), SMALL, SOFT, "end")
    for tick in xs:
        x = left + (right - left) * x_axis.place(tick, xs)
        drawing.rule((x, bottom), (x, bottom + 4), SOFT)
        drawing.put(x, bottom + 17, short(tick), SMALL, SOFT, "middle")
    drawing.put(left - 54, top - 12, y_axis.label, SMALL, SOFT)
    drawing.put((left + right) / 2, bottom + 36, x_axis.label, SMALL, SOFT, "middle")
    names = []
    for line in lines:
        placed = [
            (left + (right - left) * x_axis.place(x, xs), bottom - TALL * y_axis.place(y, ys))
            for x, y in line.points
        ]
        trace(drawing, placed, line.colour)
        names.append((placed[-1], line))
    label_ends(drawing, names)
    drawing.height = bottom + 46


def trace(drawing: Drawing, placed: list[tuple[float, float]], colour: str) -> None:
    """A line with a dot at each point."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    drawing.parts.append(
        f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2.2' "
        "stroke-linejoin='round'/>"
    )
    for x, y in placed:
        drawing.parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>")


def label_ends(drawing: Drawing, names: list[tuple[tuple[float, float], Line]]) -> None:
    """Names in a column at the right, moved apart where they would cover each other."""
    below = -math.inf
    for (_, y), line in sorted(names, key=lambda item: item[0][1]):
        below = max(y, below + 15)
        drawing.put(WIDTH - END + 12, below + MIDDLE, line.name, TEXT, line.colour, "bold")
