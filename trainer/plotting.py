"""A figure of matplotlib as PNG bytes, drawn off screen: no global state is touched."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def png_of(figure: Figure) -> bytes:
    """Equal figures give equal bytes: the software's name and version are left out."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
