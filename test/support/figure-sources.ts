// Sources in the language for figures that name a layer or a single operator: its result, and the gradients of the result
// along the figure's directions, as entries of a model.
import type { Figure, OperatorCase, Recipe } from "./figures.ts";

const typeOf = (dtype: string, shape: readonly number[]): string =>
  shape.length === 0 ? dtype : `${dtype}[${shape.join(", ")}]`;

const dtypeOf = (how: Recipe): string =>
  how.rule === "literal" ? how.dtype : how.rule === "integers" ? "i32" : "f32";

const attrText = (value: number | boolean | string | readonly number[]): string => JSON.stringify(value);

/** Entries `y` and `grad0`, `grad1`, … (for float operands); the direction is the input `direction`. */
export function operatorSource({ op, operands, attrs, shape }: OperatorCase): string {
  const inputs = operands.map((how, i) => `x${i}: ${typeOf(dtypeOf(how), how.shape)}`).join(", ");
  const names = operands.map((_, i) => `x${i}`);
  const named = Object.entries(attrs).map(([name, value]) => `${name} = ${attrText(value)}`);
  const direction = `direction: ${typeOf("f32", shape)}`;
  const all = [...names, "direction"].join(", ");
  const gradients = operands.flatMap((how, i) =>
    dtypeOf(how) === "f32"
      ? [`  fn grad${i}(${inputs}, ${direction}) { grad(total, wrt = x${i})(${all}) }`]
      : [],
  );
  const weighted = `y(${names.join(", ")}) * direction`;
  return [
    "model Operator {",
    `  fn y(${inputs}) { ${op}(${[...names, ...named].join(", ")}) }`,
    `  private fn total(${inputs}, ${direction}) -> f32 { ${shape.length === 0 ? weighted : `sum(${weighted})`} }`,
    ...gradients,
    "}",
    "",
  ].join("\n");
}

/**
 * A model around one instance, `it`, of the figure's layer: `call` gives its results, `total` their sum weighted by inputs
 * `direction_NAME`, `gradient0`, … the gradients of `total` by parameters and inputs in the order of `gradientNames`; the
 * train block `plain` makes a step of the gradient itself.
 */
export function layerSource(f: Figure): string {
  const layer = f.info.layer!;
  const set = Object.entries(f.info.set).map(([name, value]) => `${name} = ${value}`);
  const names = Object.keys(f.info.inputs);
  const inputs = names.map((name) => `${name}: ${typeOf("f32", f.info.inputs[name].shape)}`);
  const results = f.names("eval/result/");
  const call = `it(${names.join(", ")})`;
  const part = (name: string): string => (results.length === 1 ? call : `${call}.${name}`);
  const all = [
    ...inputs,
    ...results.map((name) => `direction_${name}: ${typeOf("f32", f.expected(`eval/result/${name}`).shape)}`),
  ].join(", ");
  const given = [...names, ...results.map((name) => `direction_${name}`)].join(", ");
  return [
    `import { ${layer} } from "std/nn"`,
    "model Layer {",
    `  it = ${layer}(${set.join(", ")})`,
    `  fn call(${inputs.join(", ")}) { ${call} }`,
    `  fn total(${all}) -> f32 { ${results.map((name) => `sum(${part(name)} * direction_${name})`).join(" + ")} }`,
    ...gradientNames(f).map(
      (name, i) =>
        `  fn gradient${i}(${all}) { grad(total, wrt = ${names.includes(name) ? name : `it.${name.replace(/\.(\d+)/g, "[$1]")}`})(${given}) }`,
    ),
    "}",
    "train plain for Layer { minimize total;  with sgd(lr = 1.0) }",
    "",
  ].join("\n");
}

/** What the gradients of a layer's figure are with respect to: paths of parameters within the layer, and inputs. */
export const gradientNames = (f: Figure): string[] => f.names("eval/grad/");

/** The inputs of `total`: the figure's, and the directions. */
export function totalInputs(f: Figure): Record<string, Float32Array | Int32Array> {
  const directions = f.names("eval/result/").map((name) => {
    const { shape } = f.expected(`eval/result/${name}`);
    return [`direction_${name}`, f.direction(name, shape)] as const;
  });
  return { ...f.inputs(), ...Object.fromEntries(directions) };
}
