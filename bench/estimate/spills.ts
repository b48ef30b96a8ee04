// `--spills`: which kernels of the examples keep registers in memory, on which chips. All kernels of all entries and training steps,
// each text with its constants once: sizes are in uniforms, so they are what any call of any size runs. In: chips. Out: a row for each.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { build, check } from "../../compiler/core/index.ts";
import { readText, root } from "../paths.ts";
import { targetFor } from "./calls.ts";
import { type Chip, chips } from "./chips.ts";
import { type KernelText, MachineCodes } from "./machine-code.ts";
import { type Found, isMissing, partsFor } from "./parts.ts";

export interface ExampleKernel extends KernelText {
  /** File, model and kernel, of the first that has it. */
  readonly name: string;
}
export interface SpillRow {
  readonly chip: string;
  readonly title: string;
  /** That were looked at. */
  readonly kernels: number;
  /** Of the examples, where not all were looked at. */
  readonly all?: number;
  readonly spills: readonly { readonly kernel: string; readonly registers: number }[];
  readonly failed: readonly { readonly kernel: string; readonly why: string }[];
}

const EXAMPLES = "dsl-examples";

/** Of the models of the examples, or of the files that are wanted. */
export function exampleKernels(
  target: string,
  wanted: (file: string) => boolean = () => true,
): ExampleKernel[] {
  const files = readdirSync(join(root, EXAMPLES)).filter((file) => file.endsWith(".mdl"));
  const read = (file: string): string => readText(`${EXAMPLES}/${file}`);
  const resolve = (path: string): string | undefined => (files.includes(path) ? read(path) : undefined);
  const all = new Map<string, ExampleKernel>();
  for (const file of files.filter(wanted).sort()) {
    const text = read(file);
    for (const model of check(text, file, { resolve }).models!) {
      const { artefact } = build(model, { targets: [target], source: { file, text } });
      for (const { name, text: index, constants } of artefact.programs[0].kernels) {
        const code = artefact.texts[index];
        const key = code + JSON.stringify(constants ?? {});
        if (!all.has(key)) all.set(key, { name: `${file}: ${model.name}: ${name}`, code, constants });
      }
    }
  }
  return [...all.values()];
}

export function spillsOf(kernels: readonly ExampleKernel[], chip: Chip, codes: MachineCodes): SpillRow {
  const spills: { kernel: string; registers: number }[] = [];
  const failed: { kernel: string; why: string }[] = [];
  for (const kernel of kernels) {
    const found = codes.registers(kernel, chip);
    if ("error" in found) failed.push({ kernel: kernel.name, why: found.error });
    else if (found.spilled > 0) spills.push({ kernel: kernel.name, registers: found.spilled });
  }
  return { chip: chip.name, title: chip.title, kernels: kernels.length, spills, failed };
}

/**
 * The rows; or in words why there can be none on this machine. `above`: where it is said, one chip of AMD's (the first that is
 * named, or navi21) has all kernels, and the others those that take more registers than that on it: compiling takes time, and
 * what needs a third of them there does not need all of them elsewhere.
 */
export function spills(
  names: readonly string[],
  above: number | undefined,
  say: (line: string) => void,
): Found<readonly SpillRow[]> {
  const wanted = names.map((name) => chips.find((c) => c.name === name)!);
  const parts = partsFor(wanted, say);
  if (isMissing(parts)) return parts;
  const { dawn, nvidia, needsNvidia } = parts;
  if (isMissing(nvidia) && needsNvidia) return nvidia;
  // NVIDIA's compiler is given what one of AMD's chips was compiled from.
  const first = wanted.find((c) => c.vendor === "amd") ?? chips.find((c) => c.vendor === "amd")!;
  const made = new Map<string, { readonly all: ExampleKernel[]; readonly large: ExampleKernel[] }>();
  const kernelsFor = (target: string) => {
    const known = made.get(target);
    if (known) return known;
    const all = exampleKernels(target);
    const codes = new MachineCodes(dawn, nvidia, [first]);
    if (above !== undefined) codes.prepare(all, say);
    const large = all.filter((kernel) => {
      if (above === undefined) return true;
      const found = codes.registers(kernel, first);
      return "error" in found || found.registers > above;
    });
    made.set(target, { all, large });
    return { all, large };
  };
  return wanted.map((chip) => {
    const { all, large } = kernelsFor(targetFor(chip));
    const looked = chip === first ? all : large;
    const codes = new MachineCodes(dawn, nvidia, chip.vendor === "amd" ? [chip] : [first]);
    codes.prepare(looked, say);
    const row = { ...spillsOf(looked, chip, codes), all: all.length };
    // A run may take an hour: what it has come to.
    say(
      `${chip.name}: ${row.kernels} kernels, ${row.spills.length} spill, ${row.failed.length} not compiled`,
    );
    return row;
  });
}
