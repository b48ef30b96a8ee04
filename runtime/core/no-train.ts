// In the place of train.ts, where no entry is a training step.
import { bug } from "./errors.ts";
import type * as train from "./train.ts";

export const trainStepOf: typeof train.trainStepOf = () => undefined;

// Nothing asks for these.
const never = (): never => {
  throw bug("this module has no training steps");
};
export const scalarsOf: typeof train.scalarsOf = never;
export const encodeStep: typeof train.encodeStep = never;
