// The kernels of a program, shared: two groups whose texts differ in names only are one kernel with one pipeline.
// In: scheduled groups. Out: Kernel rows and texts, each headed by what uses it.
import type { Kernel } from "../../../../runtime/core/program.ts";
import { asConst, type Dim } from "../../dims/dim.ts";
import { typeText } from "../../ir/build.ts";
import type { KernelCode } from "../../kernel/code.ts";
import { canonicalText, printKernel } from "../../kernel/wgsl.ts";

interface Entry {
  readonly code: KernelCode;
  readonly name: string;
  readonly body: string;
  readonly sites: string[];
  /** Grid, operands and sizes at the first site. */
  readonly about: readonly string[];
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
  private readonly byText = new Map<string, number>();
  private readonly names = new Map<string, number>();

  /** Index of the kernel with this code; `site` says who uses it (shapes, source line). */
  add(code: KernelCode, site: string, groups: Dim, uniforms: readonly Dim[]): number {
    const body = printKernel(code).text;
    const key = canonicalText(body);
    let index = this.byText.get(key);
    if (index === undefined) {
      index = this.entries.length;
      const n = this.names.get(code.name) ?? 0;
      this.names.set(code.name, n + 1);
      this.entries.push({
        code,
        name: n === 0 ? code.name : `${code.name}_${n + 1}`,
        body,
        sites: [],
        about: aboutKernel(code, groups, uniforms),
      });
      this.byText.set(key, index);
    }
    const sites = this.entries[index].sites;
    if (!sites.includes(site)) sites.push(site);
    return index;
  }
  name(index: number): string {
    return this.entries[index].name;
  }
  code(index: number): KernelCode {
    return this.entries[index].code;
  }
  get count(): number {
    return this.entries.length;
  }
  /** Kernel rows; texts go to `texts`, shared with other programs. What all of the program requires (`given`) is not said again. */
  finish(texts: string[], known: Map<string, number>, given: readonly string[]): Kernel[] {
    return this.entries.map((e) => {
      const notes = [
        `${e.name}: ${e.code.family}`,
        ...e.sites.slice(0, 4),
        ...(e.sites.length > 4 ? [`and ${e.sites.length - 4} more`] : []),
        ...e.about,
      ];
      const { text, features } = printKernel(e.code, notes);
      const asked = features.filter((f) => !given.includes(f));
      let at = known.get(text);
      if (at === undefined) {
        at = texts.length;
        known.set(text, at);
        texts.push(text);
      }
      return {
        name: e.name,
        text: at,
        access: e.code.buffers.map((b) => b.access),
        uniformWords: 1 + e.code.uniforms.length,
        ...(asked.length > 0 ? { features: asked } : {}),
      };
    });
  }
}
