// einsum: sums of products by names of axes. In: PyTorch's text, any number of operands. Out: transposes, products and
// sums, two operands at a time from the left, so that whoever looks for matrix products finds them.
import { asConst, type Dim, dim, isConst, ONE, product } from "../dims/dim.ts";
import type { Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import { broadcastTo, reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  fail,
  NUMBERS,
  type Requirer,
  sameDtypes,
  sameSize,
  shapeText,
  tensors,
  typeText,
  word,
} from "./define.ts";
import { dot } from "./dot.ts";
import { eq, mul as mulValues, where } from "./elementwise.ts";
import { place } from "./lookup.ts";
import { slice, transpose } from "./movement.ts";

/** Names of each operand's axes, and the result's. The axes of `...` are called 0, 1, … from the last on. */
interface Equation {
  readonly operands: readonly (readonly string[])[];
  readonly result: readonly string[];
}
function parse(text: string, types: readonly TensorType[]): Equation {
  const wrong = (what: string, help?: string): never =>
    fail("E0606", `einsum: ${what} in "${text}"`, { attr: "equation", ...(help ? { help } : {}) });
  const [left, right, ...more] = text.replace(/\s+/g, "").split("->");
  if (more.length > 0) wrong("a second ->");
  const terms = left.split(",");
  if (terms.length !== types.length)
    fail("E0601", `einsum: "${text}" has ${terms.length} operands, given ${types.length}`, {
      attr: "equation",
    });
  const letters = (term: string): readonly string[] => {
    if (!/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(term)) wrong(`"${term}" is no row of letters`);
    return term.match(/\.\.\.|[A-Za-z]/g) ?? [];
  };
  let most = 0;
  const operands = terms.map((term, operand) => {
    const names = letters(term);
    const own = names.filter((n) => n !== "...").length;
    const { shape } = types[operand];
    const rest = shape.length - own;
    if (names.includes("...") ? rest < 0 : rest !== 0)
      fail("E0304", `einsum: "${term}" names ${own} axes, given ${typeText(types[operand])}`, { operand });
    most = Math.max(most, rest);
    return names.flatMap((n) => (n === "..." ? around(rest) : [n]));
  });
  const all = operands.flat();
  const once = (n: string): boolean => all.indexOf(n) === all.lastIndexOf(n);
  const result =
    right === undefined
      ? [...around(most), ...[...new Set(all)].filter((n) => /[A-Za-z]/.test(n) && once(n)).sort()]
      : letters(right).flatMap((n) => (n === "..." ? around(most) : [n]));
  for (const n of result) {
    if (!all.includes(n)) wrong(`${n} of the result is in no operand`);
    if (result.indexOf(n) !== result.lastIndexOf(n)) wrong(`${n} is twice in the result`);
  }
  return { operands, result };
}
const around = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => String(count - 1 - i));

/** The size of each name; an extent of 1 gives way. */
function extents(e: Equation, types: readonly TensorType[], b: Requirer): ReadonlyMap<string, Dim> {
  const out = new Map<string, Dim>();
  e.operands.forEach((names, operand) => {
    names.forEach((n, i) => {
      const d = types[operand].shape[i];
      const known = out.get(n);
      if (known === undefined || isConst(known, 1)) out.set(n, d);
      if (known === undefined || isConst(known, 1) || isConst(d, 1)) return;
      const refuse = (): never =>
        fail("E0302", `einsum: ${n} is ${known.key} and ${d.key} in ${shapeText(types[operand].shape)}`, {
          operand,
        });
      out.set(n, sameSize(known, d, `einsum: axis ${n}`, b, refuse));
    });
  });
  return out;
}

/** A tensor whose axes have names, each once. */
interface Named {
  readonly x: Value;
  readonly names: readonly string[];
}
/** Axes in another order. */
const ordered = (b: Builder, { x, names }: Named, to: readonly string[]): Value =>
  transpose(
    b,
    x,
    to.map((n) => names.indexOf(n)),
  );
