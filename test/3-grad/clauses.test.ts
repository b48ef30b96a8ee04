// What a train block may say of its update: several calls make one, an average is kept, norms are limited and told. On the
// reference evaluator, against the same said otherwise, or in closed form.
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { farthest } from "../support/groups.ts";
import { compileText } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const MODEL = `model M() {
  param w: f32[3, 2] = constant(0.5)
  param frozen_one: f32[70, 70] = ones()
  param b: f32[2] = zeros()
  param far: f32[2] = zeros()
  buffer seen: f32[3] = zeros()
  fn loss(x: f32[N, 3], y: f32[N, 2]) -> f32 {
    seen <- lerp(seen, mean(x, axis = 0), 0.5)
    far <- lerp(far, b, 0.5)
    mean((x @ w + b - y) ** 2) + 0.0 * frozen_one[0, 0]
  }
  fn grad_norms(x: f32[N, 3]) -> f32 { mean(x) }
}
`;
const steps = (clauses: string, more = "") =>
  compileText(`${MODEL}train fit for M { minimize loss; frozen frozen_one, far; ${clauses} }\n${more}`, {
    targets: ["gpu"],
  });
const batch = (seed: number, rows = 4) => {
  const at = (i: number): number => Math.sin(17 * seed + 3 * i) * 2;
  return {
    x: dense(
      "f32",
      [rows, 3],
      Array.from({ length: rows * 3 }, (_, i) => at(i)),
    ),
    y: dense(
      "f32",
      [rows, 2],
      Array.from({ length: rows * 2 }, (_, i) => at(i + 100)),
    ),
  };
};
type Batch = ReturnType<typeof batch>;
const join = (...list: Batch[]): Batch => {
  const rows = list.reduce((n, l) => n + l.x.shape[0], 0);
  return {
    x: dense(
      "f32",
      [rows, 3],
      list.flatMap((l) => [...l.x.data]),
    ),
    y: dense(
      "f32",
      [rows, 2],
      list.flatMap((l) => [...l.y.data]),
    ),
  };
};
const net = (...given: Parameters<typeof steps>) => referenceNet(steps(...given), { totalSteps: 12 });
type Net = ReturnType<typeof net>;
const values = (n: Net, path: string): number[] => [...n.tensor(path).data];
const bad = (b: Batch): Batch => ({
  ...b,
  y: dense("f32", b.y.shape, [Number.NaN, ...[...b.y.data].slice(1)]),
});

describe("accumulate", () => {
  const clauses = "with adamw(lr = linear(0.1), weight_decay = 0.1); clip norm 0.3; report grad_norm";
  it("makes one update of the mean of several calls' gradients, schedules and Adam's count with it", () => {
    const parts = net(`${clauses}; accumulate 3`);
    // Schedules of both have as many updates.
    const whole = referenceNet(steps(clauses), { totalSteps: 4 });
    for (let i = 0; i < 3; i++) {
      const list = [0, 1, 2].map((k) => batch(3 * i + k));
      const before = values(parts, "w");
      parts.step("fit", list[0]);
      parts.step("fit", list[1]);
      expect(values(parts, "w")).toEqual(before);
      const figures = parts.step("fit", list[2]);
      const one = whole.step("fit", join(...list));
      expect(figures.grad_norm.data[0]).toBeCloseTo(one.grad_norm.data[0], 10);
      for (const path of ["w", "b"])
        expect(farthest(values(parts, path), values(whole, path)), `${i}: ${path}`).toBeLessThan(1e-9);
    }
    expect(values(parts, "fit.step")).toEqual([9]);
    expect(values(parts, "fit.gradient_sum").every((g) => g === 0)).toBe(true);
  });
  it("leaves what a bad call would have added out, and takes the next in its place", () => {
    const [some, all] = [net(`${clauses}; accumulate 2`), net(`${clauses}; accumulate 2`)];
    all.step("fit", batch(1));
    all.step("fit", batch(2));
    some.step("fit", batch(1));
    const held = values(some, "fit.gradient_sum");
    expect(some.step("fit", bad(batch(9))).bad_step.data[0]).toBe(2);
    expect(values(some, "fit.gradient_sum")).toEqual(held);
    some.step("fit", batch(2));
    // Schedules count calls, bad ones too: the rate is another one, the direction is not.
    const moved = (n: Net): number[] => values(n, "b").map((v) => Math.sign(v));
    expect(moved(some)).toEqual(moved(all));
    expect(values(some, "fit.step")).toEqual([2]);
  });
  it("stores buffers and other parameters at each call", () => {
    const n = net(`${clauses}; accumulate 2`);
    n.step("fit", batch(1));
    n.step("fit", batch(2));
    const far = values(n, "far");
    expect(far).toEqual([0, 0]);
    const b = values(n, "b");
    n.step("fit", batch(3));
    expect(values(n, "far")).toEqual(b.map((v) => v / 2));
    expect(values(n, "b")).toEqual(b);
    expect(values(n, "seen").some((v) => v !== 0)).toBe(true);
  });
  it("is of whole parameters, too", () => {
    const lamb = "with lamb(lr = 0.1)";
    const [parts, whole] = [net(`${lamb}; accumulate 2`), net(lamb)];
    for (let i = 0; i < 2; i++) {
      parts.step("fit", batch(2 * i));
      parts.step("fit", batch(2 * i + 1));
      whole.step("fit", join(batch(2 * i), batch(2 * i + 1)));
      for (const path of ["w", "b"])
        expect(farthest(values(parts, path), values(whole, path))).toBeLessThan(1e-9);
    }
  });
});

