// A small model with products that can be computed in several ways.
import {
  type Alternative,
  type Compiled,
  compile as compileSource,
  type Target,
  targets,
} from "../../compiler/core/index.ts";

export type { Alternative };
export const TUNED_SOURCE = `
model Two {
  param first: f32[256, 128] = normal()
  param second: f32[128, 64] = normal()
  fn forward(x: f32[N, 256]) -> f32[N, 64] { relu(x @ first) @ second }
}`;
export const gpuTarget = targets.find((t) => t.name === "gpu") as Target;
export const compile = (
  wanted: readonly Target[],
  pick?: (offers: readonly Alternative[], way: string) => number,
): Compiled => compileSource(TUNED_SOURCE, "two.mdl", { targets: wanted, pick, verify: true });
