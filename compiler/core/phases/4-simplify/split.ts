// A matrix of parameters that no kernel can bind as a whole is read in parts, each so many of its rows:
//   x @ w.T  ->  concat of x @ part.T, the columns side by side
//   x @ w    ->  sum of columns of x @ part
// VGG-16's first linear layer has 411 MB, and every device need bind no more than 128 MiB. In: primitives, and how many bytes a
// kernel binds. Out: products of parts, which are leaves that begin at a row of their parameter (`from`): rows lie one after the
// other, so a part is a range of its buffer. What else reads the whole is refused where the limit is known, at load.
import { asConst, dim } from "../../dims/dim.ts";
import { bytesPer } from "../../ir/data.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Value } from "../../ir/types.ts";
import { dotOp } from "../../ops/dot.ts";
import { add } from "../../ops/elementwise.ts";
import { concat } from "../../ops/joins.ts";
import { isTurned, sliceAxis, swapLast } from "../../ops/movement.ts";
import { param } from "../../ops/source.ts";

/** Ranges of buffers begin at multiples of so many bytes, whatever the device. */
const ALIGN = 256;

interface Rows {
  readonly from: number;
  readonly count: number;
}

export function splitOperands(graph: Graph, most: number): Graph {
  const written = new Set(graph.writes.map((w) => w.path));
  /** The rows of each part of a leaf that is too large; undefined where it is not, or cannot be divided. */
  const rowsOf = ({ node, type }: Value): Rows[] | undefined => {
    const [rows, columns] = type.shape.map(asConst);
    if (node.op !== param || type.shape.length !== 2 || written.has(String(node.attrs.path)))
      return undefined;
    if (rows === undefined || columns === undefined) return undefined;
    const row = columns * bytesPer(type.dtype);
    if (rows * row <= most) return undefined;
    let grain = 1;
    while ((grain * row) % ALIGN) grain *= 2;
    const parts = Math.ceil(rows / (Math.floor(most / row / grain) * grain));
    if (!Number.isFinite(parts)) return undefined;
    const size = Math.ceil(rows / parts / grain) * grain;
    return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({
      from: i * size,
      count: Math.min(size, rows - i * size),
    }));
  };
  const wanted = (y: Value): { readonly leaf: Value; readonly rows: readonly Rows[] } | undefined => {
    const leaf = isTurned(y) ? y.node.inputs[0] : y;
    const rows = rowsOf(leaf);
    return rows && { leaf, rows };
  };
  if (!graph.nodes.some((n) => n.op === dotOp && wanted(n.inputs[1]))) return graph;
  return transform(graph, (b, n, [x]) => {
    const found = n.op === dotOp ? wanted(n.inputs[1]) : undefined;
    if (!found) return undefined;
    const product = (y: Value, of = x): Value => b.make(dotOp, [of, y], n.attrs, n.label);
    const parts = found.rows.map((r) => partOf(b, found.leaf, r));
    if (isTurned(n.inputs[1]))
      return [
        concat(
          b,
          parts.map((p) => product(swapLast(b, p))),
          1,
        ),
      ];
    const columns = ({ from, count }: Rows): Value => sliceAxis(b, x, 1, dim(from), dim(count));
    return [parts.map((p, i) => product(p, columns(found.rows[i]))).reduce((a, c) => add(b, a, c))];
  }).graph;
}

const partOf = (b: Builder, { node, type }: Value, { from, count }: Rows): Value =>
  b.make(param, [], { ...node.attrs, shape: [dim(count), type.shape[1]], from }, node.label);
