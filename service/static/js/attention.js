// A grid of class activations, drawn over a slice.

// Stops of a map that is dark where there is little and never red against green: violet, rose, amber, pale yellow.
const STOPS = [
  [0, [40, 18, 92]],
  [0.35, [136, 34, 120]],
  [0.65, [226, 84, 82]],
  [0.85, [252, 170, 72]],
  [1, [252, 246, 190]],
];
const DOUBLINGS = 4;

/** A canvas of the grid's colours, [0..1] rows of columns, smoothed; little attention is transparent. */
export function heatmap(grid) {
  let canvas = canvasOf(grid[0].length, grid.length);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  grid.flat().forEach((value, at) => pixels.data.set([...colour(value), Math.round(255 * Math.min(1, 1.4 * value))], 4 * at));
  context.putImageData(pixels, 0, 0);
  // each doubling is linear; four of them are nearly a spline, without the diamonds of one large step
  for (let step = 0; step < DOUBLINGS; step++) {
    const larger = canvasOf(2 * canvas.width, 2 * canvas.height);
    larger.getContext("2d").drawImage(canvas, 0, 0, larger.width, larger.height);
    canvas = larger;
  }
  return canvas;
}

/** Colour [r, g, b] of a value 0 to 1. */
export function colour(value) {
  const above = Math.max(1, STOPS.findIndex(([at]) => at >= value));
  const [low, from] = STOPS[above - 1], [high, to] = STOPS[above];
  const share = (value - low) / (high - low);
  return from.map((channel, at) => Math.round(channel + share * (to[at] - channel)));
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}
