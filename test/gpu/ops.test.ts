// Every operator's worked examples on the adapter, through the whole compiler: results and gradients of the emitted kernels
// against the reference evaluator. An operator's examples are the entries of one program. All of them run on the target made
// for the adapter at hand; the others run the first example of what is not element-wise, where their schedules differ:
// compiling is what takes the time.
import { afterAll, describe, it } from "vitest";
import { backward } from "../../compiler/core/autodiff/backward.ts";
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Dense, Graph, OpDef, Value } from "../../compiler/core/ir/types.ts";
import type { CheckedEntry, CheckedModel, PortInfo } from "../../compiler/core/model.ts";
import { isFloat } from "../../compiler/core/ops/define.ts";
import { allOps } from "../../compiler/core/ops/index.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { evaluate } from "../../compiler/core/reference/evaluate.ts";
import { load, type Net, type Tensor } from "../../runtime/core/index.ts";
import { own, targets } from "../support/adapter.ts";
import { difference } from "../support/allclose.ts";
import { testDevice } from "../support/device.ts";
import { buildCase, drawDense, randomFrom } from "../support/opcheck.ts";

const span = { file: "ops", start: 0, end: 0 };

interface Case {
  readonly entry: CheckedEntry;
  readonly data: Readonly<Record<string, Dense>>;
}

/** An example as an entry: its results, and the gradients of its operands along directions that are inputs. */
function caseOf(op: OpDef, k: number, gradients: boolean): Case {
  const example = op.examples[k];
  const c = buildCase(op, example, 40 + k);
  const data: Record<string, Dense> = {};
  // What the device is given, so that comparisons and floors agree.
  for (const [name, d] of Object.entries(c.data))
    data[name] = isFloat(d.dtype) ? { ...d, data: d.data.map(Math.fround) } : d;
  const b = createBuilder(c.b.count);
  const inputs = [...c.inputs];
  const results = c.outs.map((value, i) => ({ name: `y${i}`, value }));
  const wrt = c.inputs.filter((v) => isFloat(v.type.dtype));
  if (gradients && example.grad !== false && !op.noGrad && wrt.length > 0) {
    const random = randomFrom(50 + k);
    const seeds = c.outs.map((v, i): Value | undefined => {
      if (!isFloat(v.type.dtype)) return undefined;
      const shape = v.type.shape.map((d) => Number(d.key));
      const direction = drawDense("f32", shape, random);
      data[`d${i}`] = { ...direction, data: direction.data.map(Math.fround) };
      const seed = b.make(input, [], { name: `d${i}`, dtype: "f32", shape: shape.map((n) => dim(n)) });
      inputs.push(seed);
      return seed;
    });
    backward(b, c.outs, seeds, wrt).forEach((value, i) => {
      if (value) results.push({ name: `g${i}`, value });
    });
  }
  const graph: Graph = finishGraph({
    name: `example${k}`,
    inputs: inputs.map((v) => v.node),
    results,
    symbols: [],
  });
  const port = (name: string, v: Value): PortInfo => ({
    name,
    type: v.type,
    shapeText: v.type.shape.map((d) => d.key),
    span,
  });
  return {
    data,
    entry: {
      name: `example${k}`,
      graph,
      inputs: inputs.map((v) => port(String(v.node.attrs.name), v)),
      outputs: results.map((r) => port(r.name, r.value)),
      span,
    },
  };
}

const arrayOf = (d: Dense): Float32Array | Int32Array | Uint32Array | Uint8Array => {
  switch (d.dtype) {
    case "i32":
      return Int32Array.from(d.data);
    case "u32":
      return Uint32Array.from(d.data);
    case "bool":
      return Uint8Array.from(d.data);
    default:
      return Float32Array.from(d.data);
  }
};

/** Larger where the function itself is: see kernel/functions.ts. */
const tolerances: { readonly [op: string]: { rtol: number; atol: number } } = {
  randn: { rtol: 1e-3, atol: 1e-3 },
  sin: { rtol: 1e-4, atol: 1e-3 },
  cos: { rtol: 1e-4, atol: 1e-3 },
  tan: { rtol: 1e-3, atol: 1e-3 },
};

const nets: Net[] = [];
afterAll(() => {
  for (const net of nets) net.dispose();
});

for (const target of targets) {
  describe(`on ${target.name}`, () => {
    for (const op of allOps) {
      const whole = target.name === own.name;
      if (op.examples.length === 0 || (!whole && (op.fuses === "map" || op.inline))) continue;
      it(op.name, async (context) => {
        const { device } = await testDevice(context);
        const cases = op.examples
          .slice(0, whole ? undefined : 1)
          .map((_, k) => caseOf(op, k, whole && k < 3));
        const model: CheckedModel = {
          name: "Ops",
          params: [],
          buffers: [],
          entries: cases.map((c) => c.entry),
          layers: [],
          trains: [],
          span,
        };
        const { artefact } = build(model, { targets: [target], verify: true, place: () => op.name });
        const net = await load(artefact, { device, target: target.name });
        nets.push(net);
        const wrong: string[] = [];
        for (const c of cases) {
          const expected = evaluate(c.entry.graph, c.data).results;
          const given = Object.fromEntries(Object.entries(c.data).map(([name, d]) => [name, arrayOf(d)]));
          const found = (await net.entries[c.entry.name](given)) as Record<string, Tensor>;
          for (const { name } of c.entry.outputs) {
            const exact = !isFloat(expected[name].dtype);
            const how = exact ? { rtol: 0, atol: 0 } : (tolerances[op.name] ?? { rtol: 2e-5, atol: 5e-6 });
            const at = `${op.name} ${c.entry.name} ${name}`;
            const message = difference(
              Array.from(found[name].data as ArrayLike<number>, Number),
              expected[name].data,
              { ...how, name: at, shape: expected[name].shape },
            );
            if (message) wrong.push(message);
          }
        }
        if (wrong.length > 0) throw new Error(wrong.join("\n"));
      });
    }
  });
}
