// Augmentation: what each transform does to a picture, that draws depend on seed, epoch and record alone, and mixing.
import { describe, expect, it } from "vitest";
import { applyTransforms, parseTransforms, type Size } from "../../runtime/data/augment.ts";
import { type Batch, batches, fromArrays } from "../../runtime/data/index.ts";
import { beta, drawOf, keyOf } from "../../runtime/data/random.ts";

const size: Size = { channels: 3, height: 6, width: 8 };
const pixels = 3 * 6 * 8;
const picture = (): Float32Array =>
  Float32Array.from({ length: pixels }, (_, i) => (1 + ((i * 37) % 101)) / 102);
const at = (x: Float32Array, c: number, y: number, u: number): number =>
  y >= 0 && y < 6 && u >= 0 && u < 8 ? x[(c * 6 + y) * 8 + u] : 0;
const done = (text: string, record = 0, seed = 1, epoch = 0): Float32Array => {
  const x = picture();
  applyTransforms(x, size, parseTransforms(text), drawOf(keyOf(seed, "augment", epoch), record));
  return x;
};
const many = Array.from({ length: 60 }, (_, i) => i);

describe("transforms", () => {
  it("crop takes each place of the padded picture", () => {
    const seen = new Set<string>();
    const old = picture();
    for (const record of many) {
      const x = done("crop:1", record);
      const found = [-1, 0, 1].flatMap((dy) =>
        [-1, 0, 1].flatMap((dx) =>
          x.every((v, i) => {
            const [c, y, u] = [Math.floor(i / 48), Math.floor(i / 8) % 6, i % 8];
            return v === at(old, c, y + dy, u + dx);
          })
            ? [`${dy},${dx}`]
            : [],
        ),
      );
      expect(found).toHaveLength(1);
      seen.add(found[0]);
    }
    expect(seen.size).toBe(9);
  });
  it("flip mirrors about half of them", () => {
    const old = picture();
    const flipped = many.map((record) => {
      const x = done("flip", record);
      const mirrored = x.every((v, i) => v === old[i - (i % 8) + 7 - (i % 8)]);
      expect(mirrored || x.every((v, i) => v === old[i])).toBe(true);
      return mirrored;
    });
    const share = flipped.filter(Boolean).length / many.length;
    expect(share).toBeGreaterThan(0.3);
    expect(share).toBeLessThan(0.7);
    expect(done("flip:0")).toEqual(old);
  });
  it("turning by half a circle mirrors both ways; moving by whole pixels moves", () => {
    const old = picture();
    const x = picture();
    // One draw of 1 - 2^-24, which is as near to the end of the range as there is.
    applyTransforms(x, size, [{ kind: "rotate", degrees: 180 }], () => 1);
    x.forEach((v, i) => {
      const [c, y, u] = [Math.floor(i / 48), Math.floor(i / 8) % 6, i % 8];
      expect(v).toBeCloseTo(at(old, c, 5 - y, 7 - u), 5);
    });
    const moved = picture();
    applyTransforms(moved, size, [{ kind: "shift", share: 0.5 }], () => 1);
    moved.forEach((v, i) => {
      const [c, y, u] = [Math.floor(i / 48), Math.floor(i / 8) % 6, i % 8];
      expect(v).toBeCloseTo(at(old, c, y - 3, u - 4), 5);
    });
    const grown = picture().fill(0.5);
    applyTransforms(grown, size, [{ kind: "scale", low: 2, high: 2 }], () => 0);
    expect([...grown]).toEqual(new Array(pixels).fill(0.5));
  });
  it("jitter keeps to its ranges; hue turns colours and leaves grey", () => {
    const factors = many.map((record) => done("jitter:0.5", record)[1] / picture()[1]);
    for (const factor of factors) {
      expect(factor).toBeGreaterThan(0.49);
      expect(factor).toBeLessThan(1.51);
    }
    expect(Math.max(...factors) - Math.min(...factors)).toBeGreaterThan(0.8);
    const hsv: Size = { channels: 3, height: 1, width: 2 };
    const x = Float32Array.of(1, 0.5, 0, 0.5, 0, 0.5);
    // A third of the circle: red becomes green.
    applyTransforms(
      x,
      hsv,
      [{ kind: "jitter", brightness: 0, contrast: 0, saturation: 0, hue: 1 / 3 }],
      () => 1,
    );
    expect([...x].map((v) => Math.round(v * 1e5) / 1e5)).toEqual([0, 0.5, 1, 0.5, 0, 0.5]);
    const grey = Float32Array.of(1, 0, 0, 0, 0, 0);
    applyTransforms(
      grey,
      hsv,
      [{ kind: "jitter", brightness: 0, contrast: 0, saturation: 1, hue: 0 }],
      () => 0,
    );
    expect([...grey].map((v) => Math.round(v * 1e3) / 1e3)).toEqual([0.299, 0, 0.299, 0, 0.299, 0]);
  });
  it("erase blacks a rectangle out; normalize is torchvision's", () => {
    const old = picture();
    for (const record of many.slice(0, 10)) {
      const x = done("erase:1", record);
      const gone = [...x.keys()].filter((i) => x[i] !== old[i]);
      // The same places of each channel, all that is between the first and the last row and column.
      const places = gone.filter((i) => i < 48);
      expect(gone).toEqual([0, 48, 96].flatMap((channel) => places.map((i) => channel + i)));
      const side = (of: readonly number[]): number => Math.max(...of) - Math.min(...of) + 1;
      const [rows, columns] = [places.map((i) => Math.floor(i / 8)), places.map((i) => i % 8)];
      expect(places).toHaveLength(side(rows) * side(columns));
      expect(gone.map((i) => x[i])).toEqual(gone.map(() => 0));
      expect(gone.length).toBeLessThan(0.45 * pixels);
    }
    expect(done("normalize:0.5:0.1:0.2:0.5:1:2")[50]).toBeCloseTo((old[50] - 0.1) / 1, 6);
  });
  it("are drawn by seed, epoch and record alone", () => {
    const text = "crop:2,flip,rotate:20,jitter:0.2:0.1:0.3:0.1,erase";
    expect(done(text, 5, 1, 2)).toEqual(done(text, 5, 1, 2));
    for (const other of [done(text, 6, 1, 2), done(text, 5, 2, 2), done(text, 5, 1, 3)])
      expect(other).not.toEqual(done(text, 5, 1, 2));
  });
  it("say what they do not understand", () => {
    expect(() => parseTransforms("spin:3")).toThrow(
      "there is no augmentation spin: there are crop, flip, rotate",
    );
    expect(() => parseTransforms("scale:1.1:0.9")).toThrow(
      "scale:1.1:0.9 is not understood: scale is written scale:0.9:1.1",
    );
    const flat = fromArrays({ x: { data: new Float32Array(4), shape: [2, 2] }, y: new Int32Array(2) });
    expect(() => [...batches(flat, { batch: 2, augment: "flip" })]).toThrow(
      "flip changes pictures, and arrays has none: x is f32[2], y is i32[]",
    );
    const grey = fromArrays({ x: { data: new Float32Array(8), shape: [2, 1, 2, 2] }, y: new Int32Array(2) });
    expect(() => [...batches(grey, { batch: 2, augment: "mixup" })]).toThrow(/^mixup blends labels/);
  });
});

