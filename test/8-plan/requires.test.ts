// What a model needs that not every device has is asked for when it is loaded, with the tensor's name.
import { expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { misfit } from "../../runtime/core/adapter.ts";

const offer = {
  features: new Set<string>(),
  limits: {
    maxStorageBufferBindingSize: 2 ** 27,
    maxBufferSize: 2 ** 28,
  } as unknown as GPUSupportedLimits,
  info: { vendor: "", architecture: "" } as GPUAdapterInfo,
};
const programOf = (source: string) =>
  compile(`import { Embedding, Linear } from "std/nn"\n${source}`, "m.mdl", { targets: ["baseline"] })
    .artefact.programs[0];

it("a table that a kernel binds as a whole", () => {
  const program = programOf(
    "model M { table = Embedding(600000, 64)  ;  fn f(ids: i32[N]) -> f32[N, 64] { table(ids) } }",
  );
  expect(program.requires.limits).toEqual({ maxStorageBufferBindingSize: 600000 * 64 * 4 });
  expect(misfit(program, offer)).toBe(
    "needs maxStorageBufferBindingSize 153600000 for table.weight, this has 134217728",
  );
});

it("a matrix that is split needs room only", () => {
  const wide = (d: number) =>
    programOf(`model M { fc = Linear(${d}, 4096)  ;  fn f(x: f32[N, ${d}]) -> f32[N, 4096] { fc(x) } }`);
  expect(wide(10_000).requires.limits).toEqual({});
  const program = wide(25_088);
  expect(Object.keys(program.requires.limits)).toEqual(["maxBufferSize"]);
  expect(misfit(program, offer)).toMatch(
    /^needs maxBufferSize 411\d+ for the parameters, this has 268435456$/,
  );
});

it("an entry that others do without is refused at its call, not for them", () => {
  const program = programOf(`model M {
    table = Embedding(600000, 64)
    fn f(ids: i32[N]) -> f32[N, 64] { table(ids) }
    fn g(x: f32[N]) -> f32[N] { x * 2 }
  }`);
  expect(program.requires.limits).toEqual({});
});
