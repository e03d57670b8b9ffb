"""What the pictures of matplotlib have in common. They are drawn off screen: no global state is touched."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


def png_of(figure: Figure) -> bytes:
    """PNG bytes; equal figures give equal ones: the software's name and version are left out."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def draw_reliability(
    axes: Axes, top: NDArray[np.floating], is_right: NDArray[np.bool_], *, bins: int, colour: str, label: str = ""
) -> None:
    """The share of slices that are right against the mean of their top probability [n], in bins of equal mass."""
    rows = [one for one in np.array_split(np.argsort(top, kind="stable"), bins) if len(one)]
    means, right = ([values[one].mean() for one in rows] for values in (top, is_right))
    axes.plot(means, right, color=colour, marker="o", markersize=4, label=label or None)


def frame_reliability(axes: Axes) -> None:
    """The line on which probabilities mean what they say, and what the axes show."""
    axes.plot([0, 1], [0, 1], color="#7a7a7a", linestyle="--", linewidth=1)
    axes.set(xlabel="Mean probability of the top class", ylabel="Share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    make_plain(axes)


def make_plain(axes: Axes) -> None:
    """Give axes a faint grid, and no frame above and on the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
