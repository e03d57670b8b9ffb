// One picture in one or two canvases that zoom and pan together: wheel, drag, pinch, keys.

import { oncePerFrame } from "./dom.js";

const MOST_ZOOM = 16;
const STEP = 1.25;
const PAN_PX = 40;

export class Viewport {
  /** canvases: each is drawn with the picture; `paint(canvas, context)` adds to it in the picture's pixels. */
  constructor(canvases, paint) {
    this._canvases = canvases;
    this._paint = paint;
    this._picture = null;
    this._pointers = new Map();
    this.draw = oncePerFrame(() => this._draw());
    this.fit();
    const observer = new ResizeObserver(this.draw);
    for (const canvas of canvases) {
      observer.observe(canvas);
      this._listen(canvas);
    }
  }

  /** Show another picture (ImageBitmap or null); one of the same size keeps its place. */
  show(picture) {
    const isSame = picture && this._picture && picture.width === this._picture.width && picture.height === this._picture.height;
    this._picture = picture;
    if (!isSame) this.fit();
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this._centre = { x: 0.5, y: 0.5 }; // of the view, in shares of the picture
    this.draw();
  }

  /** Zoom by a factor around a point of a canvas (CSS pixels), or around its middle. */
  zoomBy(factor, canvas = null, at = null) {
    const before = canvas && at && this._toPicture(canvas, at);
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    if (before) {
      const after = this._toPicture(canvas, at);
      this._centre.x += before.x - after.x;
      this._centre.y += before.y - after.y;
    }
    this._hold();
  }

  /** Pan by CSS pixels. */
  panBy(dx, dy, canvas = this._canvases[0]) {
    if (!this._picture) return;
    const scale = this._scale(canvas);
    this._centre.x -= dx / (this._picture.width * scale);
    this._centre.y -= dy / (this._picture.height * scale);
    this._hold();
  }

  _hold() {
    const margin = 0.5 / this.zoom;
    const held = (value) => Math.min(1 - margin, Math.max(margin, value));
    this._centre = { x: held(this._centre.x), y: held(this._centre.y) };
    this.draw();
  }

  /** CSS pixels for a pixel of the picture. */
  _scale(canvas) {
    return this.zoom * Math.min(canvas.clientWidth / this._picture.width, canvas.clientHeight / this._picture.height);
  }

  _toPicture(canvas, at) {
    if (!this._picture) return { ...this._centre };
    const scale = this._scale(canvas);
    return {
      x: this._centre.x + (at.x - canvas.clientWidth / 2) / (this._picture.width * scale),
      y: this._centre.y + (at.y - canvas.clientHeight / 2) / (this._picture.height * scale),
    };
  }

  _draw() {
    for (const canvas of this._canvases) {
      if (!canvas.clientWidth) continue;
      const ratio = devicePixelRatio || 1;
      const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, width, height);
      if (!this._picture) continue;
      const scale = this._scale(canvas) * ratio;
      context.setTransform(
        scale, 0, 0, scale,
        width / 2 - this._centre.x * this._picture.width * scale, height / 2 - this._centre.y * this._picture.height * scale,
      );
      context.imageSmoothingEnabled = scale < 3; // closer than that, a reader wants to see the pixels
      context.imageSmoothingQuality = "high";
      context.drawImage(this._picture, 0, 0);
      this._paint(canvas, context);
    }
  }

  _listen(canvas) {
    canvas.addEventListener("wheel", (event) => {
      if (!this._picture || !(event.ctrlKey || this.zoom > 1 || document.activeElement === canvas)) return; // else the page scrolls
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 300), canvas, { x: event.offsetX, y: event.offsetY });
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => {
      if (this.zoom > 1) this.fit();
      else this.zoomBy(3, canvas, { x: event.offsetX, y: event.offsetY });
    });
    canvas.addEventListener("keydown", (event) => this._key(event));
    canvas.addEventListener("pointerdown", (event) => {
      this._pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => this._move(canvas, event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this._pointers.delete(event.pointerId));
    }
  }

  _move(canvas, event) {
    const from = this._pointers.get(event.pointerId);
    if (!from) return;
    const to = { x: event.offsetX, y: event.offsetY };
    const other = [...this._pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      this.zoomBy(distance(to) / distance(from), canvas, { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
    } else this.panBy(to.x - from.x, to.y - from.y, canvas);
    this._pointers.set(event.pointerId, to);
  }

  _key(event) {
    const done = {
      "+": () => this.zoomBy(STEP),
      "=": () => this.zoomBy(STEP),
      "-": () => this.zoomBy(1 / STEP),
      0: () => this.fit(),
      ArrowLeft: () => this.panBy(PAN_PX, 0),
      ArrowRight: () => this.panBy(-PAN_PX, 0),
      ArrowUp: () => this.panBy(0, PAN_PX),
      ArrowDown: () => this.panBy(0, -PAN_PX),
    }[event.key];
    if (!done || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    done();
  }
}
