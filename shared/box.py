"""Where something lies on a slice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """In pixels of the slice as it is displayed, from its upper left corner; may reach beyond the slice's edges."""

    left: float
    top: float
    width: float
    height: float

    def part(self, shape: tuple[int, ...], cut: tuple[slice, slice]) -> "Box":
        """The part that is cut, as rows and columns, out of a picture [h, w] that fills the box.

        Rows and columns may lie outside the picture: what is padded reaches beyond the box.
        """
        row, column = self.height / shape[0], self.width / shape[1]
        rows, columns = cut
        return Box(
            left=self.left + columns.start * column,
            top=self.top + rows.start * row,
            width=(columns.stop - columns.start) * column,
            height=(rows.stop - rows.start) * row,
        )
