// From graphs made in a test to a loaded model: entries without a source text, compiled by the pipeline and run on the
// adapter. In: graphs and data by parameter and state path. Out: results as dense tensors, beside what the reference says.
import type { Dense, DType, Graph } from "../../compiler/core/ir/types.ts";
import { type CheckedModel, graphModel } from "../../compiler/core/model.ts";
import { type Built, build, type PipelineOptions } from "../../compiler/core/pipeline.ts";
import { dense, type EvaluateOptions, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { targets as allTargets, type Target } from "../../compiler/core/targets.ts";
import type { LoadOptions, Tensor } from "../../runtime/core/api.ts";
import { load, type Net } from "../../runtime/core/index.ts";
import { difference } from "./allclose.ts";

export type Tensors = Readonly<Record<string, Dense>>;

/** Graphs as the checker would hand them on. */
export const modelOfGraphs = (graphs: readonly Graph[], name = "Graphs"): CheckedModel =>
  graphModel(name, graphs);

export function buildGraphs(
  graphs: readonly Graph[],
  targets: readonly Target[] = allTargets,
  bind?: Readonly<Record<string, number>>,
  pick?: PipelineOptions["pick"],
): Built {
  return build(modelOfGraphs(graphs), { targets, bind, pick, verify: true, place: () => "" });
}

type Flat = Float32Array | Int32Array | Uint32Array | Uint8Array;
function typed(x: Dense): Flat {
  switch (x.dtype) {
    case "i32":
      return Int32Array.from(x.data);
    case "u32":
      return Uint32Array.from(x.data);
    case "bool":
      return Uint8Array.from(x.data);
    default:
      return Float32Array.from(x.data);
  }
}
/** Tensors as a call takes them. */
export const given = (all: Tensors): Record<string, { data: Flat; shape: readonly number[] }> =>
  Object.fromEntries(Object.entries(all).map(([k, v]) => [k, { data: typed(v), shape: v.shape }]));
export const denseOf = (t: Tensor): Dense =>
  dense(t.dtype as DType, t.shape, Array.from(t.data as ArrayLike<number>, Number));

/** A loaded model of graphs. */
export class GraphNet {
  readonly net: Net;
  constructor(net: Net) {
    this.net = net;
  }
  static async load(
    built: Pick<Built, "artefact">,
    device: GPUDevice,
    stored: Tensors,
    options: LoadOptions = {},
  ): Promise<GraphNet> {
    return new GraphNet(await load(built.artefact, { device, weights: given(stored), ...options }));
  }
  async run(entry: string, inputs: Tensors, seed?: number): Promise<Record<string, Dense>> {
    const results = (await this.net.entries[entry](
      given(inputs),
      seed === undefined ? {} : { seed },
    )) as Record<string, Tensor>;
    return Object.fromEntries(Object.entries(results).map(([k, t]) => [k, denseOf(t)]));
  }
  async stored(path: string): Promise<Dense> {
    return denseOf(await this.net.getParameter(path));
  }
  dispose(): void {
    this.net.dispose();
  }
}

export interface Expected {
  readonly results: Tensors;
  readonly writes: Tensors;
  /** How far a computation in single precision may be off, by what rounding after every operator does. */
  readonly slack: Readonly<Record<string, number>>;
}
export function expectedOf(graph: Graph, inputs: Tensors, options: EvaluateOptions): Expected {
  const exact = evaluate(graph, inputs, options);
  const rounded = evaluate(graph, inputs, { ...options, roundFloats: true });
  const slack: Record<string, number> = {};
  const compare = (name: string, a: Dense, b: Dense): void => {
    let most = 0;
    a.data.forEach((x, i) => {
      const d = Math.abs(x - b.data[i]);
      if (d > most) most = d;
    });
    slack[name] = most;
  };
  for (const [k, v] of Object.entries(exact.results)) compare(k, v, rounded.results[k]);
  for (const [k, v] of Object.entries(exact.writes)) compare(k, v, rounded.writes[k]);
  return { results: exact.results, writes: exact.writes, slack };
}

/** Undefined, or what differs. Floats within a share of the tensor's largest element and of what rounding does to it. */
export function disagreement(
  name: string,
  got: Dense | undefined,
  want: Dense,
  slack: number,
  rtol = 2e-5,
): string | undefined {
  if (!got) return `${name}: no result`;
  if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join())
    return `${name}: ${got.dtype}[${got.shape.join(", ")}], expected ${want.dtype}[${want.shape.join(", ")}]`;
  if (want.dtype !== "f32" && want.dtype !== "f16")
    return difference(got.data, want.data, { name, shape: want.shape, rtol: 0, atol: 0 });
  let most = 0;
  for (const x of want.data) if (Number.isFinite(x)) most = Math.max(most, Math.abs(x));
  return difference(got.data, want.data, {
    name,
    shape: want.shape,
    rtol,
    atol: 1e-6 + rtol * most + 32 * slack,
  });
}
