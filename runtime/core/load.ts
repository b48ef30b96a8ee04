// The way in. In: an artefact. Out: a net, or a typed error.
import type * as api from "./api.ts";
import { MdlRuntimeError } from "./errors.ts";
import { type Net, openNet } from "./net.ts";
import { type Artefact, type Packed, PROGRAM_VERSION } from "./program.ts";
import { unpack } from "./unpack.ts";

/** Opens a model: device, pipelines, weights. Nothing is compiled after it resolves. */
export async function load(artefact: Artefact | Packed, options?: api.LoadOptions): Promise<Net> {
  if (artefact.version !== PROGRAM_VERSION) {
    throw new MdlRuntimeError(
      "version",
      `${artefact.name} is of format ${artefact.version} and this runtime reads ${PROGRAM_VERSION}: compile the model again`,
    );
  }
  return openNet("calls" in artefact ? unpack(artefact) : artefact, options);
}
