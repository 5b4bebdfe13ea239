"""Draw book/_static/logo.svg and favicon.svg: a layer of weights under a lottery ticket's mask.

Each circle is a weight: its size the magnitude, its colour the sign; pruned ones are faint dots.
Run from anywhere: python tools/draw_logo.py
"""

import random
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
POSITIVE, NEGATIVE, PRUNED = "#d1495b", "#2e6f9e", "#9aa5b1"


def grid(size: int, keep: int, seed: int) -> str:
    """An SVG of size x size weights of which the `keep` largest are kept."""
    generator = random.Random(seed)
    weights = [generator.gauss(0.0, 1.0) for _ in range(size * size)]
    threshold = sorted(map(abs, weights), reverse=True)[keep - 1]
    step = 100 / size
    circles = []
    for number, weight in enumerate(weights):
        row, column = divmod(number, size)
        kept = abs(weight) >= threshold
        radius = step * (min(0.46, 0.2 + 0.12 * abs(weight)) if kept else 0.1)
        color = PRUNED if not kept else POSITIVE if weight > 0 else NEGATIVE
        circles.append(
            f'  <circle cx="{(column + 0.5) * step:.1f}" cy="{(row + 0.5) * step:.1f}" '
            f'r="{radius:.1f}" fill="{color}"/>'
        )
    body = "\n".join(circles)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">\n{body}\n</svg>\n'


if __name__ == "__main__":
    (STATIC / "logo.svg").write_text(grid(size=8, keep=20, seed=5))
    (STATIC / "favicon.svg").write_text(grid(size=4, keep=6, seed=5))
