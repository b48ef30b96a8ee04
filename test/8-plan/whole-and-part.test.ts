// All gradients, packed, and one of them are the same bytes: kernels side by side that read both bind them once, or a device
// refuses the dispatch. A step that is looked through for a bad value reads every value.
import { expect, it } from "vitest";
import { build, check, debugging } from "../../compiler/core/index.ts";

const SOURCE = `import { Linear } from "std/nn"
model Over(k: float = 1.0) {
  a    = Linear(6, 64)
  b    = Linear(64, 64)
  head = Linear(64, 3)
  fn loss(x: f32[N, 6], y: i32[N]) -> f32 {
    h = x |> a |> relu
    g = b(h * k)
    cross_entropy(head(g), y)
  }
}
train fit for Over { minimize loss; with sgd(lr = 1e-3) }`;

it("no dispatch binds bytes twice", () => {
  const [model] = check(SOURCE, "over.mdl", { watch: () => true }).models ?? [];
  if (!model) throw new Error("it does not check");
  const { reference } = build(model, { targets: [], entries: ["fit_step"] });
  const { entry } = debugging.lookThroughStep(model, reference, model.trains[0]);
  const made = build(debugging.alone(model, entry), { targets: ["gpu", "cpu-subgroup"], verify: true });
  for (const { entries } of made.artefact.programs) {
    const [{ body }] = entries;
    const number = (id: number): number | undefined => {
      const expr = body.exprs[id];
      return typeof expr === "number" ? expr : undefined;
    };
    let checked = 0;
    for (const step of body.steps) {
      if (step.kind !== "dispatch") continue;
      // Of ranges whose places are known: all gradients, and each.
      const ranges = step.bind.flatMap(({ buffer, slot, offset, bytes }) => {
        const [at, size] = [number(offset), number(bytes)];
        return slot === undefined || at === undefined || size === undefined
          ? []
          : [{ of: `${buffer} ${slot}`, at, end: at + size }];
      });
      for (const [i, x] of ranges.entries())
        for (const y of ranges.slice(0, i)) {
          checked++;
          expect(x.of === y.of && x.at < y.end && y.at < x.end, `${step.site}: ${x.of}`).toBe(false);
        }
    }
    expect(checked).toBeGreaterThan(20);
  }
});
