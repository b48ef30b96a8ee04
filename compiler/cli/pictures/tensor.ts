// Pictures as tensors and back. In: a picture and the input that it is for. Out: elements, channels first: floats from 0 to 1
// (less a mean, by a deviation, where that is asked for), integers from 0 to 255. Colours become grey by ITU-R 601, as Pillow's
// "L" has it; alpha is passed over unless four channels are asked for.
import type { EntryPlan, Port } from "../../../runtime/core/program.ts";
import { type AnyArray, arrayOf, typeText } from "../../../runtime/core/tensor.ts";
import { type Picture, PictureError } from "../../../runtime/data/node/pictures/picture.ts";
import { fitted } from "../../../runtime/data/node/pictures/resize.ts";
import type { Result } from "../print-tensor.ts";

export interface PictureOptions {
  /** Scale to the declared size: each side by itself, or to cover it and take the middle. */
  readonly resize?: "stretch" | "crop";
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** What an input says of a picture; undefined sizes are the picture's. */
interface Wanted {
  readonly channels: 1 | 3 | 4;
  readonly height: number | undefined;
  readonly width: number | undefined;
}

/** [N, C, H, W], [C, H, W] or [H, W], with one, three or four channels. */
function wanted(entry: EntryPlan, port: Port): Wanted {
  const sizes = port.shape.map((id) => {
    const row = entry.body.exprs[id];
    return typeof row === "number" ? row : undefined;
  });
  const [height, width] = sizes.slice(-2);
  const channels = sizes.length === 2 ? 1 : sizes.at(-3);
  if (sizes.length < 2 || sizes.length > 4 || (channels !== 1 && channels !== 3 && channels !== 4))
    throw new PictureError(
      `is a picture, which fills [N, C, H, W], [C, H, W] or [H, W] with 1, 3 or 4 channels C: ${port.name} is ${typeText(port.dtype, port.shapeText)}`,
    );
  if (port.dtype === "bool") throw new PictureError(`is a picture, and ${port.name} is bool`);
  return { channels, height, width };
}

export function toTensor(
  picture: Picture,
  entry: EntryPlan,
  port: Port,
  options: PictureOptions,
): { readonly data: AnyArray; readonly shape: readonly number[] } {
  const want = wanted(entry, port);
  const { channels } = want;
  const { width: w, height: h, data, channels: has, most } = ofSize(picture, want, port, options);
  const floats = port.dtype === "f32" || port.dtype === "f16";
  const { mean, std } = options;
  for (const [name, list] of Object.entries({ mean, std }))
    if (list && list.length !== 1 && list.length !== channels)
      throw new PictureError(`has ${channels} channels here, and --${name} ${list.length} numbers`);
  const out = arrayOf(port.dtype, channels * h * w);
  const colour = has >= 3;
  const grey = (i: number): number =>
    colour ? (299 * data[i] + 587 * data[i + 1] + 114 * data[i + 2]) / 1000 : data[i];
  for (let c = 0; c < channels; c++) {
    const less = mean?.[c % mean.length] ?? 0;
    const by = std?.[c % std.length] ?? 1;
    for (let p = 0; p < h * w; p++) {
      const i = p * has;
      let v: number;
      // Grey of eight bits is rounded, as Pillow rounds it.
      if (channels === 1) v = colour && most === 255 ? Math.floor(grey(i) + 0.5) : grey(i);
      else if (c === 3) v = has === 4 || has === 2 ? data[i + has - 1] : most;
      else v = colour ? data[i + c] : data[i];
      out[c * h * w + p] = floats ? (v / most - less) / by : Math.round((v * 255) / most);
    }
  }
  const shape = [1, channels, h, w].slice(-port.shape.length);
  return { data: out, shape: port.shape.length === 2 ? [h, w] : shape };
}

function ofSize(
  picture: Picture,
  { height = picture.height, width = picture.width }: Wanted,
  port: Port,
  { resize }: PictureOptions,
): Picture {
  if (picture.width === width && picture.height === height) return picture;
  if (resize === undefined)
    throw new PictureError(
      `is ${picture.width} by ${picture.height} pixels (width by height), and ${port.name}: ${typeText(port.dtype, port.shapeText)} takes ${width} by ${height}; --resize scales it, --resize crop scales it and takes the middle`,
    );
  return fitted(picture, width, height, resize);
}

/** What is written as a picture: rows from the top, channels together. */
export interface Drawn {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly data: Uint8Array;
}

/** Pixels between the pictures of a grid and around it, as torchvision's `make_grid` has them. */
const GRID_GAP = 2;

/** Pictures of one size as one: rows of `columns`, gaps and what is left of the last row black (clear, where there is an alpha). */
export function gridOf(pictures: readonly Drawn[], columns: number): Drawn {
  const { width, height, channels } = pictures[0];
  const across = Math.min(columns, pictures.length);
  const down = Math.ceil(pictures.length / columns);
  const whole = GRID_GAP + across * (width + GRID_GAP);
  const high = GRID_GAP + down * (height + GRID_GAP);
  const data = new Uint8Array(whole * high * channels);
  pictures.forEach((picture, n) => {
    const left = GRID_GAP + (n % columns) * (width + GRID_GAP);
    const top = GRID_GAP + Math.floor(n / columns) * (height + GRID_GAP);
    for (let y = 0; y < height; y++) {
      const row = picture.data.subarray(y * width * channels, (y + 1) * width * channels);
      data.set(row, ((top + y) * whole + left) * channels);
    }
  });
  return { width: whole, height: high, channels, data };
}

/** The pictures that a result is: floats from 0 to 1 (others as the nearer of them), integers from 0 to 255. */
export function toPictures({ dtype, shape, data }: Result): Drawn[] {
  const [height, width] = shape.slice(-2);
  const channels = shape.length === 2 ? 1 : shape.at(-3);
  const some = shape.length === 4 ? shape[0] : 1;
  const flat = shape.length === 3 && channels !== 1 && channels !== 3 && channels !== 4;
  if (shape.length < 2 || shape.length > 4 || width === 0 || height === 0)
    throw new PictureError(
      `is ${typeText(dtype, shape)}, which is no picture: [N, C, H, W], [C, H, W] or [H, W] is`,
    );
  if (flat || (channels !== 1 && channels !== 3 && channels !== 4))
    throw new PictureError(
      `is ${typeText(dtype, shape)}: a picture has 1, 3 or 4 channels, which is the axis before the last two`,
    );
  const scale = dtype === "f32" || dtype === "f16" || dtype === "bool" ? 255 : 1;
  const pixels = width * height;
  return Array.from({ length: some }, (_, n) => {
    const out = new Uint8Array(pixels * channels);
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < pixels; p++) {
        const v = data[(n * channels + c) * pixels + p] * scale;
        out[p * channels + c] = Math.min(255, Math.max(0, Math.floor(v + 0.5)));
      }
    return { width, height, channels, data: out };
  });
}
