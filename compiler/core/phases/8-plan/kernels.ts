// The kernels of a program, shared: two groups whose kernels differ in names only are one kernel with one pipeline, and those
// that differ in their overrides, too, have one text.
// In: scheduled groups. Out: Kernel rows, and texts by the target's backend, each headed by what uses it.
import type { Kernel } from "../../../../runtime/core/program.ts";
import type { AccessMode, Backend, PrintedKernel } from "../../backends/backend.ts";
import { asConst } from "../../dims/dim.ts";
import { typeText } from "../../ir/build.ts";
import type { KernelCode } from "../../kernel/code.ts";
import { kernelKey } from "../../kernel/key.ts";
import type { Launch } from "../../kernel/launch.ts";

/** Workgroups that draw: as many as an adapter may have threads. */
const DRAWING = 64;

interface Entry {
  readonly code: KernelCode;
  /** How its buffers are bound. */
  readonly access: readonly AccessMode[];
  readonly name: string;
  readonly sites: Set<string>;
  /** Grid, operands and sizes at the first site. */
  readonly about: readonly string[];
}
/** An entry with values for its overrides: a pipeline. */
interface Row {
  readonly entry: Entry;
  readonly name: string;
  readonly overrides: readonly number[];
  /** No launch of it is for usual calls. */
  spare: boolean;
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
function aboutKernel({ code, groups, uniforms, overrides, buffers }: Launch): string[] {
  const operands = code.buffers.map((b, i) => `${b.name}: ${typeText(buffers[i].value.type)}`);
  const sizes = code.uniforms
    .map((u, i) => `${u.name} = ${uniforms[i].key}`)
    .filter((_, i) => (asConst(uniforms[i]) ?? 0) > -1e6 && (asConst(uniforms[i]) ?? 0) < 1e9);
  sizes.push(...code.overrides.map((o, i) => `${o.name} = ${overrides[i]}`));
  return [
    operands.join(", "),
    `grid: ${groups.key} workgroups of ${code.workgroup}`,
    ...(sizes.length > 0 ? [`there: ${sizes.join(", ")}`] : []),
  ];
}

/** Launches share code. */
const keys = new WeakMap<KernelCode, Map<string, string>>();
function keyOf(code: KernelCode, access: readonly AccessMode[]): string {
  const known = keys.get(code) ?? new Map<string, string>();
  keys.set(code, known);
  const how = access.join();
  const key = known.get(how) ?? kernelKey(code, access);
  known.set(how, key);
  return key;
}

export class KernelTable {
  private readonly entries: Entry[] = [];
  private readonly rows: Row[] = [];
  private readonly entryOf = new Map<string, Entry>();
  private readonly rowOf = new Map<string, number>();
  private readonly names = new Map<string, number>();

  /** Index of the kernel of this launch, bound so; `site` says who uses it (shapes, source line). */
  add(launch: Launch, access: readonly AccessMode[], site: string): number {
    const { code, overrides } = launch;
    const key = keyOf(code, access);
    const whole = `${overrides.join()}|${key}`;
    let index = this.rowOf.get(whole);
    if (index === undefined) {
      index = this.rows.length;
      const n = this.names.get(code.name) ?? 0;
      this.names.set(code.name, n + 1);
      const name = n === 0 ? code.name : `${code.name}_${n + 1}`;
      let entry = this.entryOf.get(key);
      if (!entry) {
        entry = { code, access, name, sites: new Set(), about: aboutKernel(launch) };
        this.entries.push(entry);
        this.entryOf.set(key, entry);
      }
      this.rows.push({ entry, name, overrides, spare: true });
      this.rowOf.set(whole, index);
    }
    const row = this.rows[index];
    row.spare &&= launch.spare ?? false;
    row.entry.sites.add(site);
    return index;
  }
  name(i: number): string {
    return this.rows[i].name;
  }
  code(i: number): KernelCode {
    return this.rows[i].entry.code;
  }
  access(i: number): readonly AccessMode[] {
    return this.rows[i].entry.access;
  }
  /** The kernel's text is that of another one, before it: by name. */
  like(i: number): string | undefined {
    const { name, entry } = this.rows[i];
    return entry.name === name ? undefined : entry.name;
  }
  /** Constants of its pipeline. */
  constants(i: number): string {
    const { entry, overrides } = this.rows[i];
    return entry.code.overrides.map((o, n) => `${o.name} = ${overrides[n]}`).join(", ");
  }
  get count(): number {
    return this.rows.length;
  }
  /** Kernel rows; texts go to `texts`, shared with other programs. What all of the program requires (`given`) is not said again. */
  finish(backend: Backend, texts: KernelTexts, given: readonly string[]): Kernel[] {
    const printed = new Map(
      this.entries.map((e) => {
        const sites = [...e.sites];
        const notes = [
          `${e.name}: ${e.code.family}`,
          ...sites.slice(0, 4),
          ...(sites.length > 4 ? [`and ${sites.length - 4} more`] : []),
          ...e.about,
        ];
        return [e, backend.print(e.code, { access: e.access, notes, minify: texts.minify })];
      }),
    );
    return this.rows.map(({ entry, name, overrides, spare }) => {
      const { text, features, overrides: words } = printed.get(entry) as PrintedKernel;
      const asked = features.filter((f) => !given.includes(f));
      return {
        name,
        text: texts.add(text),
        access: entry.access,
        uniformWords: 2 + entry.code.uniforms.length,
        ...(asked.length > 0 ? { features: asked } : {}),
        ...(entry.code.draws ? { draws: DRAWING } : {}),
        ...(spare ? { spare } : {}),
        ...(words.length > 0
          ? { constants: Object.fromEntries(words.map((word, i) => [word, overrides[i]])) }
          : {}),
      };
    });
  }
}
