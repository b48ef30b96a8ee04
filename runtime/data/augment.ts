// Changes to pictures on their way into a batch, drawn by seed, epoch and record. In: elements [c, h, w] of a record, from 0 to 1,
// changed in place; a batch for mixup and cutmix. Names, ranges and defaults are torchvision's; places that a picture moves
// away from are black (0). Transforms are plain data, so that they can be written on a command line and sent to a worker.
import { DataError } from "./dataset.ts";
import { beta, type Draw } from "./random.ts";

export type Transform =
  /** Pads by so many pixels and takes a part of the old size: RandomCrop(size, padding). */
  | { readonly kind: "crop"; readonly padding: number }
  /** Mirrors left and right. */
  | { readonly kind: "flip"; readonly p: number }
  /** Up to so many degrees either way, bilinear. */
  | { readonly kind: "rotate"; readonly degrees: number }
  /** Up to this share of each side, either way. */
  | { readonly kind: "shift"; readonly share: number }
  | { readonly kind: "scale"; readonly low: number; readonly high: number }
  /** Factors of 1 - b to 1 + b; hue turns by up to its share of the circle. */
  | {
      readonly kind: "jitter";
      readonly brightness: number;
      readonly contrast: number;
      readonly saturation: number;
      readonly hue: number;
    }
  /** Blacks out a rectangle of 2 to 33 percent of the picture: RandomErasing. */
  | { readonly kind: "erase"; readonly p: number }
  /** (x - mean) / std by channel; the only one that evaluation has, too. */
  | { readonly kind: "normalize"; readonly mean: readonly number[]; readonly std: readonly number[] }
  /** Blends each picture and its label with its neighbour's in the batch, by Beta(alpha, alpha). */
  | { readonly kind: "mixup"; readonly alpha: number }
  /** Puts a rectangle of the neighbour's picture in, and blends the labels by its share. */
  | { readonly kind: "cutmix"; readonly alpha: number };

export type BatchTransform = Extract<Transform, { readonly kind: "mixup" | "cutmix" }>;
export const mixesBatches = (t: Transform): t is BatchTransform => t.kind === "mixup" || t.kind === "cutmix";

const FORMS: Readonly<
  Record<Transform["kind"], { readonly form: string; readonly of: (n: number[]) => Transform | undefined }>
> = {
  crop: { form: "crop:4", of: ([padding = 4]) => (whole(padding) ? { kind: "crop", padding } : undefined) },
  flip: { form: "flip", of: ([p = 0.5]) => (share(p) ? { kind: "flip", p } : undefined) },
  rotate: { form: "rotate:15", of: ([degrees]) => (degrees > 0 ? { kind: "rotate", degrees } : undefined) },
  shift: { form: "shift:0.1", of: ([by]) => (share(by) ? { kind: "shift", share: by } : undefined) },
  scale: {
    form: "scale:0.9:1.1",
    of: ([low, high]) => (low > 0 && high >= low ? { kind: "scale", low, high } : undefined),
  },
  jitter: {
    form: "jitter:0.2:0.2:0.2:0.05 (brightness, contrast, saturation, hue)",
    of: ([brightness, contrast = 0, saturation = 0, hue = 0]) =>
      [brightness, contrast, saturation].every((x) => x >= 0) && hue >= 0 && hue <= 0.5
        ? { kind: "jitter", brightness, contrast, saturation, hue }
        : undefined,
  },
  erase: { form: "erase", of: ([p = 0.5]) => (share(p) ? { kind: "erase", p } : undefined) },
  normalize: {
    form: "normalize:0.1307:0.3081 (each channel's mean, then each one's deviation)",
    of: (n) =>
      n.length >= 2 && n.length % 2 === 0 && n.slice(n.length / 2).every((x) => x !== 0)
        ? { kind: "normalize", mean: n.slice(0, n.length / 2), std: n.slice(n.length / 2) }
        : undefined,
  },
  mixup: { form: "mixup:0.2", of: ([alpha = 0.2]) => (alpha > 0 ? { kind: "mixup", alpha } : undefined) },
  cutmix: { form: "cutmix:1", of: ([alpha = 1]) => (alpha > 0 ? { kind: "cutmix", alpha } : undefined) },
};
const whole = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
const share = (n: number): boolean => n >= 0 && n <= 1;

/** `crop:4,flip,normalize:0.1307:0.3081`, in the order in which they are done. */
export function parseTransforms(text: string): Transform[] {
  return text
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const [name, ...numbers] = part.trim().split(":");
      const known = Object.hasOwn(FORMS, name) ? FORMS[name as Transform["kind"]] : undefined;
      if (!known)
        throw new DataError(`there is no augmentation ${name}: there are ${Object.keys(FORMS).join(", ")}`);
      const values = numbers.map((n) => (n.trim() === "" ? Number.NaN : Number(n)));
      const made = values.every(Number.isFinite) ? known.of(values) : undefined;
      if (!made) throw new DataError(`${part} is not understood: ${name} is written ${known.form}`);
      return made;
    });
}

