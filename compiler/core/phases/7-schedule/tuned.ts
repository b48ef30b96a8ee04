// Which way to compute a group was measured to be the best. In: a group with its offers, and the target's table. Out: the number
// of an offer. Groups are known by their class: what they are, how large (to the next power of two, with open sizes at their
// nominal value), and how much is fused behind them.
import { type Dim, evaluateAll, NOMINAL, product } from "../../dims/dim.ts";
import { loadsOf } from "../../kernel/scalar.ts";
import type { Tuning } from "../../targets.ts";
import type { Job, Offer } from "./family.ts";

const bucket = (...extents: readonly Dim[]): number =>
  2 ** Math.ceil(Math.log2(Math.max(1, evaluateAll(product(extents), NOMINAL))));

/** The class of a group. One row of a table speaks of all groups of a class. */
export function classOf(job: Job): string {
  const { anchor, kind, roots } = job.group;
  const n = job.nest();
  if (n) {
    const k = n.segments.map((q) => bucket(...q.k.map((a) => a.extent))).join("+");
    const read = new Set(n.epilogue.roots.flatMap(loadsOf).map((l) => l.value)).size;
    const [batch, row, col] = [n.batch, n.row, n.col].map((a) => bucket(a.extent));
    return `${kind} ${n.dtype} ${batch} x ${row} x ${col} over ${k}, window ${n.window}, reads ${read}, stores ${roots.length}`;
  }
  const { dtype } = anchor.outs[0].type;
  const sizes = [...anchor.inputs, ...anchor.outs].map((v) => bucket(...v.type.shape));
  return `${kind} ${dtype} ${anchor.op.name} ${sizes.join(", ")}, stores ${roots.length}`;
}

/** The offer that the table names for this group; undefined where it names none of these. */
export function tuned(tuning: Tuning | undefined, job: Job, offers: readonly Offer[]): number | undefined {
  if (!tuning || offers.length < 2) return undefined;
  const row = tuning.find((r) => r.region === classOf(job));
  if (!row) return undefined;
  const at = offers.findIndex(
    ({ family, choice }) =>
      family.name === row.family &&
      versionOf({ family }) === row.version &&
      Object.keys(choice).length === Object.keys(row.choice).length &&
      Object.entries(choice).every(([what, n]) => row.choice[what] === n),
  );
  return at < 0 ? undefined : at;
}
/** Of the family's kernels: what was measured of others says nothing. */
export const versionOf = ({ family }: Pick<Offer, "family">): number => family.version ?? 1;
