// `--device` of mdl train and mdl eval: adapters of the kind that was asked for, whatever WebGPU gives first.
import { afterEach, expect, it, vi } from "vitest";
import { gpuOf } from "../../compiler/cli/device.ts";

/** A host whose adapters are given by what it is asked. */
function host(pick: (options: GPURequestAdapterOptions) => string | null): void {
  const requestAdapter = async (options: GPURequestAdapterOptions = {}) => {
    const name = pick(options);
    const software = name === "llvmpipe";
    return (
      name && {
        info: { description: name, architecture: software ? "software" : "", isFallbackAdapter: software },
      }
    );
  };
  vi.stubGlobal("navigator", { gpu: { requestAdapter } });
}
afterEach(() => vi.unstubAllGlobals());
const given = async (device: "auto" | "gpu" | "cpu"): Promise<string | undefined> =>
  ((await (await gpuOf(device)).requestAdapter()) as GPUAdapter | null)?.info.description;

it("takes the kind that is named, among those there are", async () => {
  host((o) => (o.forceFallbackAdapter ? "llvmpipe" : "A6000"));
  expect([await given("auto"), await given("gpu"), await given("cpu")]).toEqual([
    "A6000",
    "A6000",
    "llvmpipe",
  ]);
  // A software adapter that is first by one preference, and one that is not called a fallback.
  host((o) => (o.powerPreference === "low-power" ? "A6000" : o.forceFallbackAdapter ? null : "llvmpipe"));
  expect([await given("auto"), await given("gpu"), await given("cpu")]).toEqual([
    "llvmpipe",
    "A6000",
    "llvmpipe",
  ]);
});

it("says what there is where the kind is not", async () => {
  host(() => "llvmpipe");
  await expect(given("gpu")).rejects.toThrow(
    "--device gpu: there is no GPU that WebGPU can use, but llvmpipe, which computes on the CPU: --device cpu takes it",
  );
  host(() => "A6000");
  await expect(given("cpu")).rejects.toMatchObject({ name: "UnsupportedError", code: "no-adapter" });
  host(() => null);
  await expect(given("gpu")).rejects.toThrow(/^--device gpu: there is no GPU that WebGPU can use$/);
  expect(await given("auto")).toBeUndefined();
});
