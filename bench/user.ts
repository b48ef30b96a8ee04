// `--model FILE`: a model of the user's as a workload. In: an .mdl or .onnx file and sizes. Out: plain data that the processes
// are started with, and the workload it stands for. Inputs are hash-made; an .mdl model begins as seed 0 makes it and is held
// to the reference evaluator; what an .onnx file must give nobody knows here, so its systems are held to each other.
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { beginning } from "../compiler/cli/weights.ts";
import { compile, dense, ReferenceNet, type SetValue } from "../compiler/core/index.ts";
import { evaluateRow } from "../runtime/core/expr.ts";
import type { EntryPlan } from "../runtime/core/program.ts";
import { evaluateHost } from "../runtime/core/train.ts";
import { integers, signed } from "../test/support/hashing.ts";
import { UsageError } from "./options.ts";
import { root } from "./paths.ts";
import { type Expected, keep } from "./reference.ts";
import { peerFile } from "./systems/peers.ts";
import { type MdlModel, STEPS, type Workload, type WorkloadData } from "./workload.ts";

interface UserPort {
  readonly shape: readonly number[];
  readonly dtype: "f32" | "i32";
  /** Of ints. */
  readonly below: number;
}

export interface UserModel {
  readonly name: string;
  readonly file: string;
  readonly inputs: Readonly<Record<string, UserPort>>;
  readonly mdl?: MdlModel;
  readonly training: boolean;
  readonly expected?: Readonly<Record<string, Expected>>;
}

export interface UserOptions {
  readonly entry?: string;
  readonly model?: string;
  readonly set: Readonly<Record<string, SetValue>>;
  /** Of symbols. */
  readonly sizes: Readonly<Record<string, number>>;
}

export function userWorkload({ name, file, inputs, mdl, training, expected }: UserModel): Workload {
  return {
    name,
    what: file,
    flops: 0,
    training,
    mdl,
    onnx: mdl ? undefined : file,
    data: () => ({ inputs: made(inputs), weights: new Map(), expected }),
  };
}

const made = (ports: UserModel["inputs"]): WorkloadData["inputs"] =>
  Object.fromEntries(
    Object.entries(ports).map(([name, { shape, dtype, below }]) => [
      name,
      { shape, data: dtype === "i32" ? integers(name, shape, below) : signed(name, shape) },
    ]),
  );

export async function userModel(file: string, options: UserOptions): Promise<UserModel> {
  if (!existsSync(file)) throw new UsageError(`--model: there is no ${file}`);
  const kind = extname(file).toLowerCase();
  if (kind === ".mdl") return ofSource(resolve(file), options);
  if (kind === ".onnx") return ofOnnx(resolve(file), options);
  throw new UsageError(`--model takes an .mdl or .onnx file, given ${file}`);
}

function sized(sizes: UserOptions["sizes"], name: string, where: string): number {
  if (!Object.hasOwn(sizes, name)) throw new UsageError(`${where} has a size ${name}: give --size ${name}=…`);
  return sizes[name];
}

// ------------------------------------------------------------------------------------------ .mdl

function ofSource(path: string, { entry, model, set, sizes }: UserOptions): UserModel {
  const source = readFileSync(path, "utf8");
  const imports = (name: string): string | undefined => {
    const found = join(dirname(path), name);
    return existsSync(found) ? readFileSync(found, "utf8") : undefined;
  };
  const all = compile(source, path, { resolve: imports, model, set, entries: [] });
  const known = [...all.model.entries.map((e) => e.name), ...all.model.trains.map((t) => `${t.name}_step`)];
  const picked = entry ?? known[0];
  if (!known.includes(picked)) throw new UsageError(`--entry: ${all.name} has ${known.join(", ")}`);
  const compiled = compile(source, path, { resolve: imports, model, set, entries: [picked] });
  const [{ entries }] = compiled.artefact.programs;
  const plan = entries.find((e) => e.name === picked)!;
  const inputs = portsOf(plan, sizes);
  const training = plan.train !== undefined;

  const net = new ReferenceNet(compiled.reference, {
    tensors: Object.fromEntries(
      [...beginning(compiled.artefact, undefined, 0)].map(([spec, data]) => [
        spec.path,
        dense(spec.dtype, spec.shape, data as never),
      ]),
    ),
    seed: [0, 0],
    totalSteps: STEPS,
    evaluateHost,
  });
  const given = Object.fromEntries(
    Object.entries(made(inputs)).map(([name, { shape, data }]) => [
      name,
      dense(inputs[name].dtype, shape, data),
    ]),
  );
  const expected = training
    ? {
        losses: keep(Array.from({ length: STEPS }, () => net.step(plan.train!.block, given)["loss"].data[0])),
      }
    : Object.fromEntries(
        Object.entries(net.call(picked, given)).map(([name, { data }]) => [name, keep(data)]),
      );
  const file = relative(root, path);
  const mdl: MdlModel = { file, entry: picked, options: { model: all.name, set, entries: [picked] } };
  return { name: `${all.name}.${picked}`, file, inputs, mdl, training, expected };
}

function portsOf(plan: EntryPlan, sizes: UserOptions["sizes"]): Record<string, UserPort> {
  const names = new Map(plan.symbols.map(({ name }) => [name, sized(sizes, name, plan.name)]));
  return Object.fromEntries(
    plan.inputs.map((port) => {
      const { name, dtype, shape, indexes = [] } = port;
      if (dtype !== "f32" && dtype !== "i32")
        throw new UsageError(`${plan.name}'s input ${name} is ${dtype}: only f32 and i32 are made here`);
      const size = (id: number): number => evaluateRow(plan.body.exprs, id, names);
      const below = Math.min(2 ** 20, ...indexes.map(({ extent }) => size(extent)));
      return [name, { shape: shape.map(size), dtype, below: indexes.length > 0 ? below : 2 }];
    }),
  );
}

// ------------------------------------------------------------------------------------------ .onnx

interface OnnxPort {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

async function ofOnnx(path: string, { sizes }: UserOptions): Promise<UserModel> {
  const { ports } = await peerFile<{ ports(model: Uint8Array): Promise<readonly OnnxPort[]> }>("ort.mjs");
  const inputs: Record<string, UserPort> = {};
  for (const { name, type, shape } of await ports(readFileSync(path))) {
    if (!["float32", "int32", "int64"].includes(type))
      throw new UsageError(
        `${path}: its input ${name} is ${type}: only float32, int32 and int64 are made here`,
      );
    const known = shape.map((d) => (typeof d === "number" ? d : sized(sizes, d, basename(path))));
    inputs[name] = { shape: known, dtype: type === "float32" ? "f32" : "i32", below: 2 };
  }
  return { name: basename(path, ".onnx"), file: path, inputs, training: false };
}
