// Lines sorted by their elements, all at once, in the time of the elements (digits.ts): of each place in the order, which
// element stands there. And the way back, where each index names another place: every element is put where its index says.
// In: an argsort or a permutation that the family claims. Out: three launches a digit; one or two.
import { add, asConst, mul, product } from "../../dims/dim.ts";
import type { Node } from "../../ir/types.ts";
import type { Scalar } from "../../kernel/scalar.ts";
import { argsortOp, keyOf, putOp } from "../../ops/sort.ts";
import { decode, nominal } from "./common.ts";
import { sortByDigits } from "./digits.ts";
import type { Family, Job, Launch, Launches } from "./family.ts";
import { Thread } from "./thread.ts";

/** Bits of a digit; blocks of a line whose digits are counted apart, at most. */
type Choice = { readonly digit: number; readonly blocks: number };

/** Lines up to which every element looks at every other: two launches, whatever the number of lines. */
const SHORT = 128;
/** Comparisons up to which that is done for longer lines, too. */
const FEW = 262_144;
/** Indices of a line among which every element looks for its own. */
const FOLDED = 16;
/** Lines from which on a digit has few bits: each line has a table of its own. */
const MANY = 64;

export const sortFamily: Family<Choice> = {
  name: "sort",
  claims(node) {
    if (node.op !== argsortOp) return false;
    const { shape } = node.outs[0].type;
    const size = asConst(shape[node.attrs.axis as number]);
    return size === undefined || (size > SHORT && nominal(mul(size, product(shape))) > FEW);
  },
  room: 4,
  choices({ group, ctx: { target } }) {
    const node = group.anchor;
    if (node.op !== argsortOp) return [];
    const blocks = target.fastShared ? 1024 : 256;
    const wide: Choice = { digit: 8, blocks };
    const narrow: Choice = { digit: 4, blocks };
    const { shape } = node.outs[0].type;
    const lines = nominal(product(shape.filter((_, i) => i !== node.attrs.axis)));
    return lines < MANY ? [wide, narrow] : [narrow, wide];
  },
  lower(job, choice): Launches {
    const node = job.group.anchor;
    const [x] = node.inputs;
    const { shape } = x.type;
    const axis = node.attrs.axis as number;
    const at = (line: readonly Scalar[], k: Scalar): readonly Scalar[] => [
      ...line.slice(0, axis),
      k,
      ...line.slice(axis),
    ];
    const { list, temporaries } = sortByDigits(job, choice, {
      name: "sort",
      lines: shape.filter((_, i) => i !== axis),
      size: shape[axis],
      bits: bitsOf(node),
      key: (s, line, k) => s.cast(keyOf(s, node, s.read(x, at(line, k))), "i32"),
      into: { value: node.outs[0], at: (_s, line, k) => at(line, k) },
    });
    return { list, temporaries };
  },
};
/** Bits of a key: those of a float hold its order, those of a bool are one. */
const bitsOf = (node: Node): number => (node.inputs[0].type.dtype === "bool" ? 1 : 32);

export const putFamily: Family = {
  name: "put",
  claims: (node) =>
    node.op === putOp &&
    (asConst(node.inputs[0].type.shape[node.attrs.axis as number]) ?? FOLDED + 1) > FOLDED,
  choices: ({ group }) => (group.anchor.op === putOp ? [{}] : []),
  lower: (job): Launches => {
    const { shape } = job.group.anchor.outs[0].type;
    const axis = job.group.anchor.attrs.axis as number;
    const index = job.group.anchor.inputs[0].type.shape;
    const whole = index[axis].key === shape[axis].key;
    return { list: [...(whole ? [] : [zeros(job)]), puts(job)], temporaries: [] };
  },
};
/** Where no index points. */
function zeros(job: Job): Launch {
  const [out] = job.group.anchor.outs;
  const { dtype, shape } = out.type;
  const k = new Thread(job, product(shape));
  const { s, em } = k;
  const place = s.axis("place", product(shape));
  em.bind(place, k.index);
  em.store(out, decode(s, s.axisValue(place), shape), em.literal(0, dtype), undefined);
  return k.finish("put", "put_zeros", product(shape), ["grid place", "  thread 0"]);
}
function puts(job: Job): Launch {
  const node = job.group.anchor;
  const [index, g] = node.inputs;
  const [out] = node.outs;
  const axis = node.attrs.axis as number;
  const { shape } = index.type;
  const count = product(shape);
  const k = new Thread(job, count);
  const { s, em } = k;
  const term = s.axis("term", count);
  em.bind(term, k.index);
  const at = decode(s, s.axisValue(term), shape);
  const place = s.read(index, at);
  const value = s.read(g, at);
  em.count([place, value]);
  const there = at.map((c, i) => (i === axis ? place : c));
  em.store(out, there, em.x(value), undefined);
  return k.finish("put", "put", add(count, count), ["grid term", "  thread where its index says (root)"]);
}
