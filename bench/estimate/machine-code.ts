// Machine code of kernels for chips that are not here. AMD: Dawn opens Mesa's RADV through native/null-driver.c, so the way is the
// browser's own: Tint with its bounds checks, NIR, ACO. NVIDIA: the SPIR-V that Tint made, as CUDA C++ (spirv/cuda.ts) through
// NVRTC. In: texts with their constants. Out: listings with what the compilers say of registers; kept below node_modules/.cache.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { readText, root } from "../paths.ts";
import type { AmdChip, Chip, NvidiaChip } from "./chips.ts";
import type { MachineCode } from "./figures.ts";
import {
  cache,
  type DawnParts,
  type Found,
  isMissing,
  type NvidiaParts,
  nvidiaEnvironment,
} from "./parts.ts";
import { toCuda } from "./spirv/cuda.ts";
import { parseSpirv, type SpirvModule, workgroupBytes } from "./spirv/module.ts";

export interface KernelText {
  readonly code: string;
  readonly constants?: Readonly<Record<string, number>>;
}
export type Compiled = { readonly machine: MachineCode } | { readonly error: string };
/** What a compiler says of registers: of `Compiled`, what needs no listing. */
export type Registers = Pick<MachineCode, "registers" | "spilled" | "scratch"> | { readonly error: string };

/** What Dawn and RADV said, as it is kept. */
interface Executable {
  readonly subgroupSize: number;
  readonly statistics: Readonly<Record<string, number>>;
  readonly texts: Readonly<Record<string, string>>;
}
interface FromDawn {
  readonly error?: string;
  readonly executable?: Executable;
  /** Base64. */
  readonly spirv?: string;
}

/** As `toCuda` says how many threads a workgroup has. */
const BOUNDS = /__launch_bounds__\((\d+)\)/;
/** Pipelines of a process. */
const AT_ONCE = 24;
/** Compiled for where no chip of AMD's is asked for: SPIR-V is the same for all. */
const ANY_CHIP = "navi21";

