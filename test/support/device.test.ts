// The null device judges as a real one would, without any driver.
import { expect, test } from "vitest";
import { nullDevice, shaderErrors } from "./device.ts";

test("the null device finds errors of WGSL with their place", async () => {
  const { device } = await nullDevice();
  expect(await shaderErrors(device, "@compute @workgroup_size(1)\nfn main() { let x: f32 = 1u; }")).toEqual([
    expect.stringMatching(/^2:\d+ cannot initialize 'let' of type 'f32'/),
  ]);
  expect(await shaderErrors(device, "@compute @workgroup_size(1)\nfn main() { }")).toEqual([]);
});

test("the default null device enforces default limits and offers no feature", async () => {
  const { device, limits } = await nullDevice("default");
  expect(limits.maxComputeInvocationsPerWorkgroup).toBe(256);
  expect(await shaderErrors(device, "@compute @workgroup_size(512)\nfn main() { }")).toEqual([
    expect.stringMatching(/512/),
  ]);
  expect(await shaderErrors(device, "enable f16;\n@compute @workgroup_size(1)\nfn main() { }")).toHaveLength(
    1,
  );
});