describe("mixing", () => {
  const data = fromArrays({
    x: { data: Float32Array.from({ length: 4 * 36 }, (_, i) => Math.floor(i / 36)), shape: [4, 1, 6, 6] },
    y: Int32Array.of(0, 1, 2, 3),
  });
  const inputs = { x: "x", y: { column: "y", oneHot: 4 } };
  const first = (augment: string, seed: number): Batch => {
    const [batch] = batches(data, { batch: 4, shuffle: false, inputs, augment, seed });
    return batch;
  };
  it("mixup blends pictures and labels by one share", () => {
    const { x, y } = first("mixup:1", 3);
    const keep = y.data[1 * 4 + 1];
    expect(keep).toBeGreaterThan(0);
    for (let i = 0; i < 4; i++) {
      const near = (i + 3) % 4;
      expect(y.data[i * 4 + i]).toBeCloseTo(keep, 6);
      expect(y.data[i * 4 + near]).toBeCloseTo(1 - keep, 6);
      expect(x.data[i * 36]).toBeCloseTo(keep * i + (1 - keep) * near, 5);
    }
  });
  it("cutmix puts a rectangle of the neighbour in, and counts its share", () => {
    for (let seed = 0; seed < 20; seed++) {
      const { x, y } = first("cutmix", seed);
      for (let i = 0; i < 4; i++) {
        const own = [...x.data.subarray(i * 36, (i + 1) * 36)].filter((v) => v === i).length;
        expect(y.data[i * 4 + i]).toBeCloseTo(own / 36, 6);
      }
    }
  });
  it("shares have the mean and the spread of their distribution", () => {
    for (const a of [0.2, 1, 4]) {
      const all = Array.from({ length: 4000 }, (_, i) => beta(a, drawOf(keyOf(9, "beta", 0), i)));
      const mean = all.reduce((s, v) => s + v, 0) / all.length;
      const variance = all.reduce((s, v) => s + (v - mean) ** 2, 0) / all.length;
      expect(mean).toBeCloseTo(0.5, 1);
      expect(variance / (1 / (4 * (2 * a + 1)))).toBeCloseTo(1, 1);
    }
  });
});
