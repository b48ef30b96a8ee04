// Creating nodes and graphs. In: operators, operands, attributes. Out: nodes typed by their op's `infer`, equal pure nodes
// shared (hash-consing), each with the origin in force. Separate from the types because only builders allocate ids.
import { asConst, type Dim, equal, print as printDim, symbols } from "../dims/dim.ts";
import { isData } from "./data.ts";
import {
  type Attr,
  type Attrs,
  type Builder,
  type Constraint,
  type Graph,
  GraphLimit,
  type IndexRange,
  type IndexUse,
  type Node,
  type OpDef,
  type Origin,
  type TensorType,
  type Value,
} from "./types.ts";

/** Values a builder makes before it throws GraphLimit: no pass can make more of a program than this. */
export const MAX_GRAPH_VALUES = 100_000;

export const NO_ORIGIN: Origin = { path: "", calls: [], derived: [] };

/** A value that a node uses as indices. */
export interface Indexing extends Omit<IndexUse, "operand"> {
  readonly value: Value;
  readonly origin: Origin;
}

export interface GraphBuilder extends Builder {
  /** What nodes made so far use as indices. */
  readonly indexings: readonly Indexing[];
  readonly constraints: readonly Constraint[];
  /** Values made so far (for budgets). */
  readonly count: number;
  /** The id of the next node. */
  readonly next: number;
}

let nextId = 0;

/** True for attributes that are sizes. */
export const isDim = (a: Attr): a is Dim => typeof a === "object" && a !== null && "terms" in a && "key" in a;
/** True for attributes that are graphs. */
export const isGraph = (a: Attr): a is Graph =>
  typeof a === "object" && a !== null && "nodes" in a && "results" in a;

const ids = new WeakMap<object, number>();
/** A number of its own for each object. */
function idOf(x: object): number {
  let id = ids.get(x);
  if (id === undefined) {
    id = nextId++;
    ids.set(x, id);
  }
  return id;
}
const opKeys = new WeakMap<OpDef, string>();
/** Tells operators apart: two of a user's may have one name. */
export function opKey(op: OpDef): string {
  let key = opKeys.get(op);
  if (key === undefined) {
    key = `${op.name}@${idOf(op)}`;
    opKeys.set(op, key);
  }
  return key;
}
/**
 * Text of an attribute, for printing and as a key that is equal for equal attributes only: -0, infinities and NaN differ
 * from all others and from the strings that spell them; graphs are identified by object, data by its name.
 */
export function attrText(a: Attr): string {
  if (a === undefined) return "none";
  if (isDim(a)) return printDim(a);
  if (isGraph(a)) return `graph#${idOf(a)}`;
  if (isData(a)) return `@${a.name}`;
  if (Array.isArray(a)) return `[${a.map(attrText).join(", ")}]`;
  if (typeof a === "number") return Object.is(a, -0) ? "-0.0" : String(a);
  return typeof a === "string" ? JSON.stringify(a) : String(a);
}
export function attrsText(attrs: Attrs): string {
  // Attributes are data that nobody changes, and nodes made from others have theirs.
  let text = attrsTexts.get(attrs);
  if (text === undefined) {
    text = Object.keys(attrs)
      .filter((k) => attrs[k] !== undefined)
      .map((k) => `${k} = ${attrText(attrs[k])}`)
      .join(", ");
    attrsTexts.set(attrs, text);
  }
  return text;
}
const attrsTexts = new WeakMap<Attrs, string>();

const mixed = (h: number, n: number): number => Math.imul(h ^ n, 0x9e3779b1) ^ (h >>> 15);
/** A number that is equal for equal attributes: where `attrText` is. */
function hashOf(h: number, a: Attr): number {
  if (typeof a === "number") return mixed(h, a);
  if (typeof a === "string") {
    let out = mixed(h, a.length);
    for (let i = 0; i < a.length; i++) out = mixed(out, a.charCodeAt(i));
    return out;
  }
  if (typeof a !== "object") return mixed(h, a ? 2 : 3);
  if (Array.isArray(a)) {
    let out = mixed(h, a.length);
    for (let i = 0; i < a.length; i++) out = hashOf(out, a[i]);
    return out;
  }
  if (isDim(a)) {
    const literal = asConst(a);
    if (literal !== undefined) return mixed(h, literal);
    let out = h;
    for (const t of a.terms) out = mixed(out, t.coef + t.atoms.length);
    return out;
  }
  return isGraph(a) ? mixed(h, idOf(a)) : hashOf(h, (a as { readonly name: string }).name);
}
function hashOfNode(op: OpDef, inputs: readonly Value[], attrs: Attrs): number {
  let own = attrsHashes.get(attrs);
  if (own === undefined) {
    own = 0;
    for (const k in attrs) if (attrs[k] !== undefined) own = hashOf(own, attrs[k]);
    attrsHashes.set(attrs, own);
  }
  let h = mixed(idOf(op), own);
  for (let i = 0; i < inputs.length; i++) h = mixed(h, inputs[i].node.id * 8 + inputs[i].index);
  return h;
}
/** Each pass makes the nodes of a graph anew, with the attributes they have. */
const attrsHashes = new WeakMap<Attrs, number>();
/** Equal at a glance; where not, their texts say whether they are. */
const sameAttr = (a: Attr, b: Attr): boolean =>
  Object.is(a, b) ||
  (Array.isArray(a)
    ? Array.isArray(b) && a.length === b.length && a.every((x, i) => sameAttr(x, b[i]))
    : a !== undefined && b !== undefined && isDim(a) && isDim(b) && equal(a, b));
