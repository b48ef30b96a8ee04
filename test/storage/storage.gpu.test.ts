// The same on the adapter, each target: kernels decode what they load, against the reference evaluator on the same words.
import { expect, it } from "vitest";
import { drawInputs, sizesOf } from "../../compiler/cli/draw.ts";
import { dense, ReferenceNet, type Storage } from "../../compiler/core/index.ts";
import { load } from "../../runtime/core/index.ts";
import type { Tensor as Result } from "../../runtime/core/tensor.ts";
import { evaluateHost } from "../../runtime/core/train.ts";
import { own } from "../support/adapter.ts";
import { testDevice } from "../support/device.ts";
import { stored } from "./support.ts";

/** Each target and each width: kernels of a target differ by what they are given; pipelines take this device's compiler seconds. */
const cases: readonly {
  readonly target: string;
  readonly storage: Storage;
  readonly model: string;
  readonly entries?: readonly string[];
}[] = [
  { target: own.name, storage: { bits: 8 }, model: "Odd" },
  { target: own.name, storage: { bits: 4 }, model: "Tokens" },
  { target: own.name, storage: { bits: 16 }, model: "Images" },
  { target: own.name, storage: { bits: 8 }, model: "Loops" },
  { target: "gpu", storage: { bits: 4 }, model: "Odd", entries: ["odd", "one"] },
  { target: "baseline", storage: { bits: 16 }, model: "Odd", entries: ["twice", "few"] },
];

it.for(cases)(
  "$model with $storage.bits bits on $target",
  async ({ target, storage, model, entries }, context) => {
    await testDevice(context);
    const { stored: made, words } = stored(model, storage, [target], entries);
    const weights = Object.fromEntries(
      Object.entries(words).map(([path, { data, shape }]) => [path, { data, shape }]),
    );
    const net = await load(made.artefact, { target, weights });
    const judge = new ReferenceNet(made.reference, {
      tensors: Object.fromEntries(
        Object.entries(words).map(([path, t]) => [path, dense(t.dtype, t.shape, t.data as never)]),
      ),
      evaluateHost,
    });
    try {
      for (const entry of made.artefact.programs[0].entries) {
        const sizes = Object.fromEntries(entry.symbols.map(({ name }) => [name, name === "T" ? 5 : 3]));
        const inputs = drawInputs(entry, sizesOf(entry, sizes), 1);
        const call = net.entries[entry.name] as (x: object) => Promise<Record<string, Result>>;
        const results = await call(inputs);
        const exact = judge.call(
          entry.name,
          Object.fromEntries(
            entry.inputs.map((p) => [
              p.name,
              dense(p.dtype, inputs[p.name].shape, inputs[p.name].data as never),
            ]),
          ),
        );
        for (const [name, { data }] of Object.entries(results)) {
          const most = exact[name].data.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
          const worst = Array.from(data, Number).reduce(
            (m, x, i) => Math.max(m, Math.abs(x - exact[name].data[i])),
            0,
          );
          expect(worst / most, `${entry.name}.${name}`).toBeLessThan(3e-6);
        }
      }
    } finally {
      net.dispose();
    }
  },
);
