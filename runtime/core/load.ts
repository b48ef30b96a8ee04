// The way in, without saying which pieces a module carries. In: an artefact. Out: a net, or a typed error.
import { MdlRuntimeError } from "./errors.ts";
import { type Net, openNet, type Pieces } from "./net.ts";
import { type Artefact, PROGRAM_VERSION } from "./program.ts";

export async function loadWith(artefact: Artefact, options: unknown, pieces: Pieces): Promise<Net> {
  if (artefact.version !== PROGRAM_VERSION) {
    throw new MdlRuntimeError(
      "version",
      `${artefact.name} is of format ${artefact.version} and this runtime reads ${PROGRAM_VERSION}: compile the model again`,
    );
  }
  return openNet(artefact, options, pieces);
}
