// The kernels of a program, shared: two groups whose kernels differ in names only are one kernel with one pipeline.
// In: scheduled groups. Out: Kernel rows, and texts by the target's backend, each headed by what uses it.
import type { Kernel } from "../../../../runtime/core/program.ts";
import type { AccessMode, Backend } from "../../backends/backend.ts";
import { asConst, type Dim } from "../../dims/dim.ts";
import { typeText } from "../../ir/build.ts";
import type { KernelCode } from "../../kernel/code.ts";
import { kernelKey } from "../../kernel/key.ts";

interface Entry {
  readonly code: KernelCode;
  /** How its buffers are bound. */
  readonly access: readonly AccessMode[];
  readonly name: string;
  readonly sites: Set<string>;
  /** Grid, operands and sizes at the first site. */
  readonly about: readonly string[];
}

/** The texts of all programs' kernels, each once. */
export class KernelTexts {
  /** Short texts, or such as are for people. */
  readonly minify: boolean;
  readonly texts: string[] = [];
  private readonly known = new Map<string, number>();

  constructor(minify: boolean) {
    this.minify = minify;
  }
  /** The text's place. */
  add(text: string): number {
    let at = this.known.get(text);
    if (at === undefined) {
      at = this.texts.length;
      this.known.set(text, at);
      this.texts.push(text);
    }
    return at;
  }
}

/** Header lines: what a reader needs to follow the numbers. */
function aboutKernel(code: KernelCode, groups: Dim, uniforms: readonly Dim[]): string[] {
  const operands = code.buffers.map((b) => `${b.name}: ${typeText(b.value.type)}`);
  const sizes = code.uniforms
    .map((u, i) => `${u.name} = ${uniforms[i].key}`)
    .filter((_, i) => (asConst(uniforms[i]) ?? 0) > -1e6 && (asConst(uniforms[i]) ?? 0) < 1e9);
  return [
    operands.join(", "),
    `grid: ${groups.key} workgroups of ${code.workgroup}`,
    ...(sizes.length > 0 ? [`there: ${sizes.join(", ")}`] : []),
  ];
}

export class KernelTable {
  private readonly entries: Entry[] = [];
  private readonly byKey = new Map<string, number>();
  private readonly names = new Map<string, number>();

  /** Index of the kernel with this code, bound so; `site` says who uses it (shapes, source line). */
  add(
    code: KernelCode,
    access: readonly AccessMode[],
    site: string,
    groups: Dim,
    uniforms: readonly Dim[],
  ): number {
    const key = kernelKey(code, access);
    let index = this.byKey.get(key);
    if (index === undefined) {
      index = this.entries.length;
      const n = this.names.get(code.name) ?? 0;
      this.names.set(code.name, n + 1);
      this.entries.push({
        code,
        access,
        name: n === 0 ? code.name : `${code.name}_${n + 1}`,
        sites: new Set(),
        about: aboutKernel(code, groups, uniforms),
      });
      this.byKey.set(key, index);
    }
    this.entries[index].sites.add(site);
    return index;
  }
  name(index: number): string {
    return this.entries[index].name;
  }
  code(index: number): KernelCode {
    return this.entries[index].code;
  }
  access(index: number): readonly AccessMode[] {
    return this.entries[index].access;
  }
  get count(): number {
    return this.entries.length;
  }
  /** Kernel rows; texts go to `texts`, shared with other programs. What all of the program requires (`given`) is not said again. */
  finish(backend: Backend, texts: KernelTexts, given: readonly string[]): Kernel[] {
    return this.entries.map((e) => {
      const sites = [...e.sites];
      const notes = [
        `${e.name}: ${e.code.family}`,
        ...sites.slice(0, 4),
        ...(sites.length > 4 ? [`and ${sites.length - 4} more`] : []),
        ...e.about,
      ];
      const printed = backend.print(e.code, { access: e.access, notes, minify: texts.minify });
      const asked = printed.features.filter((f) => !given.includes(f));
      return {
        name: e.name,
        text: texts.add(printed.text),
        access: e.access,
        uniformWords: 2 + e.code.uniforms.length,
        ...(asked.length > 0 ? { features: asked } : {}),
      };
    });
  }
}
