// What the estimate needs from elsewhere, found, and with `setUp` fetched: Mesa's RADV and a C compiler from the system's packages,
// NVRTC and nvdisasm from PyPI. What is built lies below node_modules/.cache. In: nothing. Out: paths, or why there are none.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { estimatorRecipe, install } from "../../scripts/system-packages.mjs";
import { readText, root } from "../paths.ts";

/** All that is fetched, built or kept. */
export const cache = join(root, "node_modules", ".cache", "mdl", "estimate");
const here = join(root, "bench", "estimate");
const packages = join(cache, "pypi");

/** Others compile to other machine code. */
const PYPI = ["nvidia-cuda-nvrtc-cu12==12.9.86", "nvidia-cuda-nvdisasm==13.5.37"];

/** AMD's half: also where SPIR-V comes from, so NVIDIA's needs it too. */
export interface DawnParts {
  readonly radv: string;
  readonly driver: string;
  /** Other machine code may come of another of these. */
  readonly version: string;
}
export interface NvidiaParts {
  readonly nvrtc: string;
  readonly library: string;
  readonly disassembler: string;
  readonly version: string;
}
/** What is there, or in words why it is not. */
export type Found<T> = T | { readonly missing: string };
export const isMissing = <T extends object>(found: Found<T>): found is { readonly missing: string } =>
  "missing" in found;

const FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
const library = (name: string): string | undefined =>
  FOLDERS.map((folder) => join(folder, name)).find((file) => existsSync(file));
/** Of a file that another build replaces. */
const stamp = (file: string): string => {
  const { size, mtimeMs } = statSync(file);
  return `${size}-${Math.floor(mtimeMs)}`;
};

/** Builds a C source where it was not, and says what went wrong. */
function built(source: string, name: string, options: readonly string[]): Found<{ readonly file: string }> {
  const text = readText(`bench/estimate/native/${source}`);
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 12);
  const file = join(cache, `${hash}-${name}`);
  if (existsSync(file)) return { file };
  mkdirSync(cache, { recursive: true });
  const compiler = ["cc", "gcc", "clang"].find((c) => spawnSync(c, ["--version"]).status === 0);
  if (!compiler) return { missing: "there is no C compiler" };
  const run = spawnSync(compiler, ["-O1", ...options, join(here, "native", source), "-o", file, "-ldl"], {
    encoding: "utf8",
  });
  if (run.status === 0) return { file };
  return { missing: `${source} does not compile: ${/error: .*/.exec(run.stderr)?.[0] ?? run.stderr}` };
}

export function dawnParts(): Found<DawnParts> {
  if (process.platform !== "linux") return { missing: "Mesa's driver for absent GPUs is for Linux" };
  const radv = library("libvulkan_radeon.so");
  if (!radv) return { missing: "Mesa's Vulkan driver for AMD is not installed (mesa-vulkan-drivers)" };
  if (!library("libvulkan.so.1")) return { missing: "the Vulkan loader is not installed (libvulkan1)" };
  if (!existsSync("/usr/include/vulkan/vulkan.h"))
    return { missing: "Vulkan's headers are not installed (libvulkan-dev)" };
  const driver = built("null-driver.c", "null-driver.so", ["-shared", "-fPIC"]);
  if (isMissing(driver)) return driver;
  const dawn = JSON.parse(readText("node_modules/webgpu/package.json")) as { readonly version: string };
  return { radv, driver: driver.file, version: `${dawn.version} ${stamp(radv)} ${basename(driver.file)}` };
}

/** Below a folder, whatever versions lie between. */
function below(folder: string, name: RegExp): string | undefined {
  if (!existsSync(folder)) return undefined;
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const file = all.find((f) => name.test(f));
  return file === undefined ? undefined : join(folder, file);
}

export function nvidiaParts(): Found<NvidiaParts> {
  const nvrtcLibrary = below(packages, /(^|\/)libnvrtc\.so\.\d+$/);
  const disassembler = below(packages, /(^|\/)bin\/nvdisasm$/);
  if (!nvrtcLibrary || !disassembler)
    return { missing: "NVRTC and nvdisasm are not there: npm run bench -- --estimate a6000 fetches them" };
  const nvrtc = built("nvrtc.c", "nvrtc", []);
  if (isMissing(nvrtc)) return nvrtc;
  return {
    nvrtc: nvrtc.file,
    library: nvrtcLibrary,
    disassembler,
    version: `${stamp(nvrtcLibrary)} ${basename(nvrtc.file)}`,
  };
}

/** Fetches what is missing, where we may (MDL_NO_INSTALL: nothing is). */
function setUp(nvidia: boolean, say: (line: string) => void): void {
  if (isMissing(dawnParts())) {
    const recipe = estimatorRecipe();
    if (recipe) install(recipe, say);
  }
  if (!nvidia || !isMissing(nvidiaParts()) || process.env.MDL_NO_INSTALL) return;
  say("fetching NVRTC and nvdisasm from PyPI (95 MB)");
  const run = spawnSync(
    "python3",
    [
      ...[
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--target",
        packages,
      ],
      ...PYPI,
    ],
    { encoding: "utf8", timeout: 600_000 },
  );
  if (run.status !== 0)
    say(`that failed: ${run.error?.message ?? run.stderr.trim().split("\n").at(-1) ?? "no reason given"}`);
}

/** What chips are compiled by, fetched where it may be. */
export interface Parts {
  readonly dawn: DawnParts;
  /** Missing only where no chip asks for it, or it cannot be had. */
  readonly nvidia: Found<NvidiaParts>;
  /** Whether a chip asks for NVIDIA's. */
  readonly needsNvidia: boolean;
}
export function partsFor(
  chips: readonly { readonly vendor: string }[],
  say: (line: string) => void,
): Found<Parts> {
  const needsNvidia = chips.some((c) => c.vendor === "nvidia");
  setUp(needsNvidia, say);
  const dawn = dawnParts();
  return isMissing(dawn) ? dawn : { dawn, nvidia: nvidiaParts(), needsNvidia };
}

/** NVRTC's own libraries lie beside it. */
export const nvidiaEnvironment = ({ library: file }: NvidiaParts): NodeJS.ProcessEnv => ({
  ...process.env,
  NVRTC: file,
  LD_LIBRARY_PATH: dirname(file),
});