describe("ema", () => {
  it("is the first step's parameters, then their average; the entry exchanges both, and changes them back", () => {
    for (const optimizer of ["sgd(lr = 0.1)", "lamb(lr = 0.1)"]) {
      const n = net(`with ${optimizer}; ema 0.75`);
      const begin = values(n, "w");
      // Before there is an average nothing is exchanged.
      n.call("fit_swap_ema", {});
      expect(values(n, "w")).toEqual(begin);
      let mean: number[] = [];
      for (let i = 0; i < 4; i++) {
        if (i === 2) n.step("fit", bad(batch(8)));
        n.step("fit", batch(i));
        const now = values(n, "w");
        mean = i === 0 ? now : mean.map((m, k) => m * 0.75 + now[k] * 0.25);
      }
      const trained = values(n, "w");
      const others = [values(n, "frozen_one"), values(n, "far")];
      n.call("fit_swap_ema", {});
      expect(farthest(values(n, "w"), mean)).toBeLessThan(1e-6);
      expect(farthest(values(n, "w"), trained)).toBeGreaterThan(1e-3);
      expect([values(n, "frozen_one"), values(n, "far")]).toEqual(others);
      n.call("fit_swap_ema", {});
      expect(values(n, "w")).toEqual(trained);
    }
  });
  it("follows updates where several calls make one", () => {
    const n = net("with sgd(lr = 0.1); ema 0.5; accumulate 2");
    for (let i = 0; i < 3; i++) n.step("fit", batch(i));
    const first = values(n, "w");
    n.step("fit", batch(3));
    const second = values(n, "w");
    n.call("fit_swap_ema", {});
    expect(
      farthest(
        values(n, "w"),
        first.map((v, i) => (v + second[i]) / 2),
      ),
    ).toBeLessThan(1e-6);
  });
});

describe("max_norm", () => {
  it("limits rows as torch.renorm does, behind the update", () => {
    for (const optimizer of ["sgd(lr = 0.5)", "lamb(lr = 0.5)", "sgd(lr = 0.5) for b; with adam(lr = 0.5)"]) {
      const [free, held] = [net(`with ${optimizer}`), net(`with ${optimizer}; max_norm 0.6 for w`)];
      free.step("fit", batch(1));
      held.step("fit", batch(1));
      const w = values(free, "w");
      const want = [0, 1, 2].flatMap((r) => {
        const row = w.slice(2 * r, 2 * r + 2);
        const norm = Math.hypot(...row);
        return norm > 0.6 ? row.map((v) => (v * 0.6) / (norm + 1e-7)) : row;
      });
      expect(farthest(values(held, "w"), want), optimizer).toBeLessThan(1e-7);
      expect(farthest(w, want), optimizer).toBeGreaterThan(1e-3);
      expect(values(held, "b"), optimizer).toEqual(values(free, "b"));
    }
  });
});

describe("grad_norm", () => {
  it("is the norm of all gradients before they are clipped, whatever clips them", () => {
    const norms = ["", "clip norm 0.01;", "clip value 0.01;"].map(
      (clip) => net(`with sgd(lr = 1) ; ${clip} report grad_norm`).step("fit", batch(1)).grad_norm.data[0],
    );
    const n = net("with sgd(lr = 1)");
    const before = [...values(n, "w"), ...values(n, "b")];
    n.step("fit", batch(1));
    const moved = [...values(n, "w"), ...values(n, "b")].map((v, i) => v - before[i]);
    for (const norm of norms) expect(norm).toBeCloseTo(Math.hypot(...moved), 6);
  });
});

