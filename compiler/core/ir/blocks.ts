// A graph and the bodies of its loops, loops in loops included. In: a graph. Out: what a step makes of each, in one tree.
// Steps after simplification are functions of one graph; this is how they reach the bodies.
import { isGraph } from "./build.ts";
import type { Attrs, Graph, Node } from "./types.ts";

/** What a step has for a graph, and for the body of each of its loops. */
export interface Block<T> {
  readonly own: T;
  readonly bodies: ReadonlyMap<Node, Block<T>>;
}

/** The body of a loop. */
export const bodyOf = (n: Node): Graph | undefined =>
  n.op.fuses === "control" && isGraph(n.attrs.body) ? n.attrs.body : undefined;

/** The attributes of a loop with another body. */
export const withBody = (n: Node, body: Graph): Attrs => ({ ...n.attrs, body });

/** `make` of the graph and of all bodies in it; `loop` is the node whose body a graph is. */
export function overBlocks<T>(
  graph: Graph,
  make: (graph: Graph, loop: Node | undefined) => T,
  loop?: Node,
): Block<T> {
  const bodies = new Map<Node, Block<T>>();
  const own = make(graph, loop);
  for (const n of graph.nodes) {
    const body = bodyOf(n);
    if (body) bodies.set(n, overBlocks(body, make, n));
  }
  return { own, bodies };
}
export function mapBlocks<A, B>(
  block: Block<A>,
  make: (of: A, loop: Node | undefined) => B,
  loop?: Node,
): Block<B> {
  const own = make(block.own, loop);
  const bodies = new Map([...block.bodies].map(([n, b]) => [n, mapBlocks(b, make, n)]));
  return { own, bodies };
}
/** All of a tree, each before what is in it. */
export function* eachBlock<T>(
  block: Block<T>,
  loop?: Node,
): Generator<{ readonly own: T; readonly loop: Node | undefined }> {
  yield { own: block.own, loop };
  for (const [n, b] of block.bodies) yield* eachBlock(b, n);
}