function sameAttrs(a: Attrs, b: Attrs): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  const others = Object.keys(b);
  return (
    (names.length === others.length && names.every((k, i) => k === others[i] && sameAttr(a[k], b[k]))) ||
    attrsText(a) === attrsText(b)
  );
}
function isNode(n: Node, op: OpDef, inputs: readonly Value[], attrs: Attrs): boolean {
  if (n.op !== op || n.inputs.length !== inputs.length) return false;
  for (let i = 0; i < inputs.length; i++) if (n.inputs[i] !== inputs[i]) return false;
  return sameAttrs(n.attrs, attrs);
}

/** True where an attribute holds a size that is known at the call only. */
export function attrsHaveSymbols(attrs: Attrs): boolean {
  const one = (a: Attr): boolean => {
    if (a === undefined || typeof a !== "object" || isGraph(a) || isData(a)) return false;
    return isDim(a) ? symbols(a).size > 0 : a.some(one);
  };
  return Object.values(attrs).some(one);
}

const typeTexts = new WeakMap<TensorType, string>();
export function typeText(t: TensorType): string {
  let text = typeTexts.get(t);
  if (text === undefined) {
    text = `${t.dtype}[${t.shape.map(printDim).join(", ")}]`;
    typeTexts.set(t, text);
  }
  return text;
}
export const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((d, i) => equal(d, b.shape[i]));

/**
 * A builder with its own id space from `firstId` up. Pass the same builder through everything that makes one graph;
 * nodes of an earlier graph may be operands as long as their ids are smaller.
 */
export function createBuilder(firstId = 0): GraphBuilder {
  let id = firstId;
  let values = 0;
  let origin: Origin = NO_ORIGIN;
  const constraints: Constraint[] = [];
  const indexings: Indexing[] = [];
  const constraintKeys = new Set<string>();
  /** Pure nodes by their hash: one, or the few that share it. */
  const known = new Map<number, Node | Node[]>();
  const require = (c: Constraint): void => {
    const key = `${c.left.key} ${c.relation} ${c.right.key}`;
    if (constraintKeys.has(key)) return;
    constraintKeys.add(key);
    // The place and the instance that asked for it, for the error at the call.
    const message = origin.path === "" ? c.message : `${c.message}, in ${origin.path}`;
    constraints.push({ ...c, message, span: c.span ?? origin.span });
  };
  const builder: GraphBuilder = {
    get constraints() {
      return constraints;
    },
    get indexings() {
      return indexings;
    },
    get count() {
      return values;
    },
    get next() {
      return id;
    },
    get origin() {
      return origin;
    },
    require,
    at(at, body) {
      const before = origin;
      origin = at;
      try {
        return body();
      } finally {
        origin = before;
      }
    },
    node(op, inputs, attrs = {}, label, typed) {
      const pure = op.pure !== false;
      const hash = pure ? hashOfNode(op, inputs, attrs) : 0;
      const old = pure ? known.get(hash) : undefined;
      if (old) {
        const same = Array.isArray(old)
          ? old.find((n) => isNode(n, op, inputs, attrs))
          : isNode(old, op, inputs, attrs)
            ? old
            : undefined;
        if (same) return same.outs;
      }
      const types =
        typed ??
        op.infer(
          inputs.map((v) => v.type),
          attrs,
          builder,
        );
      values += types.length;
      if (values > MAX_GRAPH_VALUES) throw new GraphLimit(MAX_GRAPH_VALUES);
      const node = makeNode(id++, op, inputs, attrs, types, origin, label);
      if (op.indexes) {
        const operands = inputs.map((v) => v.type);
        for (const { operand, use, ...of } of op.indexes(operands, attrs)) {
          const where = origin.path === "" ? use : `${use}, in ${origin.path}`;
          indexings.push({ ...of, use: where, value: inputs[operand], origin });
        }
      }
      if (pure) {
        if (old === undefined) known.set(hash, node);
        else if (Array.isArray(old)) old.push(node);
        else known.set(hash, [old, node]);
      }
      return node.outs;
    },
    make(op, inputs, attrs, label) {
      return builder.node(op, inputs, attrs, label)[0];
    },
  };
  return builder;
}