describe("loss_scale", () => {
  it("changes no step that is good, and doubles with enough of them", () => {
    const [plain, scaled] = [net("with adam(lr = 0.1)"), net("with adam(lr = 0.1); loss_scale 1024")];
    for (let i = 0; i < 3; i++) {
      plain.step("fit", batch(i));
      scaled.step("fit", batch(i));
      expect(farthest(values(scaled, "w"), values(plain, "w"))).toBeLessThan(1e-7);
    }
    expect(values(scaled, "fit.scaled_steps")).toEqual([3]);
    expect(values(scaled, "fit.loss_scale")).toEqual([1024]);
  });
  it("does not hide a loss that is bad", () => {
    const n = net("with adam(lr = 0.1); loss_scale 1024");
    n.step("fit", batch(0));
    expect(n.step("fit", bad(batch(1))).bad_step.data[0]).toBe(2);
    expect(values(n, "fit.loss_scale")).toEqual([512]);
  });
  it("numbers a bad step by its call, those that were passed over counted", () => {
    const source = `model M() { param w: f32[2] = ones(); fn loss(z: f32[N]) -> f32 { sum(w) * sum(z) } }
train fit for M { minimize loss; with sgd(lr = 1e-30); loss_scale 65536 }`;
    const n = referenceNet(compileText(source, { targets: ["gpu"] }), { roundFloats: true });
    const flags = [1, 1e34, 1e33, Number.NaN, 1].map(
      (z) => n.step("fit", { z: dense("f32", [1], [z]) }).bad_step.data[0],
    );
    expect(flags).toEqual([0, 0, 0, 4, 4]);
    expect(values(n, "fit.loss_scale")).toEqual([16384]);
    expect(values(n, "fit.step")).toEqual([3]);
  });
});

describe("gradients", () => {
  it("gives what a step of the gradient itself moves, in train mode, and updates nothing but buffers", () => {
    const compiled = compileText(
      `import { BatchNorm1d, Linear } from "std/nn"
model M(d: int = 4) {
  a  = Linear(d, 8)
  bn = BatchNorm1d(8)
  c  = Linear(8, 3)
  fn loss(x: f32[N, d], y: i32[N]) -> f32 { cross_entropy(x |> a |> bn |> dropout(0.3) |> c, y) }
  fn count(x: f32[N, d]) -> f32 { f32(N) }
}
train slopes for M { minimize loss; gradients; frozen c.bias; report count, grad_norm }
train plain  for M { minimize loss; with sgd(lr = 1); frozen c.bias }`,
      { targets: ["gpu"] },
    );
    const inputs = {
      x: dense(
        "f32",
        [5, 4],
        Array.from({ length: 20 }, (_, i) => Math.sin(i)),
      ),
      y: dense("i32", [5], [0, 1, 2, 1, 0]),
    };
    const [giving, moving] = [referenceNet(compiled, { seed: 4 }), referenceNet(compiled, { seed: 4 })];
    const paths = ["a.weight", "a.bias", "bn.weight", "bn.bias", "c.weight"];
    const before = paths.map((p) => [...giving.tensor(p).data]);
    const given = giving.call("slopes_gradients", inputs);
    const step = moving.step("plain", inputs);
    expect(Object.keys(given)).toEqual(["loss", "count", "grad_norm", ...paths]);
    expect(given.loss.data[0]).toBeCloseTo(step.loss.data[0], 10);
    expect(given.count.data[0]).toBe(5);
    let squares = 0;
    paths.forEach((path, i) => {
      const moved = before[i].map((w, k) => w - moving.tensor(path).data[k]);
      expect(farthest(given[path].data, moved), path).toBeLessThan(1e-6);
      expect(given[path].shape).toEqual(giving.tensor(path).shape);
      expect([...giving.tensor(path).data], path).toEqual(before[i]);
      for (const g of given[path].data) squares += g * g;
    });
    expect(given.grad_norm.data[0]).toBeCloseTo(Math.sqrt(squares), 8);
    for (const path of ["bn.running_mean", "bn.running_var"])
      expect([...giving.tensor(path).data]).toEqual([...moving.tensor(path).data]);
    expect(giving.tensor("bn.running_mean").data.some((v) => v !== 0)).toBe(true);
    // No state of an optimiser.
    expect(compiled.artefact.state.filter((s) => s.path.startsWith("slopes"))).toEqual([]);
  });
});

describe("clauses that cannot be", () => {
  it.each([
    ["batch 1.5", "E0607", "batch takes a positive int, not 1.5"],
    ["clip norm 0", "E0607", "clip takes a positive number, not 0"],
    ["accumulate 0", "E0607", "accumulate takes a positive int, not 0"],
    ["accumulate 2; accumulate 3", "E0905", "accumulate stands twice"],
    ["ema 1.5", "E0607", "ema takes a number between 0 and 1, not 1.5"],
    ["loss_scale 0.5", "E0607", "loss_scale takes a number from 1 to 2^24"],
    ["max_norm 0", "E0607", "max_norm takes a positive number"],
    ["max_norm 1 for b", "E0304", "max_norm is of rows, and b has 1 axes"],
    ["max_norm 1 for far", "E0908", "this block trains nothing that far names"],
    ["max_norm 1; max_norm 2 for w", "E0905", "w has two limits"],
    ["accumulte 2", "E01", "accumulte"],
    ["gradients", "E0905", "with is of an update, and this block makes none"],
  ])("%s", (clause, code, message) => {
    let said = "";
    try {
      steps(`with sgd(); ${clause}`);
    } catch (error) {
      said = (error as Error).message;
    }
    expect(said).toContain(code);
    expect(said).toContain(message);
  });
});