/** The sum over axes. */
function summed(b: Builder, a: Named, over: readonly string[]): Named {
  if (over.length === 0) return a;
  return {
    x: sum(
      b,
      a.x,
      over.map((n) => a.names.indexOf(n)),
    ),
    names: a.names.filter((n) => !over.includes(n)),
  };
}
/** The diagonal of axes of one name; and without axes of extent 1 that others have longer. */
function tidy(b: Builder, x: Value, names: readonly string[], sizes: ReadonlyMap<string, Dim>): Named {
  let a: Named = { x, names };
  for (;;) {
    const second = a.names.findIndex((n, i) => a.names.indexOf(n) < i);
    if (second < 0) break;
    a = diagonal(b, a, a.names.indexOf(a.names[second]), second);
  }
  const kept = a.names.map((n, i) => isConst(a.x.type.shape[i], 1) && !isConst(sizes.get(n) ?? ONE, 1));
  if (!kept.includes(true)) return a;
  return {
    x: reshape(
      b,
      a.x,
      a.x.type.shape.filter((_, i) => !kept[i]),
    ),
    names: a.names.filter((_, i) => !kept[i]),
  };
}
function diagonal(b: Builder, a: Named, first: number, second: number): Named {
  const rest = a.names.map((_, i) => i).filter((i) => i !== first && i !== second);
  const moved = transpose(b, a.x, [...rest, first, second]);
  const { shape } = moved.type;
  const n = asConst(shape[rest.length]);
  const names = [...rest.map((i) => a.names[i]), a.names[first]];
  const outer = shape.slice(0, rest.length);
  if (n !== undefined) {
    const flat = reshape(b, moved, [...outer, dim(n * n)]);
    const starts = [...outer, dim(n)].map(() => 0);
    return { x: slice(b, flat, starts, [...outer, n], [...outer.map(() => 1), n + 1]), names };
  }
  const same = eq(b, place(b, shape, rest.length), place(b, shape, rest.length + 1));
  return { x: sum(b, where(b, same, moved, 0), [rest.length + 1]), names };
}
/** The product of two, summed over the names that are not `kept`. */
function contracted(b: Builder, a: Named, c: Named, kept: ReadonlySet<string>): Named {
  const only = (p: Named, q: Named): string[] => p.names.filter((n) => !q.names.includes(n));
  // What one alone has and nobody asks for is summed first.
  const p = summed(
    b,
    a,
    only(a, c).filter((n) => !kept.has(n)),
  );
  const q = summed(
    b,
    c,
    only(c, a).filter((n) => !kept.has(n)),
  );
  const both = p.names.filter((n) => q.names.includes(n));
  const batch = both.filter((n) => kept.has(n));
  const inner = both.filter((n) => !kept.has(n));
  const [rows, columns] = [only(p, q), only(q, p)];
  const size = (of: Named, names: readonly string[]): Dim[] =>
    names.map((n) => of.x.type.shape[of.names.indexOf(n)]);
  const names = [...batch, ...rows, ...columns];
  const shape = [...size(p, batch), ...size(p, rows), ...size(q, columns)];
  if (inner.length === 0 || (rows.length === 0 && columns.length === 0)) {
    // Nothing to add up, or nothing but sums: element by element.
    const line = [...names, ...inner];
    const full = [...shape, ...size(p, inner)];
    const spread = (of: Named): Value => {
      const own = ordered(
        b,
        of,
        line.filter((n) => of.names.includes(n)),
      );
      return broadcastTo(
        b,
        reshape(
          b,
          own,
          line.map((n, i) => (of.names.includes(n) ? full[i] : ONE)),
        ),
        full,
      );
    };
    return summed(b, { x: mulValues(b, spread(p), spread(q)), names: line }, inner);
  }
  const merged = (names: readonly string[], of: Named): Dim => product(size(of, names));
  const [m, k, n] = [merged(rows, p), merged(inner, p), merged(columns, q)];
  const lead = size(p, batch);
  const left = reshape(b, ordered(b, p, [...batch, ...rows, ...inner]), [...lead, m, k]);
  const right = reshape(b, ordered(b, q, [...batch, ...inner, ...columns]), [...lead, k, n]);
  return { x: reshape(b, dot(b, left, right), shape), names };
}

export const einsumOp: OpDef = {
  name: "einsum",
  doc: 'Products of operands summed over the axes whose letters the result lacks, as PyTorch\'s: einsum("bik,bkj->bij", x, y). Without -> the result has the letters that occur once, in their order; ... stands for any axes, a letter twice in an operand for its diagonal.',
  fuses: "composite",
  params: [word("equation"), tensors("operands", { alone: true })],
  infer: (types, attrs, b) => {
    if (types.length === 0) fail("E0601", "einsum needs an operand");
    sameDtypes("einsum", types);
    allowDtypes("einsum", types, NUMBERS);
    const e = parse(String(attrs.equation), types);
    const sizes = extents(e, types, b);
    return [{ dtype: types[0].dtype, shape: e.result.map((n) => sizes.get(n) ?? ONE) }];
  },
  inline: () => true,
  expand: (b, node) => {
    const types = node.inputs.map((v) => v.type);
    const e = parse(String(node.attrs.equation), types);
    const sizes = extents(e, types, undefined);
    const [first, ...rest] = node.inputs.map((x, i) => tidy(b, x, e.operands[i], sizes));
    const done = rest.reduce((a, c, i) => {
      const later = rest.slice(i + 1).flatMap((r) => r.names);
      return contracted(b, a, c, new Set([...e.result, ...later]));
    }, first);
    const left = summed(
      b,
      done,
      done.names.filter((n) => !e.result.includes(n)),
    );
    const shape = node.outs[0].type.shape;
    const present = e.result.filter((n) => left.names.includes(n));
    const own = ordered(b, left, present);
    return [
      broadcastTo(
        b,
        reshape(
          b,
          own,
          e.result.map((n) => (left.names.includes(n) ? own.type.shape[present.indexOf(n)] : ONE)),
        ),
        shape,
      ),
    ];
  },
  examples: [
    {
      shapes: [
        [2, 3],
        [3, 4],
      ],
      attrs: { equation: "ij,jk->ik" },
    },
    {
      shapes: [
        [2, 3, 4],
        [2, 4, 2],
      ],
      attrs: { equation: "bik,bkj" },
    },
    {
      shapes: [
        [2, 3, 4],
        [3, 5],
        [4, 5],
      ],
      attrs: { equation: "bij,ik,jk->kb" },
    },
    { shapes: [[3, 3]], attrs: { equation: "ii->i" } },
    { shapes: [[3, 3]], attrs: { equation: "ii" } },
    { shapes: [[3], [4]], attrs: { equation: "i,j->ji" } },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      attrs: { equation: "bi,bi->b" },
    },
    {
      shapes: [
        [2, 1, 3, 4],
        [5, 4, 2],
      ],
      attrs: { equation: "...ij,...jk->...ik" },
    },
    {
      shapes: [
        [2, 3, 4],
        [5, 3],
      ],
      attrs: { equation: "abc,db->ad" },
    },
    {
      shapes: [
        [2, 3],
        [3, 2],
      ],
      dtypes: ["i32", "i32"],
      attrs: { equation: "ij,jk->ik" },
      grad: false,
    },
  ],
};

export const einsums: readonly OpDef[] = [einsumOp];