function makeNode(
  id: number,
  op: OpDef,
  inputs: readonly Value[],
  attrs: Attrs,
  types: readonly TensorType[],
  origin: Origin,
  label: string | undefined,
): Node {
  const outs: Value[] = [];
  const node: Node = { id, op, inputs, attrs, outs, origin, label };
  for (let index = 0; index < types.length; index++) outs.push({ node, index, type: types[index] });
  return node;
}

/** How the origin of a node says which composite it was expanded from. */
export const PART_OF = "part of ";
/** An origin marked as derived by `how` ("gradient of conv2d"). */
export const derivedOrigin = (o: Origin, how: string): Origin => ({ ...o, derived: [...o.derived, how] });

/** Nodes the sinks need, of those that count, in topological order (operands before users), iteratively. */
export function reachable(sinks: readonly Value[], counts: (n: Node) => boolean = () => true): Node[] {
  const seen = new Set<Node>();
  const order: Node[] = [];
  /** Nodes on the way, and how many of their operands were looked at. */
  const stack: Node[] = [];
  const looked: number[] = [];
  for (const sink of sinks) {
    if (seen.has(sink.node) || !counts(sink.node)) continue;
    seen.add(sink.node);
    stack.push(sink.node);
    looked.push(0);
    while (stack.length > 0) {
      const at = stack.length - 1;
      const { inputs } = stack[at];
      if (looked[at] < inputs.length) {
        const child = inputs[looked[at]++].node;
        if (!seen.has(child) && counts(child)) {
          seen.add(child);
          stack.push(child);
          looked.push(0);
        }
      } else {
        order.push(stack.pop() as Node);
        looked.pop();
      }
    }
  }
  return order;
}

export interface GraphParts {
  readonly name: string;
  readonly inputs: readonly Node[];
  readonly results: readonly { readonly name: string; readonly value: Value }[];
  readonly writes?: readonly { readonly path: string; readonly value: Value }[];
  readonly symbols: readonly string[];
  readonly constraints?: readonly Constraint[];
  readonly indexes?: readonly IndexRange[];
}
/** Collects what the sinks need into a Graph. */
export function finishGraph(parts: GraphParts): Graph {
  const writes = parts.writes ?? [];
  const sinks = [
    ...parts.inputs.map((n) => n.outs[0]),
    ...parts.results.map((r) => r.value),
    ...writes.map((w) => w.value),
  ];
  return { ...parts, writes, constraints: parts.constraints ?? [], nodes: reachable(sinks) };
}

/** The graph with ids in its order, from 0: for who has just made it, and whose nodes nobody else has. */
export function numbered(graph: Graph): Graph {
  for (const [i, n] of graph.nodes.entries()) (n as { id: number }).id = i;
  return graph;
}

/** The nodes of a graph anew, on other operands: where each of its values went. */
export function replay(b: Builder, graph: Graph, operands: readonly Value[]): (v: Value) => Value {
  const map = new Map<Value, Value>();
  graph.inputs.forEach((n, i) => {
    map.set(n.outs[0], operands[i]);
  });
  for (const n of graph.nodes) {
    if (map.has(n.outs[0])) continue;
    const inputs = n.inputs.map((v) => map.get(v) as Value);
    const outs = b.at(n.origin, () => b.node(n.op, inputs, n.attrs, n.label));
    n.outs.forEach((v, i) => {
      map.set(v, outs[i]);
    });
  }
  return (v) => map.get(v) as Value;
}

/** Users of each node's results within a graph. */
export function usersOf(nodes: readonly Node[]): Map<Value, Node[]> {
  const users = new Map<Value, Node[]>();
  for (const n of nodes)
    for (let i = 0; i < n.inputs.length; i++) {
      const list = users.get(n.inputs[i]);
      if (list) list.push(n);
      else users.set(n.inputs[i], [n]);
    }
  return users;
}
