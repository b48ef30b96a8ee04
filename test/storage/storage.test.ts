// Weights in 16, 8 and 4 bits: which are stored so, what they stand for, and that the model computes with just that.
import { describe, expect, it } from "vitest";
import {
  compile,
  dense,
  dequantizeWeight,
  MdlError,
  QuantizeError,
  quantizeWeight,
  ReferenceNet,
  type Storage,
  type StoredWeight,
} from "../../compiler/core/index.ts";
import { evaluateHost } from "../../runtime/core/train.ts";
import { ODD } from "./models.ts";
import { numbers, stored, type Tensor } from "./support.ts";

const storages: readonly Storage[] = [{ bits: 16 }, { bits: 8 }, { bits: 4 }, { bits: 4, group: 8 }];
const name = ({ bits, group }: Storage): string => `${bits} bits${group ? ` by ${group}` : ""}`;

const weights = (model: string, storage: Storage) =>
  new Map(compile(ODD, "odd.mdl", { model, storage, targets: [] }).stored?.weights.map((w) => [w.path, w]));

describe("which weights are stored", () => {
  it("are those that products and look-ups alone read", () => {
    expect([...weights("Odd", { bits: 8 }).keys()]).toEqual([
      "a.weight",
      "b.weight",
      "both",
      "experts",
      "wide.weight",
    ]);
    // A filter for each channel has no columns.
    expect([...weights("Images", { bits: 8 }).keys()]).toEqual([
      "first.weight",
      "group.weight",
      "deep.weight",
      "up.weight",
    ]);
    // Halves of three channels are two words: nothing is saved.
    expect([...weights("Images", { bits: 16 }).keys()]).not.toContain("first.weight");
  });
  it("have words along what is summed, and columns side by side", () => {
    const { axis, order, words, scale } = weights("Images", { bits: 8 }).get("first.weight") as StoredWeight;
    expect({ axis, order }).toEqual({ axis: 1, order: [2, 3, 1, 0] });
    expect(words).toEqual({ path: "first.weight.int8", shape: [3, 3, 1, 40] });
    expect(scale).toEqual({ path: "first.weight.int8_scale", shape: [1, 1, 1, 40] });
    // A tied table is the head's; one that is only looked up lies in rows.
    const tokens = weights("Tokens", { bits: 4 });
    expect(tokens.get("table.weight")?.words.shape).toEqual([5, 70]);
    expect(tokens.get("table.weight")?.scale?.shape).toEqual([2, 70]);
    expect(tokens.get("alone.weight")?.words.shape).toEqual([40, 4]);
  });
  it("are read in loops as elsewhere, but where a loop goes through their slices", () => {
    const loops = [...weights("Loops", { bits: 8 }).keys()];
    expect(loops).toContain("lstm.weight_hh_l0");
    expect(loops).toContain("gru.weight_ih_l0_reverse");
    expect(loops).toContain("w");
    expect(loops).not.toContain("rows");
  });
  it("are none of a training step's, which is left out", () => {
    const source = `import { Linear } from "std/nn"
model M() {
  a = Linear(64, 64)
  fn f(x: f32[N, 64]) -> f32[N, 64] { x |> a }
  private fn loss(x: f32[N, 64]) -> f32 { mean(f(x)) }
}
train fit for M {
  minimize loss
  with sgd(lr = 0.1)
}`;
    const made = compile(source, "m.mdl", { storage: { bits: 8 }, targets: ["gpu"] });
    expect(made.stored?.leftOut).toEqual(["fit_step"]);
    expect(made.artefact.programs[0].entries.map((e) => e.name)).toEqual(["f"]);
    expect(() => compile(source, "m.mdl", { storage: { bits: 8 }, entries: ["fit_step"] })).toThrow(
      /has no entry fit_step/,
    );
  });
  it("take widths and groups that there are", () => {
    for (const bad of [{ bits: 5 }, { bits: 8, group: 32 }, { bits: 4, group: 12 }, { bits: 4, group: 0 }])
      expect(() => compile(ODD, "odd.mdl", { storage: bad as Storage })).toThrow(MdlError);
  });
});

