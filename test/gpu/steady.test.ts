// A call of sizes that were there before makes nothing: no buffer, bind group, pipeline or shader, and no more submits and
// writes than its inputs and its readback need. Counted at the device, not timed.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, it, type TestContext } from "vitest";
import type { StepResult, Tensor } from "../../runtime/core/api.ts";
import { testDevice } from "../support/device.ts";
import { testModule } from "../support/module.ts";

const SOURCE = `import { Conv2d, Linear } from "std/nn"
model Small {
  conv = Conv2d(1, 8, 3, padding = 1)
  head = Linear(8 * 8 * 8, 4)
  fn logits(x: f32[N, 1, 8, 8]) -> f32[N, 4] { x |> conv |> relu |> flatten |> head }
  fn loss(x: f32[N, 1, 8, 8], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
}
train fit for Small { minimize loss; with adam(lr = 0.01) }`;

const MAKES = /^create/;
const restore: (() => void)[] = [];
afterEach(() => {
  for (const undo of restore.splice(0)) undo();
});

/** Calls of the device's and the queue's methods, by name, from now on. */
async function counted(context: TestContext): Promise<Map<string, number>> {
  const { device } = await testDevice(context);
  const counts = new Map<string, number>();
  for (const of of [device, device.queue] as unknown as object[]) {
    const proto = Object.getPrototypeOf(of) as Record<string, unknown>;
    for (const name of Object.getOwnPropertyNames(proto)) {
      const was = Object.getOwnPropertyDescriptor(proto, name);
      if (typeof was?.value !== "function" || name === "constructor") continue;
      const method = was.value as (...args: unknown[]) => unknown;
      Object.defineProperty(proto, name, {
        ...was,
        value(this: unknown, ...args: unknown[]) {
          counts.set(name, (counts.get(name) ?? 0) + 1);
          return method.apply(this, args);
        },
      });
      restore.push(() => Object.defineProperty(proto, name, was));
    }
  }
  return counts;
}

describe("a steady call", () => {
  it("makes nothing but its commands", async (context) => {
    const net = await testModule(SOURCE, { targets: ["baseline"] }).load(context, { seed: 1 });
    const x = { data: new Float32Array(4 * 64).fill(0.5), shape: [4, 1, 8, 8] };
    const y = Int32Array.of(0, 1, 2, 3);
    type Call = (inputs: object, options?: object) => Promise<Record<string, Tensor>>;
    const entries = net.base as unknown as { readonly [name: string]: Call };
    const calls: Record<string, () => Promise<unknown>> = {
      inference: () => net.call("logits", { x }),
      step: () => entries["fit_step"]({ x, y }),
      // The loop reads nothing back.
      chained: async () => {
        const { logits } = await entries["logits"]({ x }, { gpu: true });
        logits.dispose();
      },
    };
    for (const call of Object.values(calls)) for (let i = 0; i < 3; i++) await call();
    await net.call("logits", { x });
    const counts = await counted(context);
    const perCall: Record<string, Record<string, number>> = {};
    for (const [name, call] of Object.entries(calls)) {
      // The weights that steps changed are packed anew, once.
      await call();
      counts.clear();
      for (let i = 0; i < 4; i++) await call();
      perCall[name] = Object.fromEntries([...counts].map(([method, n]) => [method, n / 4]));
    }
    const made = (name: string): Record<string, number> =>
      Object.fromEntries(Object.entries(perCall[name]).filter(([m]) => MAKES.test(m)));
    expect(made("inference")).toEqual({ createCommandEncoder: 1 });
    expect(made("step")).toEqual({ createCommandEncoder: 1 });
    // A result that stays has a buffer of its own.
    expect(made("chained")).toEqual({ createCommandEncoder: 1, createBuffer: 1 });
    for (const name of Object.keys(calls)) expect(perCall[name]["submit"]).toBe(1);
    expect(perCall["inference"]["writeBuffer"]).toBe(1);
  }, 120_000);
});

describe("bind groups", () => {
  it("are no more for a loop of more turns", async (context) => {
    const source = `import { Linear } from "std/nn"
model Running {
  again = Linear(4, 4)
  fn run(x: f32[T, 4]) -> f32[1, 4] {
    scan v over x axis 0 with h = zeros(1, 4) { h = tanh(v + again(h)) }
  }
}`;
    const net = await testModule(source, { targets: ["baseline"] }).load(context, { seed: 1 });
    const call = (turns: number): Promise<unknown> =>
      net.call("run", { x: { data: new Float32Array(turns * 4).fill(0.5), shape: [turns, 4] } });
    await call(3);
    const counts = await counted(context);
    const made: (number | undefined)[] = [];
    for (const turns of [7, 70]) {
      counts.clear();
      await call(turns);
      made.push(counts.get("createBindGroup"));
    }
    expect(made[0]).toBeGreaterThan(0);
    expect(made[1]).toBe(made[0]);
  }, 120_000);
});

describe("2,000 steps", () => {
  it("take no buffer and no heap that they do not give back", async (context) => {
    const source = `import { Linear } from "std/nn"
model Small {
  hidden = Linear(16, 32)
  head   = Linear(32, 4)
  fn loss(x: f32[N, 16], y: i32[N]) -> f32 {
    cross_entropy(x |> hidden |> relu |> dropout(0.1) |> head, y)
  }
}
train fit for Small { minimize loss; with adam(lr = 0.01) }`;
    const net = await testModule(source, { targets: ["baseline"] }).load(context, { seed: 1 });
    const step = (net.base as unknown as { readonly fit_step: (inputs: object) => Promise<StepResult> })
      .fit_step;
    const run = async (steps: number): Promise<void> => {
      for (let i = 0; i < steps; i++) {
        // The last batch of an epoch is smaller.
        const n = i % 10 === 9 ? 3 : 8;
        const x = { data: new Float32Array(n * 16).fill(0.5), shape: [n, 16] };
        const taken = await step({ x, y: new Int32Array(n) });
        if (i % 25 === 0) await taken.loss;
      }
    };
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const held = (): number => {
      collect();
      const { heapUsed, external, arrayBuffers } = process.memoryUsage();
      return heapUsed + external + arrayBuffers;
    };
    await run(300);
    const [memory, bytes] = [net.base.memory(), held()];
    const counts = await counted(context);
    await run(2000);
    expect(counts.get("submit")).toBeGreaterThanOrEqual(2000);
    expect(counts.get("createBuffer") ?? 0).toBe(0);
    expect(net.base.memory()).toEqual(memory);
    // 500 bytes a step: no step leaves an object behind.
    expect(held() - bytes).toBeLessThan(1_000_000);
  }, 120_000);
});
