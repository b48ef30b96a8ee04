// Picks how a group is computed: the first choice of the first family that has one. In: a group with layouts. Out: Launches.
import { InternalError } from "../../diagnostics/index.ts";
import type { Node } from "../../ir/types.ts";
import { type Divisors, withOverrides } from "../../kernel/overrides.ts";
import type { Region } from "../../regions/region.ts";
import type { Target } from "../../targets.ts";
import { OfGroups } from "./asked.ts";
import { type Nest, nestOf, vectorNestOf } from "./contraction/nest.ts";
import { families } from "./families.ts";
import type { Family, Job, Launches, Offer, ScheduleContext } from "./family.ts";
import { tuned } from "./tuned.ts";

const nests = new OfGroups<Nest | undefined>();

export function jobOf(ctx: ScheduleContext, group: Region): Job {
  let nest: { readonly made: Nest | undefined } | undefined;
  return {
    ctx,
    group,
    nest() {
      if (!nest) {
        const describe = { contraction: nestOf, rows: vectorNestOf }[group.kind as string];
        const made =
          describe && nests.of(group, "nest", ctx.target, (target) => describe({ ...ctx, target }, group));
        // What the kernels of one target are made of is not known to another's.
        nest = { made: made && { ...made, s: made.s.fork() } };
      }
      return nest.made;
    },
  };
}
/** All ways to compute a group, best first. */
export const offersFor = (job: Job): Offer[] =>
  families.flatMap((family) => family.choices(job).map((choice) => ({ family, choice })));

export function scheduleGroup(ctx: ScheduleContext, group: Region): Launches {
  const job = jobOf(ctx, group);
  const offers = offersFor(job);
  if (offers.length === 0)
    throw new InternalError("schedule", `no kernel family for ${group.anchor.op.name}`);
  return lowerOffer(job, offers, ctx.pick?.(offers, job) ?? tuned(ctx.target.tuning, job, offers) ?? 0);
}
/** One of the offers; its kernels tell which others there were. */
function lowerOffer(job: Job, offers: readonly Offer[], pick: number): Launches {
  const { family, choice } = offers[pick];
  const { list: made, temporaries } = family.lower(job, choice);
  const where = constantsIn(job, family);
  const list = where ? made.map((l) => withOverrides(l, where)) : made;
  if (offers.length === 1) return { list, temporaries };
  const chosen = `  choice ${offerText(offers[pick])}`;
  const others = offers.filter((_, i) => i !== pick).map((o) => `  or     ${offerText(o)}`);
  return {
    list: list.map((l) => ({ ...l, code: { ...l.code, nest: [...l.code.nest, chosen, ...others] } })),
    temporaries,
  };
}
/** Where kernels have sizes that they divide by as constants. What is made ahead runs once, which pays for no pipeline more. */
function constantsIn({ ctx, group }: Job, family: Family): Divisors | undefined {
  if (family.brief) return group.derived ? undefined : "all";
  return ctx.target.literalDivisors ? "loops" : undefined;
}
const offerText = ({ family, choice }: Offer): string =>
  [family.name, ...Object.entries(choice).map(([what, n]) => `${what} ${n}`)].join(", ").replace(",", ":");

const claimant = (node: Node, target: Target): Family | undefined =>
  families.find((f) => f.claims?.(node, target) === true);
/** Whether a family computes this composite or algorithm as a whole on this target. */
export const isClaimed = (node: Node, target: Target): boolean => claimant(node, target) !== undefined;
/** What its kernels bind beside operands and results. */
export const roomFor = (node: Node, target: Target): number => claimant(node, target)?.room ?? 0;