describe("a number in few bits", () => {
  const weight = (bits: 16 | 8 | 4, group = 5): StoredWeight => ({
    path: "w",
    shape: [3, 5],
    bits,
    axis: 1,
    group,
    order: [1, 0],
    words: { path: "w.q", shape: [Math.ceil((5 * bits) / 32), 3] },
    ...(bits === 16 ? {} : { scale: { path: "w.s", shape: [Math.ceil(5 / group), 3] } }),
  });
  it("is a step of its scale, and 0 stays 0", () => {
    const data = [0, 0, 0, 0, 0, -1.27, 0.5, 0.01, 0, 1.27, 3, -3, 1, 2, 0];
    const q = quantizeWeight(weight(8), data);
    expect([...(q.scale as Float32Array)]).toEqual([0, Math.fround(0.01), Math.fround(3 / 127)]);
    const back = dequantizeWeight(weight(8), q);
    expect([...back.slice(0, 5)]).toEqual([0, 0, 0, 0, 0]);
    data.forEach((x, i) => {
      expect(Math.abs(back[i] - x)).toBeLessThanOrEqual(3 / 127 / 2 + 1e-7);
    });
    // Little end first: -127, 50, 1, 0 of the second row are the second word.
    expect(q.words[1]).toBe(((0 << 24) | (1 << 16) | (50 << 8) | (-127 & 255)) >>> 0);
  });
  it("is the nearest half, and of 4 bits within half a step of its group's", () => {
    const data = numbers(15, 3);
    const halves = dequantizeWeight(weight(16), quantizeWeight(weight(16), data));
    data.forEach((x, i) => {
      expect(Math.abs(halves[i] - x)).toBeLessThanOrEqual(Math.abs(x) * 2 ** -11 + 2 ** -25);
    });
    const w = weight(4, 8);
    const few = dequantizeWeight(w, quantizeWeight(w, data));
    for (let row = 0; row < 3; row++) {
      const own = data.slice(5 * row, 5 * row + 5);
      const most = Math.max(...own.map(Math.abs));
      // Clipped to three quarters at the most.
      own.forEach((x, i) => {
        expect(Math.abs(few[5 * row + i] - x)).toBeLessThanOrEqual(most / 4 + 1e-7);
      });
    }
  });
  it("is none where it is NaN, infinite or beyond halves: the weight is named", () => {
    for (const bits of [16, 8, 4] as const)
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const data = numbers(15, 1);
        data[7] = bad;
        expect(() => quantizeWeight(weight(bits), data)).toThrow(QuantizeError);
        expect(() => quantizeWeight(weight(bits), data)).toThrow(/w has (NaN|Infinity) at element 7/);
      }
    expect(() => quantizeWeight(weight(16), numbers(15, 1).fill(7e4, 0, 1))).toThrow(/65504/);
  });
});

describe.each(storages)("a model", (storage) => {
  const net = (of: ReturnType<typeof stored>["plain"], tensors: Readonly<Record<string, Tensor>>) =>
    new ReferenceNet(of.reference, {
      tensors: Object.fromEntries(
        Object.entries(tensors).map(([path, t]) => [path, dense(t.dtype, t.shape, t.data as never)]),
      ),
      evaluateHost,
    });
  it.each(["Odd", "Images", "Tokens", "Loops"])(
    `with ${name(storage)} computes with what they stand for: %s`,
    (model) => {
      const { plain, stored: small, words, decoded } = stored(model, storage, []);
      const [a, b] = [net(plain, decoded), net(small, words)];
      expect(small.artefact.paramBytes).toBeLessThan(plain.artefact.paramBytes);
      for (const { name: entry, inputs } of plain.model.entries) {
        const given = Object.fromEntries(
          inputs.map(({ name: input, type: { dtype }, shapeText }) => {
            const shape = shapeText.map((d) => (Number.isNaN(Number(d)) ? 3 : Number(d)));
            const count = shape.reduce((x, y) => x * y, 1);
            const data =
              dtype === "i32"
                ? Int32Array.from({ length: count }, (_, i) => (7 * i) % 40)
                : numbers(count, 99);
            return [input, dense(dtype, shape, data as never)];
          }),
        );
        const [x, y] = [a.call(entry, given), b.call(entry, given)];
        for (const [key, { data }] of Object.entries(x))
          data.forEach((v, i) => {
            expect(y[key].data[i]).toBeCloseTo(v, 6);
          });
      }
    },
  );
});