/** What evaluation does of them. */
export const forEvaluation = (transforms: readonly Transform[]): Transform[] =>
  transforms.filter((t) => t.kind === "normalize");

export interface Size {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Refuses what pictures of this size cannot have done to them. */
export function checkTransforms(transforms: readonly Transform[], { channels }: Size): void {
  for (const t of transforms) {
    if (t.kind === "normalize" && t.mean.length !== 1 && t.mean.length !== channels)
      throw new DataError(`normalize has ${t.mean.length} channels, the pictures have ${channels}`);
    if (t.kind === "jitter" && channels !== 3 && (t.saturation > 0 || t.hue > 0))
      throw new DataError(`saturation and hue are of three channels, the pictures have ${channels}`);
  }
}

/** All of a record's own, in order. Moves, turns and scales that follow each other are one bilinear reading. */
export function applyTransforms(
  x: Float32Array,
  size: Size,
  transforms: readonly Transform[],
  draw: Draw,
): void {
  for (let i = 0; i < transforms.length; i++) {
    const t = transforms[i];
    if (t.kind === "rotate" || t.kind === "shift" || t.kind === "scale") {
      const move = { turn: 0, dx: 0, dy: 0, by: 1 };
      for (; i < transforms.length; i++) {
        const next = transforms[i];
        if (next.kind === "rotate") move.turn += (between(draw, -1, 1) * next.degrees * Math.PI) / 180;
        else if (next.kind === "shift") {
          move.dx += between(draw, -1, 1) * next.share * size.width;
          move.dy += between(draw, -1, 1) * next.share * size.height;
        } else if (next.kind === "scale") move.by *= between(draw, next.low, next.high);
        else break;
      }
      i--;
      affine(x, size, move);
    } else if (t.kind === "crop") crop(x, size, t.padding, draw);
    else if (t.kind === "flip") {
      if (draw() < t.p) flip(x, size);
    } else if (t.kind === "jitter") jitter(x, size, t, draw);
    else if (t.kind === "erase") erase(x, size, t.p, draw);
    else if (t.kind === "normalize") normalize(x, size, t);
  }
}

const between = (draw: Draw, low: number, high: number): number => low + (high - low) * draw();
const below = (draw: Draw, n: number): number => Math.floor(draw() * n);

function crop(x: Float32Array, { channels, height, width }: Size, padding: number, draw: Draw): void {
  const [top, left] = [below(draw, 2 * padding + 1) - padding, below(draw, 2 * padding + 1) - padding];
  const from = x.slice();
  let to = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let column = 0; column < width; column++, to++) {
        const [v, u] = [y + top, column + left];
        x[to] = v >= 0 && v < height && u >= 0 && u < width ? from[(c * height + v) * width + u] : 0;
      }
}

function flip(x: Float32Array, { channels, height, width }: Size): void {
  for (let row = 0; row < channels * height; row++) x.subarray(row * width, (row + 1) * width).reverse();
}

function affine(
  x: Float32Array,
  { channels, height, width }: Size,
  {
    turn,
    dx,
    dy,
    by,
  }: { readonly turn: number; readonly dx: number; readonly dy: number; readonly by: number },
): void {
  const from = x.slice();
  const plane = height * width;
  // Backwards: where a pixel of the result was. Around the middle, as torchvision's.
  const [cx, cy] = [(width - 1) / 2, (height - 1) / 2];
  const [cos, sin] = [Math.cos(turn) / by, Math.sin(turn) / by];
  for (let y = 0; y < height; y++)
    for (let column = 0; column < width; column++) {
      const [px, py] = [column - cx - dx, y - cy - dy];
      const [u, v] = [cos * px - sin * py + cx, sin * px + cos * py + cy];
      const [u0, v0] = [Math.floor(u), Math.floor(v)];
      const [fu, fv] = [u - u0, v - v0];
      for (let c = 0; c < channels; c++) {
        const at = (row: number, col: number): number =>
          row >= 0 && row < height && col >= 0 && col < width ? from[c * plane + row * width + col] : 0;
        x[c * plane + y * width + column] =
          (1 - fv) * ((1 - fu) * at(v0, u0) + fu * at(v0, u0 + 1)) +
          fv * ((1 - fu) * at(v0 + 1, u0) + fu * at(v0 + 1, u0 + 1));
      }
    }
}

const clamp = (v: number): number => Math.min(1, Math.max(0, v));

/** ITU-R 601, as torchvision's grey. */
const greyOf = (r: number, g: number, b: number): number => 0.299 * r + 0.587 * g + 0.114 * b;