export const keyOf = (...parts: readonly unknown[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
export function kept<T>(key: string): T | undefined {
  const file = join(cache, "kernels", key);
  return existsSync(file) ? (JSON.parse(gunzipSync(readFileSync(file)).toString()) as T) : undefined;
}
export function keep(key: string, value: unknown): void {
  mkdirSync(join(cache, "kernels"), { recursive: true });
  writeFileSync(join(cache, "kernels", key), gzipSync(JSON.stringify(value)));
}
const entryOf = (code: string): string => /@compute[\s\S]*?fn\s+(\w+)/.exec(code)?.[1] ?? "main";

/** Compilers for texts that are told first, so that they are compiled many at a time. */
export class MachineCodes {
  private readonly modules = new Map<string, SpirvModule | undefined>();

  private readonly dawn: DawnParts;
  private readonly nvidia: Found<NvidiaParts>;
  /** Of AMD's. */
  private readonly chips: readonly string[];

  constructor(dawn: DawnParts, nvidia: Found<NvidiaParts>, chips: readonly Chip[]) {
    this.dawn = dawn;
    this.nvidia = nvidia;
    const amd = chips.filter((c) => c.vendor === "amd").map((c) => c.name);
    this.chips = amd.length > 0 ? amd : [ANY_CHIP];
  }

  /** Compiles what was not compiled before. */
  prepare(texts: readonly KernelText[], say: (line: string) => void): void {
    for (const name of this.chips) this.throughDawn(texts, name, say);
  }

  compiled(text: KernelText, chip: Chip): Compiled {
    return chip.vendor === "amd" ? this.amd(text, chip) : this.throughNvrtc(text, chip);
  }

  /** The same in half the time, without a listing of it. */
  registers(text: KernelText, chip: Chip): Registers {
    if (chip.vendor === "nvidia")
      return this.withoutSpills(text, (source, parts) => this.nvrtcRegisters(source, chip, parts));
    const found = this.amd(text, chip);
    return "error" in found ? found : found.machine;
  }

  /** Of all that its machine code depends on. */
  key(text: KernelText, chip: Chip): string {
    const nvidia = isMissing(this.nvidia) ? "" : this.nvidia.version;
    return chip.vendor === "amd"
      ? this.dawnKey(text, chip.name)
      : keyOf(text.code, text.constants, nvidia, chip.sm);
  }

  /** Tint's SPIR-V, where it got that far. */
  spirv(text: KernelText): SpirvModule | undefined {
    const key = keyOf(text.code, text.constants);
    if (!this.modules.has(key)) {
      const { spirv } = this.fromDawn(text, this.chips[0]);
      const bytes = spirv === undefined ? undefined : Uint8Array.from(Buffer.from(spirv, "base64"));
      this.modules.set(key, bytes && parseSpirv(new Uint32Array(bytes.buffer)));
    }
    return this.modules.get(key);
  }

  private dawnKey({ code, constants }: KernelText, chip: string): string {
    return keyOf("dawn", this.dawn.version, code, constants, chip);
  }
  private fromDawn(text: KernelText, chip: string): FromDawn {
    const found = kept<FromDawn>(this.dawnKey(text, chip));
    if (found) return found;
    this.throughDawn([text], chip, () => {});
    return kept<FromDawn>(this.dawnKey(text, chip)) ?? { error: "it was not compiled" };
  }

  private throughDawn(texts: readonly KernelText[], chip: string, say: (line: string) => void): void {
    const missing = new Map(texts.map((text) => [this.dawnKey(text, chip), text]));
    for (const key of missing.keys()) if (existsSync(join(cache, "kernels", key))) missing.delete(key);
    const list = [...missing];
    if (list.length > 1) say(`${list.length} kernels for ${chip}`);
    for (let from = 0; from < list.length; from += AT_ONCE) {
      const part = list.slice(from, from + AT_ONCE);
      const folder = mkdtempSync(join(tmpdir(), "mdl-estimate-"));
      const at = (name: string): string => join(folder, name);
      mkdirSync(at("spirv"));
      const icd = {
        file_format_version: "1.0.0",
        ICD: { library_path: this.dawn.driver, api_version: "1.3.0" },
      };
      writeFileSync(at("icd.json"), JSON.stringify(icd));
      const jobs = part.map(([, { code, constants }]) => ({ code, constants, entry: entryOf(code) }));
      writeFileSync(at("job.json"), JSON.stringify(jobs));
      const run = spawnSync(
        process.execPath,
        [join(root, "bench", "estimate", "dawn.mjs"), at("job.json"), at("result.json")],
        {
          encoding: "utf8",
          env: {
            ...process.env,
            XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? folder,
            ESTIMATE_OUT: at("statistics"),
            ESTIMATE_SPIRV: at("spirv"),
            ESTIMATE_DRIVER: this.dawn.radv,
            VK_DRIVER_FILES: at("icd.json"),
            VK_ICD_FILENAMES: at("icd.json"),
            RADV_FORCE_FAMILY: chip,
            MESA_SHADER_CACHE_DISABLE: "true",
          },
        },
      );
      const done = existsSync(at("result.json"))
        ? (JSON.parse(readFileSync(at("result.json"), "utf8")) as FromDawn[])
        : undefined;
      rmSync(folder, { recursive: true });
      if (!done) {
        const why = /^.*Error.*$/m.exec(run.stderr)?.[0] ?? run.stderr.trim().split("\n").at(-1);
        throw new Error(`Dawn did not get through for ${chip} (${run.signal ?? run.status}): ${why}`);
      }
      part.forEach(([key], i) => {
        keep(key, done[i]);
      });
    }
  }

  private amd(text: KernelText, chip: AmdChip): Compiled {
    const { error, executable } = this.fromDawn(text, chip.name);
    if (!executable) return { error: error ?? "no pipeline came of it" };
    const { subgroupSize: wave, statistics: s, texts } = executable;
    const waves = chip.generation >= 10 ? s["Subgroups per SIMD"] / (wave / 32) : s["Subgroups per SIMD"];
    return {
      machine: {
        listing: texts["Assembly"],
        wave,
        registers: s["VGPRs"],
        spilled: s["Spilled VGPRs"] + s["Spilled SGPRs"],
        scratch: s["Scratch size"] ?? 0,
        shared: s["LDS size"],
        waves,
      },
    };
  }

  private throughNvrtc(text: KernelText, chip: NvidiaChip): Compiled {
    const found = this.withoutSpills(text, (source, parts, module) => {
      const compiled = this.nvrtc(source, chip, workgroupBytes(module), parts);
      return "error" in compiled ? compiled : { ...compiled, spilled: compiled.machine.spilled };
    });
    return found;
  }

  /** A kernel as CUDA C++, compiled; in another way where registers go to memory and that helps. */
  private withoutSpills<T extends { readonly spilled: number }>(
    text: KernelText,
    compile: (source: string, parts: NvidiaParts, module: SpirvModule) => T | { readonly error: string },
  ): T | { readonly error: string } {
    const parts = this.nvidia;
    if (isMissing(parts)) return { error: parts.missing };
    const module = this.spirv(text);
    if (!module) return { error: this.fromDawn(text, this.chips[0]).error ?? "there is no SPIR-V of it" };
    let source: string;
    try {
      source = `${readText("bench/estimate/native/prelude.cu")}\n${toCuda(module)}`;
    } catch (error) {
      return { error: (error as Error).message };
    }
    const compiled = compile(source, parts, module);
    if ("error" in compiled || compiled.spilled === 0) return compiled;
    // ptxas gives up a few registers so that more workgroups fit, unless it hears that one is enough; it also moves loads out
    // of loops until a few do not fit, unless it hears nothing.
    for (const bounds of ["__launch_bounds__($1, 1)", ""]) {
      const other = compile(source.replace(BOUNDS, bounds), parts, module);
      if (!("error" in other) && other.spilled === 0) return other;
    }
    return compiled;
  }

  private nvrtc(source: string, chip: NvidiaChip, shared: number, parts: NvidiaParts): Compiled {
    const key = keyOf("nvrtc", parts.version, source, chip.sm);
    const found = kept<Compiled>(key);
    if (found) return found;
    const compiled = this.runNvrtc(source, chip, parts, (registers, binary): Compiled => {
      const { stdout: listing } = spawnSync(parts.disassembler, ["-hex", binary], {
        encoding: "utf8",
        maxBuffer: 1 << 28,
      });
      return { machine: { listing, wave: 32, shared, ...registers } };
    });
    keep(key, compiled);
    return compiled;
  }

  private nvrtcRegisters(source: string, chip: NvidiaChip, parts: NvidiaParts): Registers {
    const listed = kept<Compiled>(keyOf("nvrtc", parts.version, source, chip.sm));
    if (listed) return "error" in listed ? listed : listed.machine;
    const key = keyOf("registers", parts.version, source, chip.sm);
    const found = kept<Registers>(key);
    if (found) return found;
    const registers = this.runNvrtc(source, chip, parts, (said): Registers => said);
    keep(key, registers);
    return registers;
  }

  /** Compiles, and hands on what it says of registers, with the machine code as a file. */
  private runNvrtc<T>(
    source: string,
    chip: NvidiaChip,
    parts: NvidiaParts,
    then: (said: Pick<MachineCode, "registers" | "spilled" | "scratch">, binary: string) => T,
  ): T | { readonly error: string } {
    const folder = mkdtempSync(join(tmpdir(), "mdl-estimate-"));
    const at = (name: string): string => join(folder, name);
    writeFileSync(at("kernel.cu"), source);
    try {
      const run = spawnSync(parts.nvrtc, [at("kernel.cu"), chip.sm, at("kernel.cubin")], {
        encoding: "utf8",
        env: nvidiaEnvironment(parts),
      });
      if (run.status !== 0)
        return { error: `NVRTC: ${/error: .*/.exec(run.stdout + run.stderr)?.[0] ?? run.stderr}` };
      const said = (what: string): number =>
        Number(new RegExp(`(\\d+) bytes ${what}`).exec(run.stdout)?.[1] ?? 0);
      return then(
        {
          registers: Number(/Used (\d+) registers/.exec(run.stdout)?.[1] ?? 0),
          spilled: said("spill stores") / 4,
          scratch: said("stack frame"),
        },
        at("kernel.cubin"),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}
