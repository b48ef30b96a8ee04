// Pictures at another size, as Pillow's bilinear filter makes them (and torchvision's Resize by it): each pixel is the mean of
// those below a triangle as wide as the scale, columns first, rounded after each direction. In: a picture of 8 or 16 bits, a
// size. Out: a picture.
import type { Picture } from "./picture.ts";

export function resized(picture: Picture, width: number, height: number): Picture {
  return along(along(picture, "x", width), "y", height);
}

/** Each side by itself, or scaled to cover the size, of which the middle is taken. */
export function fitted(picture: Picture, width: number, height: number, how: "stretch" | "crop"): Picture {
  if (how === "stretch") return resized(picture, width, height);
  const scale = Math.max(width / picture.width, height / picture.height);
  const cover = (side: number, least: number): number => Math.max(least, Math.round(side * scale));
  return cropped(resized(picture, cover(picture.width, width), cover(picture.height, height)), width, height);
}

/** The part in the middle. */
export function cropped(picture: Picture, width: number, height: number): Picture {
  const { channels: n, data } = picture;
  const left = Math.round((picture.width - width) / 2);
  const top = Math.round((picture.height - height) / 2);
  const out = data.slice(0, width * height * n);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * picture.width + left) * n;
    out.set(data.subarray(from, from + width * n), y * width * n);
  }
  return { ...picture, width, height, data: out };
}

function along(picture: Picture, axis: "x" | "y", size: number): Picture {
  const { width, height, channels: n, data, most } = picture;
  const from = axis === "x" ? width : height;
  if (from === size) return picture;
  const [step, lines, stride] = axis === "x" ? [n, height, width * n] : [width * n, width, n];
  const [outStep, outStride] = axis === "x" ? [n, size * n] : [width * n, n];
  const out = data.slice(0, 0).constructor as Uint8ArrayConstructor | Uint16ArrayConstructor;
  const to = new out((axis === "x" ? size * height : width * size) * n);
  const scale = from / size;
  const support = Math.max(scale, 1);
  for (let i = 0; i < size; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights: number[] = [];
    for (let j = first; j < last; j++) weights.push(Math.max(0, 1 - Math.abs((j - centre + 0.5) / support)));
    const total = weights.reduce((a, b) => a + b, 0);
    for (let line = 0; line < lines; line++)
      for (let c = 0; c < n; c++) {
        let sum = 0;
        for (let j = 0; j < weights.length; j++)
          sum += weights[j] * data[(first + j) * step + line * stride + c];
        to[i * outStep + line * outStride + c] = Math.min(most, Math.floor(sum / total + 0.5));
      }
  }
  return { ...picture, data: to, ...(axis === "x" ? { width: size } : { height: size }) };
}