/** Brightness, contrast, saturation, hue, in this order. */
function jitter(
  x: Float32Array,
  { channels, height, width }: Size,
  t: Extract<Transform, { readonly kind: "jitter" }>,
  draw: Draw,
): void {
  const plane = height * width;
  const factor = (by: number): number => between(draw, Math.max(0, 1 - by), 1 + by);
  const [bright, contrast, saturation] = [factor(t.brightness), factor(t.contrast), factor(t.saturation)];
  const hue = between(draw, -t.hue, t.hue);
  for (let i = 0; i < x.length; i++) x[i] = clamp(x[i] * bright);
  const grey = (p: number): number => (channels === 3 ? greyOf(x[p], x[plane + p], x[2 * plane + p]) : x[p]);
  if (t.contrast > 0) {
    let sum = 0;
    for (let p = 0; p < plane; p++) sum += grey(p);
    const mean = sum / plane;
    for (let i = 0; i < x.length; i++) x[i] = clamp(mean + (x[i] - mean) * contrast);
  }
  if (channels !== 3) return;
  for (let p = 0; p < plane; p++) {
    if (t.saturation > 0) {
      const g = grey(p);
      for (let c = 0; c < 3; c++) x[c * plane + p] = clamp(g + (x[c * plane + p] - g) * saturation);
    }
    if (t.hue > 0) turnHue(x, p, plane, hue);
  }
}

/** By way of hue, saturation and value. */
function turnHue(x: Float32Array, p: number, plane: number, by: number): void {
  const [r, g, b] = [x[p], x[plane + p], x[2 * plane + p]];
  const most = Math.max(r, g, b);
  const range = most - Math.min(r, g, b);
  if (range === 0) return;
  const sixths = most === r ? (g - b) / range : most === g ? 2 + (b - r) / range : 4 + (r - g) / range;
  const h = (((sixths / 6 + by) % 1) + 1) % 1;
  const part = (n: number): number => {
    const k = (n + h * 6) % 6;
    return most - range * Math.max(0, Math.min(k, 4 - k, 1));
  };
  [x[p], x[plane + p], x[2 * plane + p]] = [part(5), part(3), part(1)];
}

function erase(x: Float32Array, { channels, height, width }: Size, p: number, draw: Draw): void {
  if (draw() >= p) return;
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = between(draw, 0.02, 0.33) * height * width;
    const ratio = Math.exp(between(draw, Math.log(0.3), Math.log(3.3)));
    const [h, w] = [Math.round(Math.sqrt(area * ratio)), Math.round(Math.sqrt(area / ratio))];
    if (h >= height || w >= width) continue;
    const [top, left] = [below(draw, height - h + 1), below(draw, width - w + 1)];
    for (let c = 0; c < channels; c++)
      for (let y = top; y < top + h; y++) {
        const row = (c * height + y) * width;
        x.fill(0, row + left, row + left + w);
      }
    return;
  }
}

function normalize(
  x: Float32Array,
  { channels, height, width }: Size,
  { mean, std }: Extract<Transform, { readonly kind: "normalize" }>,
): void {
  const plane = height * width;
  for (let c = 0; c < channels; c++) {
    const [m, s] = [mean[c % mean.length], std[c % std.length]];
    for (let i = c * plane; i < (c + 1) * plane; i++) x[i] = (x[i] - m) / s;
  }
}

/**
 * Blends a batch of `count` pictures with their neighbours (the last one's is the first), and labels that are shares of
 * classes alike. One draw a batch, as torchvision's MixUp and CutMix.
 */
export function mixBatch(
  t: BatchTransform,
  x: Float32Array,
  size: Size,
  labels: Float32Array,
  count: number,
  draw: Draw,
): void {
  const { channels, height, width } = size;
  const record = channels * height * width;
  const classes = labels.length / count;
  let keep = beta(t.alpha, draw);
  const [old, oldLabels] = [x.slice(), labels.slice()];
  const neighbour = (i: number): number => (i + count - 1) % count;
  if (t.kind === "mixup") {
    for (let i = 0; i < count; i++)
      for (let k = 0; k < record; k++)
        x[i * record + k] = keep * old[i * record + k] + (1 - keep) * old[neighbour(i) * record + k];
  } else {
    const [cx, cy] = [below(draw, width), below(draw, height)];
    const half = 0.5 * Math.sqrt(1 - keep);
    const [w, h] = [Math.floor(half * width), Math.floor(half * height)];
    const [left, right] = [Math.max(0, cx - w), Math.min(width, cx + w)];
    const [top, bottom] = [Math.max(0, cy - h), Math.min(height, cy + h)];
    for (let i = 0; i < count; i++)
      for (let c = 0; c < channels; c++)
        for (let y = top; y < bottom; y++) {
          const row = (c * height + y) * width;
          const from = neighbour(i) * record + row;
          x.set(old.subarray(from + left, from + right), i * record + row + left);
        }
    keep = 1 - ((right - left) * (bottom - top)) / (width * height);
  }
  for (let i = 0; i < count; i++)
    for (let k = 0; k < classes; k++)
      labels[i * classes + k] =
        keep * oldLabels[i * classes + k] + (1 - keep) * oldLabels[neighbour(i) * classes + k];
}
