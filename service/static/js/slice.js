// One file that a person gave: what kind of image it is, and what it looks like.

import { post, withQuery } from "./api.js";

const THUMBNAIL_PX = 96;
const PATIENCE = 5; // times a drawing is asked for while the service is busy

let count = 0;

export class Slice {
  constructor(file, path = file.webkitRelativePath || file.name) {
    this.id = `slice-${++count}`;
    this.file = file;
    this.name = path;
    this.state = "waiting";
    this.progress = 0;
    this.answer = null;
    this.problem = null;
    /** Frame of a multi-frame DICOM file that was or will be asked about, from 1; null: the first. */
    this.frame = null;
    /** Explanations of the answer, by class name. */
    this.explanations = new Map();
    this._kind = null;
  }

  /** "jpeg", "png", "png16", "dicom" or "other", told by the bytes and not by the name. */
  kind() {
    this._kind ??= this.file.slice(0, 132).arrayBuffer().then(kindOf, () => "other");
    return this._kind;
  }

  /**
   * The picture, as large as the slice is displayed: {bitmap, frames, level, width}; level and width are null where windows
   * do not apply. JPEG and 8-bit PNG are drawn here, everything else by the service. Throws where it cannot be drawn.
   */
  async picture({ level = null, width = null, frame = this.frame, signal } = {}) {
    const kind = await this.kind();
    if (kind === "jpeg" || kind === "png") return { bitmap: await createImageBitmap(this.file), ...NO_WINDOW };
    return this._rendered({ level, width, frame }, signal);
  }

  /** A small bitmap. Throws where it cannot be drawn. */
  async thumbnail() {
    const kind = await this.kind();
    if (kind !== "dicom" && kind !== "other" && kind !== "png16") return createImageBitmap(this.file, SMALL);
    const { bitmap } = await this.picture();
    return createImageBitmap(bitmap, SMALL);
  }

  async _rendered(query, signal) {
    for (let tries = 1; ; tries++) {
      try {
        const response = await post(withQuery("render", query), this.file, signal);
        const number = (name) => (response.headers.has(name) ? Number(response.headers.get(name)) : null);
        return {
          bitmap: await createImageBitmap(await response.blob()),
          frames: number("X-Image-Frames") || 1,
          level: number("X-Window-Level"),
          width: number("X-Window-Width"),
        };
      } catch (error) {
        if (!(error.status === 429 || error.status === 503) || tries === PATIENCE) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfterS || 1)));
      }
    }
  }
}

const NO_WINDOW = { frames: 1, level: null, width: null };
const SMALL = { resizeWidth: THUMBNAIL_PX, resizeQuality: "medium" };

function kindOf(buffer) {
  const bytes = new Uint8Array(buffer);
  const startsWith = (...start) => start.every((byte, at) => bytes[at] === byte);
  if (startsWith(0xff, 0xd8, 0xff)) return "jpeg";
  if (startsWith(0x89, 0x50, 0x4e, 0x47)) return bytes[24] === 16 ? "png16" : "png"; // bit depth, of IHDR
  if (String.fromCharCode(...bytes.slice(128, 132)) === "DICM") return "dicom";
  return "other";
}
