// Small files of data, as their makers write them. In: numbers. Out: bytes.
import { gzipSync } from "node:zlib";

/** An idx file of unsigned bytes. */
export function idx(shape: readonly number[], data: ArrayLike<number>): Uint8Array {
  const out = new Uint8Array(4 + 4 * shape.length + data.length);
  const view = new DataView(out.buffer);
  out.set([0, 0, 8, shape.length]);
  shape.forEach((n, i) => {
    view.setUint32(4 + 4 * i, n);
  });
  out.set(Uint8Array.from(data), 4 + 4 * shape.length);
  return out;
}

export interface Blobs {
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
}

/** Pictures of `side` by `side` that a net can tell apart: class c has a bright band at c, and noise. */
export function bands(count: number, side: number, classes: number, seed = 1): Blobs {
  let state = seed >>> 0;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const images = new Uint8Array(count * side * side);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    labels[i] = Math.floor(random() * classes);
    const row = Math.floor((labels[i] * side) / classes);
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++)
        images[(i * side + y) * side + x] = Math.floor((y === row ? 150 : 0) + 100 * random());
  }
  return { images, labels };
}

/** The four files of a folder of MNIST, by name; the test part is packed. */
export function mnistFiles(
  train: number,
  test: number,
  side: number,
  classes: number,
): Readonly<Record<string, Uint8Array>> {
  const [a, b] = [bands(train, side, classes, 1), bands(test, side, classes, 2)];
  return {
    "train-images-idx3-ubyte": idx([train, side, side], a.images),
    "train-labels-idx1-ubyte": idx([train], a.labels),
    "t10k-images-idx3-ubyte.gz": gzipSync(idx([test, side, side], b.images)),
    "t10k-labels-idx1-ubyte.gz": gzipSync(idx([test], b.labels)),
  };
}
