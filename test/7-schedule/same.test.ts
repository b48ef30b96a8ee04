// Equal groups are scheduled once (7-schedule/same.ts): the artefact is what it is where each is scheduled by itself.
import { expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { targets } from "../../compiler/core/targets.ts";
import { projectFile } from "../support/files.ts";

it.each(["convnet.mdl", "transformer.mdl"])("%s", (name) => {
  const { model } = compile(projectFile(`dsl-examples/${name}`), name, { targets: ["baseline"] });
  let groups = 0;
  // Who picks is asked for every group.
  const pick = (): number => {
    groups++;
    return 0;
  };
  const options = { targets: [...targets], place: () => "" };
  const apart = build(model, { ...options, pick });
  expect(groups).toBeGreaterThan(5);
  expect(build(model, options).artefact).toEqual(apart.artefact);
});
